"""What a runtime is: it executes a backbone's inference, and one file here holds one of them.

A new runtime is a subclass of `Runtime` in its own file, a line in `runtimes.RUNTIMES`, and a test class that inherits
`RuntimeConformance`. Importing the file must not import the runtime's library: `prepare_process` does, in the worker
process alone.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib import import_module, metadata
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray

from selector.hardware.machine import Machine
from selector.profiling.gauges import NUMPY, Gauge
from selector.profiling.runtimes.graph_files import files_of

Batch = NDArray[np.float32]  # [n, c, h, w]
Logits = NDArray[np.float32]  # [n, classes]


@dataclass(frozen=True, slots=True)
class Availability:
    """Whether a runtime can be used on a machine; where not, `why` says so and what to install."""

    usable: bool
    why: str | None = None
    precisions: tuple[str, ...] = ()  # those that can be used on the machine


@dataclass(frozen=True, slots=True)
class ModelFile:
    """What a runtime loads: a file, and what it holds."""

    backbone: str  # a timm model id
    classes: int
    resolution: int
    path: Path

    @property
    def files(self) -> tuple[Path, ...]:
        """All that is read of it: an ONNX graph may have its weights in a file beside it."""
        return files_of(self.path)


@dataclass(frozen=True, slots=True)
class Built:
    """What a runtime made of a model's file before it could be loaded, for example a TensorRT engine."""

    path: Path
    bytes: int
    build_ms: float | None  # None: it was in the cache


class Runtime(ABC):
    """Executes a backbone's inference. A context manager: entering loads or builds, leaving frees.

    One instance holds one model in one precision. `threads` is what the worker process was started for.
    """

    name: ClassVar[str]
    precisions: ClassVar[tuple[str, ...]]  # those that it knows; hardware may lack some
    distribution: ClassVar[str]  # whose version is the runtime's, and what to install where there is none
    module: ClassVar[str] = ""  # what its library is imported as; empty: the distribution's own name
    loads: ClassVar[Literal["weights", "onnx"]]  # which file: a safetensors state dict or an ONNX graph
    device: ClassVar[Literal["cpu", "gpu"]] = "cpu"  # what computes, and whose energy counts
    side_by_side: ClassVar[bool] = False  # whether models are timed in one process, see `turns`
    by_default: ClassVar[bool] = True  # whether it is measured where nobody names runtimes
    gauge: ClassVar[Gauge] = NUMPY  # what the pace beside its models is read by, where a CPU computes …
    state_gauge: ClassVar[Gauge | None] = None  # … and the machine's state (`states`); None: by nothing beside that

    def __init__(self, model: ModelFile, *, precision: str, threads: int) -> None:
        self.model = model
        self.precision = precision
        self.threads = threads

    @classmethod
    def availability(cls, machine: Machine) -> Availability:
        """Whether it can be used on `machine`. Looks for the library without importing it."""
        del machine  # the default needs a library only; runtimes that need hardware look at it
        return installed(cls.distribution, cls.precisions, module=cls.module)

    @classmethod
    def version(cls) -> str:
        """The version of its library, as figures record it. Raises PackageNotFoundError where nothing tells it."""
        found = library_version(cls.distribution, cls.module)
        if found is None:
            raise metadata.PackageNotFoundError(cls.distribution)
        return found

    @classmethod
    def variant(cls, precision: str) -> str:
        """Which variant of the model's file it loads for a precision; "fp32" where it converts by itself."""
        return precision

    @classmethod
    def settings(cls, precision: str) -> str:
        """What is pinned for a precision, as figures' sources tell it; empty: nothing but the library's defaults."""
        del precision
        return ""

    @classmethod
    def build(cls, model: ModelFile, precision: str) -> Built | None:
        """Make what has to be made once before the model can be loaded; None where the file is loaded as it is."""
        del model, precision
        return None

    @classmethod
    @abstractmethod
    def prepare_process(cls, threads: int) -> None:
        """Import the library and set its threads, but start none. Called once in a worker process, before any model is
        loaded; the worker then forks for each model, and a fork does not inherit threads.
        """

    @abstractmethod
    def __enter__(self) -> Self: ...

    @abstractmethod
    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...

    @abstractmethod
    def run(self, batch: Batch) -> Logits:
        """Logits of a batch, [n, c, h, w] float32 → [n, classes] float32. Raises ValueError for another shape."""

    def bind(self, batch: Batch) -> Callable[[], object]:
        """A call that runs one inference on `batch`, already where it has to be, and returns when the result is there.

        This is what is timed. On a CPU it is `run`; a runtime of another device leaves out the copies and
        synchronises.
        """
        return lambda: self.run(batch)

    def check(self, batch: Batch) -> None:
        """Refuse what is not [n ≥ 1, 3, resolution, resolution]. Raises ValueError."""
        side = self.model.resolution
        if batch.ndim != 4 or batch.shape[0] < 1 or batch.shape[1:] != (3, side, side):
            raise ValueError(f"{self.name} holds a model for [n, 3, {side}, {side}]; got {list(batch.shape)}")


