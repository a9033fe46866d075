"""OpenVINO on the CPU."""

from collections.abc import Callable
from importlib import import_module
from types import TracebackType
from typing import Any, ClassVar, Self

import numpy as np

from selector.errors import MeasurementFailed
from selector.hardware.machine import Machine
from selector.profiling.gauges import Work
from selector.profiling.runtimes.base import Availability, Batch, Logits, Runtime, installed, on_cpu
from selector.profiling.runtimes.block_graph import BLOCK, SHAPE, block_gauge

# left alone, OpenVINO computes in bf16 or fp16 wherever the CPU has it, under the name of an fp32 model
HINTS = {"fp32": "f32", "bf16": "bf16", "fp16": "f16", "int8-static": "f32"}


def _load_block(threads: int) -> Work:
    """The block, compiled as models are."""
    core = _library().Core()
    request = core.compile_model(core.read_model(str(BLOCK)), "CPU", _settings(threads, "f32")).create_infer_request()
    request.set_input_tensor(_library().Tensor(np.ones(SHAPE, dtype=np.float32)))
    infer: Work = request.infer
    return infer


class OpenVINO(Runtime):
    """OpenVINO's CPU plugin for latency: one stream, the number type pinned, the model compiled for the batch's size.

    int8-static is the QDQ graph that ONNX Runtime loads too; what it leaves in floating point is computed in fp32.
    """

    name: ClassVar[str] = "openvino"
    precisions: ClassVar[tuple[str, ...]] = ("fp32", "fp16", "bf16", "int8-static")
    distribution: ClassVar[str] = "openvino"
    loads = "onnx"
    state_gauge = block_gauge("OpenVINO", "openvino", _load_block)

    _model: Any = None  # openvino publishes no types

    @classmethod
    def availability(cls, machine: Machine) -> Availability:
        """Usable where openvino is installed; fp16 and bf16 where the CPU computes in them."""
        return installed(cls.distribution, on_cpu(cls.precisions, machine))

    @classmethod
    def variant(cls, precision: str) -> str:
        """The fp32 graph, which OpenVINO converts as the hint says, or the quantised one."""
        return precision if precision == "int8-static" else "fp32"

    @classmethod
    def settings(cls, precision: str) -> str:
        """The pinned number type and the hint."""
        graph = ", QDQ, per-channel weights, calibrated" if precision == "int8-static" else ""
        return f"INFERENCE_PRECISION_HINT={HINTS[precision]}, PERFORMANCE_HINT=LATENCY, NUM_STREAMS=1{graph}"

    @classmethod
    def prepare_process(cls, threads: int) -> None:
        """Import OpenVINO and start its plugin's library. Threads are set with each model."""
        del threads
        _library().Core().get_property("CPU", "FULL_DEVICE_NAME")

    def __enter__(self) -> Self:
        self._core = _library().Core()
        self._model = self._core.read_model(str(self.model.path))
        self._requests: dict[int, Any] = {1: self._compile(1)}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._requests = {}
        self._model = self._core = None

    def run(self, batch: Batch) -> Logits:
        """Logits of a batch, [n, 3, h, w] → [n, classes]. Raises ValueError for another shape."""
        return self.bind(batch)()

    def bind(self, batch: Batch) -> Callable[[], Logits]:
        """A call that runs one inference on `batch` in place, with the model compiled for its size."""
        if self._model is None:
            raise RuntimeError("enter the runtime before running it")
        self.check(batch)
        size = len(batch)
        if size not in self._requests:
            self._requests[size] = self._compile(size)
        request = self._requests[size]
        image = _library().Tensor(np.ascontiguousarray(batch), shared_memory=True)

        def infer() -> Logits:
            request.set_input_tensor(image)
            request.infer()
            logits: Logits = request.get_output_tensor().data.copy()
            return logits

        return infer

    def _compile(self, batch: int) -> Any:
        """A request for batches of this size. Raises MeasurementFailed where OpenVINO does not keep to the hint."""
        hint = HINTS[self.precision]
        side = self.model.resolution
        model = self._model.clone()
        model.reshape([batch, 3, side, side])
        compiled = self._core.compile_model(model, "CPU", _settings(self.threads, hint))
        used = compiled.get_property("INFERENCE_PRECISION_HINT").to_string()
        if {"f32": "f32", "float32": "f32", "f16": "f16", "bf16": "bf16"}.get(used, used) != hint:
            raise MeasurementFailed(f"OpenVINO was told to compute in {hint} and computes in {used}")
        return compiled.create_infer_request()


def _settings(threads: int, hint: str) -> dict[str, str]:
    return {
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": "1",
        "INFERENCE_NUM_THREADS": str(threads),
        "INFERENCE_PRECISION_HINT": hint,
    }


def _library() -> Any:
    return import_module("openvino")
