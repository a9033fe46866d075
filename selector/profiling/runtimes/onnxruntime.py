"""ONNX Runtime on the CPU and on an NVIDIA GPU."""

import os
from collections.abc import Callable
from importlib import metadata
from types import TracebackType
from typing import Any, ClassVar, Self

from selector.hardware.machine import Machine
from selector.profiling.gauges import Gauge, Work
from selector.profiling.runtimes.base import Availability, Batch, Logits, Runtime, distribution_of, installed, on_gpu
from selector.profiling.runtimes.block_graph import BLOCK, INPUT, SHAPE, block_gauge


def _load_block(threads: int) -> Work:
    """The block in the pool of threads that all sessions of the process share: a model has been loaded before."""
    import numpy as np
    import onnxruntime

    del threads
    options = onnxruntime.SessionOptions()
    options.use_per_session_threads = False
    session = onnxruntime.InferenceSession(str(BLOCK), options, providers=["CPUExecutionProvider"])
    image = {INPUT: np.ones(SHAPE, dtype=np.float32)}
    return lambda: session.run(None, image)


class OnnxRuntime(Runtime):
    """ONNX Runtime's CPU provider with all graph optimisations.

    All sessions of a process share one pool of threads: with a pool each, the spinning threads of one session would
    take the cores from the next.
    """

    name: ClassVar[str] = "onnxruntime"
    # no fp16, no bf16: the provider computes the few such kernels it has in fp32 and converts around them
    precisions: ClassVar[tuple[str, ...]] = ("fp32", "int8-dynamic", "int8-static")
    distribution: ClassVar[str] = "onnxruntime"
    module: ClassVar[str] = "onnxruntime"  # which other distributions bring, too: onnxruntime-gpu, -openvino, -directml
    loads = "onnx"
    state_gauge: ClassVar[Gauge | None] = block_gauge("ONNX Runtime", "onnxruntime", _load_block)

    _session: Any = None  # onnxruntime publishes no types
    _pool_of: ClassVar[int | None] = None  # the process whose shared pool has been started

    @classmethod
    def settings(cls, precision: str) -> str:
        """What the quantised graphs are."""
        return {
            "int8-dynamic": "quantize_dynamic of MatMul and Gemm only",
            "int8-static": "QDQ, per-channel weights, calibrated",
        }.get(precision, "")

    @classmethod
    def prepare_process(cls, threads: int) -> None:
        """Import ONNX Runtime. Threads are started with the first model: a fork would not inherit them."""
        import onnxruntime  # noqa: F401

        del threads

    def __enter__(self) -> Self:
        import onnxruntime

        if OnnxRuntime._pool_of != os.getpid():
            onnxruntime.set_global_thread_pool_sizes(self.threads, 1)
            OnnxRuntime._pool_of = os.getpid()
        options = onnxruntime.SessionOptions()
        options.use_per_session_threads = False
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.log_severity_level = 3  # warnings about shapes that are of no use to who measures
        self._session = onnxruntime.InferenceSession(str(self.model.path), options, providers=self._providers())
        self._input = self._session.get_inputs()[0].name
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._session = None

    def run(self, batch: Batch) -> Logits:
        """Logits of a batch, [n, 3, h, w] → [n, classes]. Raises ValueError for another shape."""
        if self._session is None:
            raise RuntimeError("enter the runtime before running it")
        self.check(batch)
        logits: Logits = self._session.run(None, {self._input: batch})[0]
        return logits

    def _providers(self) -> list[Any]:
        return ["CPUExecutionProvider"]


class OnnxRuntimeCuda(OnnxRuntime):
    """ONNX Runtime's CUDA provider. Where it cannot be loaded, falling back to the CPU is refused."""

    name: ClassVar[str] = "onnxruntime-cuda"
    precisions: ClassVar[tuple[str, ...]] = ("fp32", "tf32", "fp16")
    distribution: ClassVar[str] = "onnxruntime-gpu"
    device = "gpu"
    state_gauge = None
    side_by_side = True

    @classmethod
    def availability(cls, machine: Machine) -> Availability:
        """Usable where onnxruntime-gpu is installed and there is an NVIDIA GPU."""
        offer = installed(cls.distribution, cls.precisions, module=cls.module)
        if not offer.usable or not _is_installed(cls.distribution):
            return Availability(
                False,
                f"{cls.distribution} is not installed; `pip uninstall {distribution_of(cls.module) or cls.module}`, "
                f"whose files it shares, then `pip install {cls.distribution}`",
            )
        return on_gpu(cls.precisions, machine)

    @classmethod
    def version(cls) -> str:
        """The version of onnxruntime-gpu: the other distribution does not bring this runtime."""
        return metadata.version(cls.distribution)

    @classmethod
    def variant(cls, precision: str) -> str:
        """The fp32 graph serves tf32 too."""
        return "fp32" if precision == "tf32" else precision

    @classmethod
    def settings(cls, precision: str) -> str:
        """Whether convolutions may use TF32, which the provider does by default."""
        return f"CUDA provider, use_tf32={int(precision == 'tf32')}, input and output stay on the GPU"

    @classmethod
    def prepare_process(cls, threads: int) -> None:
        """Import torch before ONNX Runtime: its CUDA and cuDNN are the ones that both then use."""
        import torch  # noqa: F401

        super().prepare_process(threads)

    def __enter__(self) -> Self:
        super().__enter__()
        used = self._session.get_providers()
        if used[0] != "CUDAExecutionProvider":
            raise RuntimeError(f"ONNX Runtime could not load its CUDA provider and would have used {used[0]}")
        return self

    def bind(self, batch: Batch) -> Callable[[], object]:
        """A call that runs one inference on `batch`, which lies on the GPU, and waits for the result there."""
        import onnxruntime

        if self._session is None:
            raise RuntimeError("enter the runtime before running it")
        self.check(batch)
        image = onnxruntime.OrtValue.ortvalue_from_numpy(batch, "cuda", 0)
        binding = self._session.io_binding()
        binding.bind_ortvalue_input(self._input, image)
        binding.bind_output(self._session.get_outputs()[0].name, "cuda", 0)

        def infer() -> Any:
            self._session.run_with_iobinding(binding)  # returns when the stream is done
            return binding.get_outputs()[0]

        return infer

    def _providers(self) -> list[Any]:
        return [("CUDAExecutionProvider", {"use_tf32": str(int(self.precision == "tf32"))}), "CPUExecutionProvider"]


def _is_installed(distribution: str) -> bool:
    try:
        metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return False
    return True
