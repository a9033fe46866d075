import pytest

from selector.backbones.layers import layers
from selector.evidence.record import Conditions, Provenance, Record
from selector.profiling.peaks import Peaks, measure_peaks
from selector.profiling.roofline import roofline, work

PEAKS = Peaks(gflops=100.0, gb_s=10.0, threads=2, source="a test")


def latency(backbone: str, ms: float, *, precision: str = "fp32", threads: int = 2) -> Record:
    at = Conditions(backbone, "local", "onnxruntime", "1", precision, 224, 1, threads)
    return Record.of("latency_ms_p50", ms, at, provenance=Provenance.MEASURED, source="a test")


def test_work_is_twice_the_macs_and_moves_each_layer_once() -> None:
    operations, moved = work("resnet18", 224, "fp32", 1)
    assert operations == pytest.approx(2 * 1.814e9, rel=1e-3)  # torchvision's _ops of ResNet-18
    rows = layers("resnet18", 224)
    # 11.7 M parameters and 2.5 M outputs of layers, and what they read
    assert moved == 4 * sum(x.params + x.activations + x.in_channels * x.in_h * x.in_w for x in rows)
    assert moved > 4 * (11.68e6 + 2.48e6)


def test_a_batch_shares_its_weights() -> None:
    one, many = work("vgg16", 224, "fp32", 1), work("vgg16", 224, "fp32", 8)
    assert many[0] == 8 * one[0]
    assert many[1] < 8 * one[1]


def test_fewer_bytes_make_a_higher_intensity() -> None:
    assert work("resnet18", 224, "int8-static", 1)[1] * 4 == work("resnet18", 224, "fp32", 1)[1]
    assert work("resnet18", 224, "amp", 1) == work("resnet18", 224, "bf16", 1)


def test_the_roof_is_the_lower_of_both_ceilings() -> None:
    chart = roofline("here", [latency("resnet18", 50.0), latency("mobilenetv2_100", 50.0)], PEAKS)
    assert chart.ridge == 10.0
    fast, slow = chart.points
    assert (fast.backbone, slow.backbone) == ("resnet18", "mobilenetv2_100")
    assert fast.gflops == pytest.approx(work("resnet18", 224, "fp32", 1)[0] / 50e6)
    assert fast.intensity > chart.ridge
    assert fast.share == pytest.approx(fast.gflops / 100.0)
    for p in chart.points:
        assert p.share == pytest.approx(p.gflops / min(100.0, 10.0 * p.intensity))


def test_other_thread_counts_lie_under_another_roof() -> None:
    assert roofline("here", [latency("resnet18", 50.0, threads=1)], PEAKS).points == ()


def test_ceilings_are_measured() -> None:
    found = measure_peaks(1)
    assert found.gflops > 0
    assert found.gb_s > 0
    assert found.threads == 1
