"""TensorRT and TensorRT-RTX on an NVIDIA GPU: one implementation, two libraries."""

from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from types import ModuleType, TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Self

from selector.errors import RuntimeUnavailable
from selector.hardware.machine import Machine, detect
from selector.profiling.runtimes.base import (
    Availability,
    Batch,
    Built,
    Logits,
    ModelFile,
    Runtime,
    compute_capability,
    installed,
    on_gpu,
)
from selector.profiling.runtimes.engines import MAX_BATCH, Target, build_engine, recorder, write_whole

if TYPE_CHECKING:
    import torch

TENSORRT_FROM = (7, 5)
"""Oldest compute capability that TensorRT 10 and newer serve (TensorRT's support matrix: Turing)."""

RTX_SERVES = ((7, 5), (8, 0), (8, 6), (8, 9), (12, 0), (12, 1))
"""Compute capabilities that TensorRT-RTX 1.7 can build for: its `ComputeCapability`. No Hopper (SM90)."""


class TensorRT(Runtime):
    """NVIDIA TensorRT, executed on the memory of torch tensors. The engine is built once and kept (`engines`)."""

    name: ClassVar[str] = "tensorrt"
    precisions: ClassVar[tuple[str, ...]] = ("fp32", "tf32", "fp16", "int8-static")
    distribution: ClassVar[str] = "tensorrt"
    device = "gpu"
    side_by_side = True
    module: ClassVar[str] = "tensorrt"
    loads = "onnx"

    _context: Any = None  # TensorRT publishes no types
    _built: ClassVar[dict[tuple[str, ModelFile, str], Path]] = {}  # engines that this process knows to be there

    @classmethod
    def availability(cls, machine: Machine) -> Availability:
        """Usable where the library is installed and serves the machine's GPU."""
        offer = installed(cls.distribution, cls.precisions, module=cls.module)
        if not offer.usable:
            return offer
        offer = on_gpu(cls.precisions, machine)
        capability = compute_capability(machine)
        if not offer.usable:
            return offer
        if capability is None:
            return Availability(False, "the GPU's compute capability cannot be read; `pip install nvidia-ml-py`")
        if not cls.serves(capability):
            return Availability(
                False, "{} does not serve {} (SM{}{})".format(cls.distribution, machine.gpus[0].name, *capability)
            )
        return offer

    @classmethod
    def serves(cls, capability: tuple[int, int]) -> bool:
        """Whether the library has kernels for GPUs of this compute capability."""
        return capability >= TENSORRT_FROM

    @classmethod
    def variant(cls, precision: str) -> str:
        """The fp32 graph serves tf32 too; an int8 graph needs scales without zero points."""
        return {"tf32": "fp32", "int8-static": "int8-static-symmetric"}.get(precision, precision)

    @classmethod
    def settings(cls, precision: str) -> str:
        """What is pinned."""
        tf32 = "on" if precision == "tf32" else "off"
        return f"engine from ONNX, strongly typed, TF32 {tf32}, tuned for one image, input and output stay on the GPU"

    @classmethod
    def prepare_process(cls, threads: int) -> None:
        """Import torch and the library. CUDA itself is not touched: a process that has cannot fork."""
        import torch

        torch.set_num_threads(threads)
        cls.library()

    @classmethod
    def library(cls) -> ModuleType:
        """The library's module. Raises RuntimeUnavailable where it is not installed."""
        try:
            return import_module(cls.module)
        except ImportError as error:
            raise RuntimeUnavailable(f"{cls.module} cannot be imported: {error}") from error

    @classmethod
    def build(cls, model: ModelFile, precision: str) -> Built:
        """The engine for this machine's GPU, from the cache where it is there."""
        engine = build_engine(cls.library(), model.path, _target(detect()), tf32=precision == "tf32")
        cls._built[cls.name, model, precision] = engine.path
        return Built(engine.path, engine.bytes, None if engine.cached else engine.build_s * 1e3)

    def __enter__(self) -> Self:
        import torch

        engine = self.engine_file()
        torch.cuda.synchronize()  # makes a context, which the library looks for and does not make everywhere
        self.load_engine(engine)
        self._stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        return self

    def engine_file(self) -> Path:
        """The engine: of what this process has built or found already, without a look at the graph; else built."""
        known = self._built.get((self.name, self.model, self.precision))
        return known or self.build(self.model, self.precision).path

    def load_engine(self, engine: Path) -> None:
        """Make the engine and its context. Raises RuntimeUnavailable where there is no loading it, MemoryError where
        there is no room, each with the library's own words.
        """
        library = self.library()
        said = recorder(library)
        self._runtime = library.Runtime(said)
        self._engine = self._runtime.deserialize_cuda_engine(engine.read_bytes())
        if self._engine is None:
            _raise_no_room(said)
            raise RuntimeUnavailable(
                f"{self.module} cannot load {engine} ({said.complaints()}): it is of another GPU, driver or version, "
                "damaged, or too large for what is free; delete its folder to have it built anew"
            )
        self._context = self._make_context(engine)
        if self._context is None:
            # a context is little else than the memory of the activations
            raise MemoryError(f"{self.module} made no execution context: {said.complaints()}")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # in this order: a context needs its engine, an engine its runtime
        self._context = None
        self._engine = None
        self._runtime = None

    def run(self, batch: Batch) -> Logits:
        """Logits of a batch, [n, 3, h, w] → [n, classes]. Raises ValueError for another shape, or n above 64."""
        logits: Logits = self.bind(batch)().cpu().numpy()
        return logits

    def bind(self, batch: Batch) -> "Callable[[], torch.Tensor]":
        """A call that runs one inference on `batch`, which lies on the GPU, and waits for its end."""
        import torch

        if self._context is None:
            raise RuntimeError("enter the runtime before running it")
        self.check(batch)
        if len(batch) > MAX_BATCH:
            raise ValueError(f"{self.name} holds an engine for 1 to {MAX_BATCH} images; got {len(batch)}")
        image = torch.from_numpy(batch).to("cuda").contiguous()
        logits = torch.empty(len(batch), self.model.classes, device="cuda")
        torch.cuda.synchronize()
        done = torch.cuda.Event()  # type: ignore[no-untyped-call]
        context, stream = self._context, self._stream

        def infer() -> "torch.Tensor":
            context.set_input_shape("image", tuple(image.shape))
            context.set_tensor_address("image", image.data_ptr())
            context.set_tensor_address("logits", logits.data_ptr())
            if not context.execute_async_v3(stream.cuda_stream):
                raise RuntimeError(f"{self.module} refused to execute")
            done.record(stream)
            done.synchronize()
            return logits

        return infer

    def _make_context(self, engine: Path) -> Any:
        del engine
        return self._engine.create_execution_context()


