import numpy as np
import pytest

from selector.estimation.latency import LatencyEstimator, LatencyQuery
from selector.estimation.scaling import Anchor, Features, ScalingEstimator
from selector.evidence.record import Provenance

WORK = {f"net{i}": (4.0**i, 2.0**i) for i in range(8)}  # 10^8 MACs, 10^6 activations


def features(backbone: str, resolution: int) -> Features:
    name, _, variant = backbone.partition(".")
    macs, activations = WORK[name]
    scale = (resolution / 224) ** 2
    functions = frozenset({"silu"}) if variant == "silu" else frozenset({"relu"})
    return Features(macs * 1e8 * scale, activations * 1e6 * scale, variant == "depthwise", 50, functions)


def anchor(backbone: str, milliseconds: float, *, per_sample: bool = False) -> Anchor:
    return Anchor(backbone, 224, "tflite", "fp32", milliseconds, per_sample)


def query(backbone: str, resolution: int = 224, *, precision: str = "fp32", batch_size: int = 1) -> LatencyQuery:
    return LatencyQuery(backbone, resolution, "tflite", precision, batch_size)


def interval(estimator: LatencyEstimator, asked: LatencyQuery) -> tuple[float, float, float]:
    figure = estimator.estimate(asked)
    assert figure is not None
    assert figure.low is not None
    assert figure.high is not None
    assert figure.low < figure.value < figure.high
    return figure.low, figure.value, figure.high


def exact(*, noise: float = 0.0) -> list[Anchor]:
    """Times proportional to MACs, net3 unknown."""
    rng = np.random.default_rng(0)
    return [anchor(n, w[0] * 10 * float(np.exp(rng.normal(0, noise)))) for n, w in WORK.items() if n != "net3"]


def test_it_recovers_a_device_that_follows_macs() -> None:
    low, value, high = interval(ScalingEstimator("d", exact(), features), query("net3"))
    assert value == pytest.approx(640.0, rel=0.02)
    assert low < 640.0 < high


def test_the_interval_follows_the_devices_own_scatter() -> None:
    def width(noise: float) -> float:
        low, _, high = interval(ScalingEstimator("d", exact(noise=noise), features), query("net3"))
        return high / low

    assert width(0.5) > 1.5 * width(0.0)


def test_it_says_what_it_was_scaled_from() -> None:
    figure = ScalingEstimator("board", exact(), features).estimate(query("net3"))
    assert figure is not None
    assert figure.provenance is Provenance.ESTIMATED
    for word in ("board", "tflite", "fp32", "net4@224", "leaving out"):
        assert word in figure.source


def test_without_figures_of_the_same_runtime_and_precision_nothing_is_said() -> None:
    estimator = ScalingEstimator("d", exact(), features)
    assert estimator.estimate(query("net3", precision="int8-static")) is None
    assert estimator.estimate(query("net3", batch_size=8)) is None
    assert estimator.covers("tflite", "fp32")
    assert not estimator.covers("tflite", "int8-static")


def test_doubt_grows_away_from_what_is_known() -> None:
    near = [anchor(name, WORK[name][0] * 10) for name in ("net0", "net1", "net2", "net3", "net4")]
    estimator = ScalingEstimator("d", near, features)
    widths = []
    for backbone in ("net5", "net7"):
        low, _, high = interval(estimator, query(backbone))
        widths.append(high / low)
    assert widths[1] > 1.5 * widths[0]


def test_the_other_kind_and_an_unknown_function_widen() -> None:
    estimator = ScalingEstimator("d", exact(), features)
    low, _, high = interval(estimator, query("net3"))
    for variant in ("net3.depthwise", "net3.silu"):
        other_low, _, other_high = interval(estimator, query(variant))
        assert other_high / other_low > 1.3 * high / low


def test_few_figures_give_the_assumed_interval() -> None:
    figure = ScalingEstimator("d", [anchor("net2", 160.0)], features).estimate(query("net2", 112))
    assert figure is not None
    assert figure.value == pytest.approx(40.0)
    assert figure.high is not None
    assert figure.high / figure.value >= 2.0
    assert "assumed" in figure.source


def test_throughput_bounds_the_latency_of_one_image() -> None:
    anchors = [anchor(name, WORK[name][0] * 0.01, per_sample=True) for name in WORK]
    low, _, high = interval(ScalingEstimator("gpu", anchors, features), query("net0"))
    assert low >= 0.3  # the floor, far above 0.01 ms in a batch
    assert high > 8 * 0.01
    slow_low, _, _ = interval(ScalingEstimator("gpu", anchors, features), query("net7"))
    assert slow_low > 50.0  # never faster than its share of a batch of 164 ms, within the interval
