"""ONNX Runtime on the CPU."""

from types import TracebackType
from typing import Any, ClassVar, Self

from selector.profiling.runtimes.base import Batch, Logits, Runtime


class OnnxRuntime(Runtime):
    """ONNX Runtime's CPU provider with all graph optimisations, fp32.

    All sessions of a process share one pool of threads: with a pool each, the spinning threads of one session would
    take the cores from the next.
    """

    name: ClassVar[str] = "onnxruntime"
    precisions: ClassVar[tuple[str, ...]] = ("fp32",)
    distribution: ClassVar[str] = "onnxruntime"
    loads = "onnx"

    _session: Any = None  # onnxruntime publishes no types

    @classmethod
    def prepare_process(cls, threads: int) -> None:
        """Import ONNX Runtime and set the size of its shared pool."""
        import onnxruntime

        onnxruntime.set_global_thread_pool_sizes(threads, 1)

    def __enter__(self) -> Self:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.use_per_session_threads = False
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        options.log_severity_level = 3  # warnings about shapes that are of no use to who measures
        self._session = onnxruntime.InferenceSession(str(self.model.path), options, providers=["CPUExecutionProvider"])
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