class TensorRTRTX(TensorRT):
    """NVIDIA TensorRT for RTX. Engines are built without a GPU; kernels are compiled when one first runs, and kept.

    They are compiled for the very batch at its first inference. Left alone, the library would begin with kernels that
    take any batch, and put the others in their place from a thread of its own while inferences are timed.
    """

    name: ClassVar[str] = "tensorrt-rtx"
    distribution: ClassVar[str] = "tensorrt-rtx-cu13"
    module: ClassVar[str] = "tensorrt_rtx"

    @classmethod
    def serves(cls, capability: tuple[int, int]) -> bool:
        """Whether the library can build for GPUs of this compute capability."""
        return capability in RTX_SERVES

    @classmethod
    def settings(cls, precision: str) -> str:
        """What is pinned."""
        return f"{super().settings(precision)}, kernels compiled for the batch at its first inference"

    def _make_context(self, engine: Path) -> Any:
        """A context whose compiled kernels come from the runtime cache beside the engine, where they are there."""
        config = self._engine.create_runtime_config()
        config.dynamic_shapes_kernel_specialization_strategy = (
            self.library().DynamicShapesKernelSpecializationStrategy.EAGER
        )
        self._kernels = config.create_runtime_cache()
        self._kernels_file = engine.with_name("kernels.cache")
        self._kernels_known = self._kernels_file.read_bytes() if self._kernels_file.exists() else b""
        if self._kernels_known:
            self._kernels.deserialize(self._kernels_known)  # says no to what does not fit, which is fine
        config.set_runtime_cache(self._kernels)
        return self._engine.create_execution_context(config)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # a model that is timed in turns is let go of by closing its generator, which is no fault of it
        if self._context is not None and (error is None or isinstance(error, GeneratorExit)):
            kernels = bytes(self._kernels.serialize())
            if kernels != self._kernels_known:  # another batch size has others
                write_whole(self._kernels_file, kernels)
        self._kernels = None
        super().__exit__(kind, error, trace)


def _raise_no_room(said: Any) -> None:
    """Raises MemoryError where the library's complaints are of memory: OutOfMemory is its name for that error."""
    complaints = said.complaints()
    if any(word in complaints.lower() for word in ("outofmemory", "out of memory", "enough free memory")):
        raise MemoryError(complaints)


def _target(machine: Machine) -> Target:
    """The machine's first GPU. Raises RuntimeUnavailable where there is none."""
    capability = compute_capability(machine)
    if capability is None:
        raise RuntimeUnavailable("no NVIDIA GPU with a readable compute capability was found on this machine")
    gpu = machine.gpus[0]
    return Target(capability, gpu.name, gpu.driver)
