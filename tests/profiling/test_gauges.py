"""Reference workloads: they are read, take time, and are the same ones in every process."""

import numpy as np
import pytest

from selector.profiling.gauges import NUMPY, Gauge
from selector.profiling.runtimes import block_graph
from selector.profiling.runtimes.openvino import OpenVINO
from selector.profiling.runtimes.torch_gauge import TORCH


@pytest.mark.parametrize("gauge", [NUMPY, TORCH], ids=lambda gauge: gauge.library)
def test_a_gauge_is_read_and_takes_time(gauge: Gauge) -> None:
    found = gauge.read(1)
    assert len(found) == len(gauge.workloads) == len(gauge.powers)
    assert min(found) > 0


def test_a_block_in_a_runtime_is_read_and_takes_time() -> None:
    gauge = OpenVINO.state_gauge
    assert gauge is not None
    (found,) = gauge.read(1)
    assert found > 0
    assert (len(gauge.workloads), gauge.powers) == (1, ())


def test_the_block_is_what_its_module_builds_and_answers_alike_in_both_runtimes() -> None:
    import onnx
    import onnxruntime
    import openvino

    assert onnx.load(str(block_graph.BLOCK)) == block_graph.build()
    assert block_graph.BLOCK.stat().st_size < 2048
    image = np.random.default_rng(0).standard_normal(block_graph.SHAPE, dtype=np.float32)
    session = onnxruntime.InferenceSession(str(block_graph.BLOCK), providers=["CPUExecutionProvider"])
    (answer,) = session.run(None, {block_graph.INPUT: image})
    compiled = openvino.Core().compile_model(str(block_graph.BLOCK), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    np.testing.assert_allclose(compiled(image)[0], answer, atol=1e-4)
    # each layer counts: the middle of an image that is 1 everywhere, by hand
    (flat,) = session.run(None, {block_graph.INPUT: np.ones(block_graph.SHAPE, dtype=np.float32)})
    assert flat[0, 0, 28, 28] == pytest.approx(1 + 72 * 0.01 * 9 * 0.1 * 24 * 0.02, rel=1e-4)


def test_the_blocks_are_those_that_are_named_and_the_same_ones_each_time() -> None:
    first, second = ([np.asarray(work()) for work in TORCH.make(1)] for _ in range(2))
    assert [answer.shape for answer in first] == [(1, 24, 56, 56), (1, 64, 28, 28)]
    for one, other, named in zip(first, second, TORCH.workloads, strict=True):
        assert np.array_equal(one, other)
        assert np.isfinite(one).all()
        assert f"{one.shape[1]} channels at {one.shape[2]} by {one.shape[3]}" in named


def test_what_is_told_of_a_gauge_names_the_threads_where_they_matter() -> None:
    assert [TORCH.label(threads) for threads in (None, 1, 2)] == [
        "an inverted residual block and a residual block",
        "an inverted residual block and a residual block on 1 thread",
        "an inverted residual block and a residual block on 2 threads",
    ]
