"""Runtimes whose truth is known: they do nothing, wait for a known time, or fail in a known way."""

import fcntl
import os
import signal
import tempfile
import time
from functools import partial
from types import TracebackType
from typing import ClassVar, Self

import numpy as np

from selector import resources
from selector.profiling.gauges import Gauge, Work
from selector.profiling.runtimes.base import Batch, Logits, Runtime


class Fake(Runtime):
    """Does nothing, for every backbone."""

    name: ClassVar[str] = "nothing"
    precisions: ClassVar[tuple[str, ...]] = ("fp32",)
    distribution: ClassVar[str] = "numpy"
    loads = "weights"

    @classmethod
    def prepare_process(cls, threads: int) -> None:
        pass

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass

    def run(self, batch: Batch) -> Logits:
        return np.zeros((batch.shape[0], self.model.classes), dtype=np.float32)


class BusyWait(Fake):
    """Busy for one millisecond."""

    name = "busy-wait"

    def run(self, batch: Batch) -> Logits:
        end = time.perf_counter_ns() + 1_000_000
        while time.perf_counter_ns() < end:
            pass
        return super().run(batch)


class Paced(Fake):
    """Multiplies matrices for about a millisecond: as much slowed as the processor's arithmetic is."""

    name = "paced"

    def run(self, batch: Batch) -> Logits:
        for _ in range(200):
            _LEFT @ _LEFT
        return super().run(batch)


class PacedGpu(Paced):
    """The same, but said to be a GPU's."""

    name = "paced-gpu"
    device = "gpu"


_LEFT = np.ones((48, 48), dtype=np.float32)


def _two_naps(threads: int) -> tuple[Work, Work]:
    return partial(time.sleep, 0.002), partial(time.sleep, 0.004)


class OwnGauge(Fake):
    """Read by a gauge of its own, whose workloads sleep for two and for four milliseconds."""

    name = "own-gauge"
    gauge = Gauge(("a nap", "a longer nap"), "a nap and a longer one", "numpy", (0.5, 0.5), _two_naps, 1, threaded=True)


class Misfortune(Fake):
    """What goes wrong depends on the backbone, so that one set holds every kind of failure and a success."""

    name = "misfortune"
    calls = 0

    def __enter__(self) -> Self:
        if self.model.backbone == "resnet18":
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 TB")
        if self.model.backbone == "resnet26":
            os.kill(os.getpid(), signal.SIGSEGV)
        if self.model.backbone == "resnet34":
            time.sleep(3600)
        return self

    def run(self, batch: Batch) -> Logits:
        self.calls += 1
        if self.model.backbone == "resnet18d" and self.calls > 20:  # well after its first moments
            os.kill(os.getpid(), signal.SIGKILL)
        if self.model.backbone == "resnet34d" and self.calls > 20:
            time.sleep(3600)
        if self.model.backbone == "resnet26d" and self.calls > 20:
            raise ValueError("a kernel refused")
        return super().run(batch)


class Crowded(Fake):
    """There is room for one model on the machine. Holds a file that the next one finds locked, as long as it lives."""

    name = "crowded"

    def __enter__(self) -> Self:
        self._room = open(resources.home() / "room", "w")
        try:
            fcntl.flock(self._room, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB") from None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._room.close()


class CrowdedTogether(Crowded):
    """The same where models are loaded side by side in one process."""

    name = "crowded-together"
    side_by_side = True


class CrowdedToDeath(CrowdedTogether):
    """The same where the kernel kills the process that asks for more than there is."""

    name = "crowded-to-death"

    def __enter__(self) -> Self:
        try:
            return super().__enter__()
        except RuntimeError:
            os.kill(os.getpid(), signal.SIGKILL)
            raise


class DiesLettingGo(Fake):
    """Takes its process with it when it is let go of. Side by side."""

    name = "dies-letting-go"
    side_by_side = True

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.kill(os.getpid(), signal.SIGSEGV)


class AnswersOneImage(Fake):
    """Runs on whatever it has seen first, and refuses any other image: figures of time it has, and no agreement."""

    name = "answers-one-image"
    first: Batch | None = None

    def run(self, batch: Batch) -> Logits:
        if self.first is None:
            self.first = batch.copy()
        if not np.array_equal(self.first, batch):
            raise ValueError("another image")
        return super().run(batch)


class KeepsCompiled(Fake):
    """Writes down what it compiled when it is let go of, as TensorRT for RTX does its kernels. Side by side."""

    name = "keeps-compiled"
    side_by_side = True

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with open(resources.home() / "kernels", "a") as file:
            file.write(f"{self.model.backbone} {os.getpid()}\n")


class Litters(Fake):
    """Leaves a temporary file, and takes its worker with it where one of the models is loaded there. Side by side."""

    name = "litters"
    side_by_side = True
    _worker: ClassVar[int]

    @classmethod
    def prepare_process(cls, threads: int) -> None:
        cls._worker = os.getpid()
        tempfile.mkstemp(prefix="litter-")

    def __enter__(self) -> Self:
        if self.model.backbone == "resnet18" and os.getpid() == self._worker:
            os.kill(os.getpid(), signal.SIGKILL)
        return self


ALL = (
    Fake,
    AnswersOneImage,
    BusyWait,
    Paced,
    PacedGpu,
    OwnGauge,
    Misfortune,
    Crowded,
    CrowdedTogether,
    CrowdedToDeath,
    DiesLettingGo,
    KeepsCompiled,
    Litters,
)