def installed(distribution: str, precisions: tuple[str, ...], *, module: str = "") -> Availability:
    """Usable where the distribution's `module` can be found and something tells its version, whatever distribution
    brought it; with `pip install` advice where not.
    """
    name = module or distribution.replace("-", "_")
    if find_spec(name) is None:
        return Availability(False, f"{distribution} is not installed; `pip install {distribution}`")
    if library_version(distribution, module) is None:
        return Availability(
            False,
            f"there is a module {name}, and neither it nor an installed distribution tells its version, which figures "
            f"need; `pip install {distribution}`",
        )
    return Availability(True, precisions=precisions)


def library_version(distribution: str, module: str = "") -> str | None:
    """The version of a library: of `distribution`, else of whichever brings `module` (onnxruntime-openvino brings
    onnxruntime), else what the module says of itself. None where nothing tells it.
    """
    name = module or distribution.replace("-", "_")
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        other = distribution_of(name)
        return _own_word(name) if other is None else metadata.version(other)


@cache
def distribution_of(module: str) -> str | None:
    """An installed distribution that brings `module`; None where there is none."""
    return min(metadata.packages_distributions().get(module, ()), default=None)


@cache
def _own_word(module: str) -> str | None:
    # a library that no installer knows, from PYTHONPATH: only itself can tell, so it is imported, here alone
    try:
        told = getattr(import_module(module), "__version__", None)
    except Exception:  # noqa: BLE001 - a library that cannot be imported raises whatever it likes
        return None
    return told if isinstance(told, str) else None


# instruction sets in which a CPU computes with half-width numbers; without them they are emulated, slower than fp32
_CPU_NEEDS = {
    "bf16": {"avx512_bf16", "amx_bf16", "bf16"},
    "fp16": {"avx512_fp16", "amx_fp16", "fp16"},
    "amp": {"avx512_bf16", "amx_bf16", "bf16"},  # mixed precision is fp32 with bf16 on a CPU
}


def on_cpu(known: tuple[str, ...], machine: Machine) -> tuple[str, ...]:
    """Those of the precisions `known` that this machine's CPU computes in by itself."""
    isa = set(machine.isa or ())
    return tuple(p for p in known if p not in _CPU_NEEDS or _CPU_NEEDS[p] & isa)


# first compute capability whose tensor cores take a precision (CUDA C++ Programming Guide, "Compute Capabilities")
_GPU_NEEDS = {"tf32": (8, 0), "fp16": (7, 0), "bf16": (8, 0), "amp": (7, 0), "int8-static": (7, 2)}


def on_gpu(known: tuple[str, ...], machine: Machine) -> Availability:
    """Usable where there is an NVIDIA GPU, with those of the precisions `known` that its tensor cores take.

    Where the GPU does not tell its compute capability, fp32 alone is offered.
    """
    if not machine.gpus:
        return Availability(
            False,
            "no NVIDIA GPU was found on this machine (nvidia-smi shows what the driver sees), or CUDA_VISIBLE_DEVICES "
            "leaves none",
        )
    capability = compute_capability(machine) or (0, 0)
    return Availability(True, precisions=tuple(p for p in known if capability >= _GPU_NEEDS.get(p, (0, 0))))


def compute_capability(machine: Machine) -> tuple[int, int] | None:
    """Of the first GPU, as (major, minor); None where it cannot be read."""
    text = machine.gpus[0].compute_capability if machine.gpus else None
    if text is None:
        return None
    major, _, minor = text.partition(".")
    return int(major), int(minor)
