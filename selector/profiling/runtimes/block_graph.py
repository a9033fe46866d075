"""A block of a network as an ONNX graph, timed in a runtime beside its models: it tells the machine's `states`.

Its three layers hand what they computed from thread to thread, as MobileNet's and EfficientNet's do, so it takes longer
where processors answer each other late, which workloads on one thread do not notice: 0.24 ms in ONNX Runtime on two
threads of a shared AMD EPYC, 0.40 ms in its slower state. Its weights are constants, so the file has 0.7 KB.

    python -m selector.profiling.runtimes.block_graph     # writes block.onnx anew
"""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from selector.profiling.gauges import Gauge, Work

if TYPE_CHECKING:
    from onnx import ModelProto, NodeProto

BLOCK = Path(__file__).with_name("block.onnx")
SHAPE = (1, 24, 56, 56)  # of what it takes and of what it answers
INPUT, OUTPUT = "image", "answer"
INNER = 72  # channels


def block_gauge(runtime: str, library: str, load: Callable[[int], Work]) -> Gauge:
    """The block in a runtime, of which `load` makes a workload for so many threads; a distribution brings it."""
    block = f"an inverted residual block of {SHAPE[1]}, {INNER} and {SHAPE[1]} channels at {SHAPE[2]} by {SHAPE[3]}"
    return Gauge(
        workloads=(f"{block} in fp32, {runtime}",),
        short=f"an inverted residual block in {runtime}",
        library=library,
        powers=(),
        make=lambda threads: (load(threads),),
        repeats=5,
        threaded=True,
    )


def build() -> "ModelProto":
    """The graph, of opset 17."""
    from onnx import TensorProto, checker, helper

    def constant(name: str, shape: list[int], value: float) -> "list[NodeProto]":
        size = helper.make_tensor(f"{name}_of", TensorProto.INT64, [len(shape)], shape)
        number = helper.make_tensor(f"{name}_is", TensorProto.FLOAT, [1], [value])
        return [
            helper.make_node("Constant", [], [f"{name}_shape"], value=size),
            helper.make_node("ConstantOfShape", [f"{name}_shape"], [name], value=number),
        ]

    channels = SHAPE[1]
    nodes = [
        *constant("expand", [INNER, channels, 1, 1], 0.02),
        *constant("depthwise", [INNER, 1, 3, 3], 0.1),
        *constant("project", [channels, INNER, 1, 1], 0.01),
        helper.make_node("Conv", [INPUT, "expand"], ["expanded"]),
        helper.make_node("Relu", ["expanded"], ["first"]),
        helper.make_node("Conv", ["first", "depthwise"], ["filtered"], group=INNER, pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["filtered"], ["second"]),
        helper.make_node("Conv", ["second", "project"], ["projected"]),
        helper.make_node("Add", [INPUT, "projected"], [OUTPUT]),
    ]
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, SHAPE) for name in (INPUT, OUTPUT)]
    graph = helper.make_graph(nodes, "block", ends[:1], ends[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    checker.check_model(model, full_check=True)
    return model


if __name__ == "__main__":
    BLOCK.write_bytes(build().SerializeToString(deterministic=True))
