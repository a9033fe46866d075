"""What figures are about: a configuration of a device, and a series of figures under it."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from selector.estimation.features import LARGE, PER_BATCH, Vector, work


@dataclass(frozen=True, slots=True)
class Configuration:
    """A device and what executes there. `threads` is None where all cores work, or where nobody says."""

    device: str
    kind: str  # the profile's device_kind
    runtime: str
    version: str
    precision: str
    layout: str = ""  # nchw | nhwc where a source says so
    threads: int | None = None

    @property
    def accelerated(self) -> bool:
        """Whether a GPU or an accelerator computes."""
        return self.kind in ("gpu", "accelerator") or self.runtime in ACCELERATED

    @property
    def fuses(self) -> bool:
        """Whether the runtime compiles the graph, and with it joins elementwise work to convolutions."""
        return self.runtime not in INTERPRETED

    @property
    def generation(self) -> str:
        """What separates versions of a runtime that hardly tell of each other: TensorFlow Lite 1 and 2."""
        return "1" if self.runtime == "tflite" and self.version.startswith("1.") else ""


INTERPRETED = frozenset(
    {"torch-eager", "torch-eager-nhwc", "torch-cuda"}
)  # one kernel an operation, as the network is written
ACCELERATED = frozenset({"armnn-gpu", "tflite-gpu", "tensorrt"})


@dataclass(frozen=True, slots=True)
class Subject:
    """A backbone at a resolution, computed `batch_size` images at a time."""

    backbone: str
    resolution: int
    batch_size: int = 1


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """Milliseconds per image of subjects under one configuration."""

    configuration: Configuration
    subjects: tuple[Subject, ...]
    milliseconds: Vector

    @property
    def logs(self) -> Vector:
        """Natural logarithms of the figures."""
        logs: Vector = np.log(self.milliseconds)
        return logs


def terms_of(subjects: Sequence[Subject], *, fuses: bool = False, cache: float = LARGE) -> Vector:
    """[n, terms] work of one image; what is paid once a batch (weights, launches) is divided by the batch.

    `fuses`: a compiler of graphs runs it. `cache`: elements that the caches hold, of all images of a batch.
    """
    return np.array([_terms(s, fuses, cache) for s in subjects])


def descriptions_of(subjects: Sequence[Subject]) -> Vector:
    """[n, d] descriptions, for kernels between backbones."""
    return np.array([work(s.backbone, s.resolution).description for s in subjects])


@lru_cache(maxsize=8192)
def _terms(subject: Subject, fuses: bool, cache: float) -> Vector:
    batch = subject.batch_size
    terms = work(subject.backbone, subject.resolution).within(cache / batch, fuses=fuses)
    return np.where(PER_BATCH, terms / batch, terms)
