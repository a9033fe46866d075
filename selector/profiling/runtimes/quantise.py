"""Lossy variants of an ONNX graph: quantised dynamically or statically, or cast to half precision.

All start from the fp32 graph of the same model, so that what differs is the precision alone.
"""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from tempfile import TemporaryDirectory
from threading import Event
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selector.errors import MeasurementFailed
from selector.profiling.runtimes.base import Batch

# a ReLU or ReLU6 that is named disappears into the scale of what it reads: the scale then covers what is left of it,
# and not what it cuts off (what that is worth to a tuned network: benchmarks/results/tune_quality.md)
REMOVABLE = ("Relu", "Clip")
# what has int8 kernels worth the conversion; SiLU, hard-swish and the gates of squeeze-and-excitation stay in fp32
STATIC_OPS = ("Conv", "Gemm", "MatMul", "Add", "MaxPool", "GlobalAveragePool", *REMOVABLE)
DYNAMIC_OPS = ("MatMul", "Gemm")  # ONNX's words for a Linear layer, which is all that P10 quantises


def quantise_dynamic(graph: Path, out: Path) -> None:
    """Weights of matrix products as int8, their inputs quantised at each inference; convolutions stay fp32."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    quantize_dynamic(graph, out, op_types_to_quantize=list(DYNAMIC_OPS), weight_type=QuantType.QInt8)


def quantising_static(
    graph: Path, out: Path, images: Iterable[NDArray[np.float32]], *, symmetric: bool
) -> Iterator[int]:
    """An explicitly quantised graph (QDQ): int8 weights a scale per channel, int8 activations a scale per tensor.

    `out` is there when the iteration ends; on the way it yields how many images have been run, from 0 on, after each.

    Scales are from the smallest and largest activation over `images`, [3, h, w] each. `symmetric` leaves out zero
    points and quantised biases, which TensorRT refuses; with zero points a ReLU's output uses all 256 steps. Unless
    symmetric, weights keep 7 of their 8 bits: x86 without VNNI adds pairs of products in 16 bits, which saturate with
    full-range weights (ONNX Runtime's documentation, "Quantize ONNX models", U8S8 and reduce_range).
    """
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    seen: SimpleQueue[int | None] = SimpleQueue()  # None: no more comes

    left_alone = Event()

    def batches() -> Iterator[dict[str, Batch]]:
        for number, image in enumerate(images, start=1):
            if left_alone.is_set():
                raise RuntimeError("nobody waits for this graph any more")
            yield {"image": image[None]}
            seen.put(number)  # the next one is asked for when this one has been run

    class Reader(CalibrationDataReader):  # type: ignore[misc] # onnxruntime publishes no types
        def __init__(self) -> None:
            self._batches = batches()

        def get_next(self) -> dict[str, Batch] | None:
            return next(self._batches, None)

    # in a thread: the quantiser calls for the images and returns at its very end
    with TemporaryDirectory(dir=out.parent) as folder, ThreadPoolExecutor(1) as thread:
        plain = Path(folder) / "plain.onnx"  # folded: a padding computed from the shape cannot be quantised through
        quant_pre_process(str(graph), str(plain))
        yield 0
        work = thread.submit(
            quantize_static,
            plain,
            out,
            Reader(),
            quant_format=QuantFormat.QDQ,
            op_types_to_quantize=list(STATIC_OPS),
            per_channel=True,
            activation_type=QuantType.QInt8,
            weight_type=QuantType.QInt8,
            reduce_range=not symmetric,
            extra_options={"ActivationSymmetric": symmetric, "QuantizeBias": not symmetric},
        )
        work.add_done_callback(lambda _: seen.put(None))
        try:
            yield from iter(seen.get, None)
        finally:
            left_alone.set()  # where that is before the end, the thread ends with its next image
        work.result()  # raises what the quantiser or an image has raised


def cast_to_half(graph: Path, out: Path) -> None:
    """The same graph computing in fp16 throughout; image and logits stay fp32.

    Raises MeasurementFailed where a weight does not fit into fp16.
    """
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    model = onnx.load(str(graph))
    for tensor in _tensors(model.graph):
        if tensor.data_type == TensorProto.FLOAT:
            values = numpy_helper.to_array(tensor)
            with np.errstate(over="ignore"):
                half = values.astype(np.float16)
            if np.isfinite(values).all() and not np.isfinite(half).all():
                raise MeasurementFailed(f"{tensor.name or 'a constant'} of {graph.parent.name} overflows fp16")
            tensor.CopyFrom(numpy_helper.from_array(half, tensor.name))
    for node in model.graph.node:
        for attribute in node.attribute:
            if node.op_type == "Cast" and attribute.name == "to" and attribute.i == TensorProto.FLOAT:
                attribute.i = TensorProto.FLOAT16
        node.input[:] = ["image_half" if name == "image" else name for name in node.input]
        node.output[:] = ["logits_half" if name == "logits" else name for name in node.output]
    del model.graph.value_info[:]
    first = helper.make_node("Cast", ["image"], ["image_half"], to=TensorProto.FLOAT16)
    last = helper.make_node("Cast", ["logits_half"], ["logits"], to=TensorProto.FLOAT)
    model.graph.node.insert(0, first)
    model.graph.node.append(last)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, str(out))


def _tensors(graph: Any) -> Iterator[Any]:
    """All constant tensors of a graph: initializers and the values of Constant nodes."""
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
