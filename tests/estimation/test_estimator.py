"""The estimator of one device, from its profile and its figures."""

from dataclasses import replace

import numpy as np
import pytest

from selector.estimation.calibration import check_calibration
from selector.estimation.estimator import latency_estimator
from selector.estimation.latency import LatencyQuery
from selector.estimation.plan import plan
from selector.evidence.record import Conditions, Provenance, Record
from selector.hardware.loading import profile
from selector.hardware.profiles import HardwareProfile

BOARD = "raspberry-pi-4"


@pytest.fixture(scope="module")
def board() -> HardwareProfile:
    return profile(BOARD)


def query(backbone: str, **other: object) -> LatencyQuery:
    asked = {"resolution": 224, "runtime": "tflite", "precision": "fp32", **other}
    return LatencyQuery(backbone, **asked)  # type: ignore[arg-type]


def test_published_figures_calibrate(board: HardwareProfile) -> None:
    known = {(f.backbone, f.resolution): f.value for f in board.published if _is(f, "latency_ms_p50", "tflite", "fp32")}
    left_out = replace(board, published=tuple(f for f in board.published if f.backbone != "mobilenetv2_075"))
    figure = latency_estimator(left_out).estimate(query("mobilenetv2_075"))
    assert figure is not None
    assert figure.provenance is Provenance.ESTIMATED
    assert figure.low is not None
    assert figure.high is not None
    assert figure.low < figure.value < figure.high
    assert figure.value == pytest.approx(known["mobilenetv2_075", 224], rel=0.15)


def test_without_figures_the_interval_is_wider_and_says_why(board: HardwareProfile) -> None:
    bare = replace(board, name="another-board", published=())
    with_figures, without = latency_estimator(board), latency_estimator(bare)
    narrow, wide = (e.estimate(query("mobilenetv2_110d")) for e in (with_figures, without))
    assert narrow is not None
    assert wide is not None
    assert _width(wide) > 1.5 * _width(narrow)
    assert "no figure of this device" in wide.source
    assert "figures of tflite" in narrow.source


@pytest.mark.parametrize(("runtime", "published"), [("armnn", 289.0), ("tflite", 553.0)])
def test_a_kind_of_convolution_without_figures_is_told_and_widens(
    board: HardwareProfile, runtime: str, published: float
) -> None:
    """The board's figures are of depthwise backbones alone; ResNet-50's were published elsewhere."""
    figure = latency_estimator(board).estimate(query("resnet50", runtime=runtime))
    assert figure is not None
    assert figure.low is not None
    assert figure.high is not None
    assert figure.low <= published <= figure.high
    assert "hardly any figure of this device holds" in figure.source


@pytest.mark.parametrize(("runtime", "published"), [("armnn", 289.0), ("tflite", 553.0)])
def test_the_stems_of_mobilenets_do_not_tell_how_fast_dense_convolutions_are(
    board: HardwareProfile, runtime: str, published: float
) -> None:
    """All figures of boards are MobileNets'; ResNet-50 on a board like this one was published elsewhere."""
    bare = replace(board, name="another-board", published=())
    figure = latency_estimator(bare).estimate(query("resnet50", runtime=runtime))
    assert figure is not None
    assert published / 3 < figure.value < published * 3


def test_measurements_outweigh_published_figures(board: HardwareProfile) -> None:
    slow = [_measured(b, 500.0) for b in ("resnet18", "mobilenetv2_100", "efficientnet_b0", "mobilenetv1_100")]
    before = latency_estimator(board).estimate(query("mobilenetv2_100"))
    after = latency_estimator(board, slow).estimate(query("mobilenetv2_100"))
    assert before is not None
    assert after is not None
    assert after.value > 3 * before.value
    assert "4 figures of tflite 9.9" in after.source


def test_batches_are_stated_whole() -> None:
    card = latency_estimator(profile("nvidia-rtx-3090"))
    one, many = (
        card.estimate(query("resnet50", runtime="torch-eager", precision="fp16", batch_size=n)) for n in (1, 256)
    )
    assert one is not None
    assert many is not None
    assert many.value > 5 * one.value  # 256 images at once, launched once
    assert "batch" in one.source  # that it rests on big batches
    assert _width(one) > 2 * _width(many)


@pytest.mark.parametrize(
    "asked",
    [query("no_such_net"), query("resnet18", precision="int3"), query("vgg16", resolution=8)],
    ids=["network", "precision", "image"],
)
def test_nothing_is_said_of_the_unknown(board: HardwareProfile, asked: LatencyQuery) -> None:
    assert latency_estimator(board).estimate(asked) is None


def test_an_unknown_kernel_is_not_guessed(board: HardwareProfile) -> None:
    coral = replace(board, name="coral", device_kind="accelerator", published=())
    assert latency_estimator(coral).estimate(query("resnet18", precision="int8-static")) is None
    assert latency_estimator(profile("nvidia-rtx-4090")).estimate(query("resnet18", runtime="tensorrt")) is None


def test_an_unknown_runtime_and_a_far_resolution_say_so(board: HardwareProfile) -> None:
    estimator = latency_estimator(board)
    other = estimator.estimate(query("resnet18", runtime="onnxruntime"))
    far = estimator.estimate(query("resnet18", resolution=1024))
    near = estimator.estimate(query("resnet18"))
    assert other is not None
    assert far is not None
    assert near is not None
    assert "no figure of onnxruntime" in other.source
    assert "extrapolated to 1024 px" in far.source
    assert _width(near) < _width(far)


def test_the_farther_a_resolution_lies_outside_the_wider_the_interval() -> None:
    card = latency_estimator(profile("nvidia-rtx-3090"))
    widths = []
    for side in (672, 1024, 1344, 2048):
        figure = card.estimate(
            query("resnet50", runtime="torch-eager", precision="fp16", resolution=side, batch_size=256)
        )
        assert figure is not None
        widths.append(np.log(_width(figure)))
    assert widths[1] > 1.4 * widths[0]  # for lying outside at all
    assert widths[3] > 1.25 * widths[2]  # for most of a second doubling


def test_a_batch_far_above_every_figure_s_is_called_extrapolated(board: HardwareProfile) -> None:
    estimator = latency_estimator(board)  # its figures are of single images
    near, far = (estimator.estimate(query("mobilenetv2_100", batch_size=n)) for n in (7, 8))
    assert near is not None
    assert far is not None
    assert "extrapolated" not in near.source
    assert "extrapolated to batch 8 from figures at batch 1 at most" in far.source
    assert np.log(_width(far)) > 1.4 * np.log(_width(near))


def test_no_interval_is_wider_than_anything_seen() -> None:
    silent = replace(profile("aws-t2.medium"), name="another-cpu", published=(), specification=())
    figure = latency_estimator(silent).estimate(query("vgg16", runtime="onnxruntime", precision="int8-static"))
    assert figure is not None
    assert 10 < _width(figure) < 401  # twenty times either way


def test_the_plan_narrows_and_leaves_out_what_is_known(board: HardwareProfile) -> None:
    bare = replace(board, name="another-board", published=())
    steps = plan(latency_estimator(bare), "onnxruntime", "fp32", measurements=6)
    widths = [s.interval_after_percent for s in steps]
    assert len({s.backbone for s in steps}) == 6
    assert widths == sorted(widths, reverse=True)
    first = steps[0].backbone
    known = latency_estimator(bare, [_measured(first, 100.0, runtime="onnxruntime", resolution=steps[0].resolution)])
    assert first not in {s.backbone for s in plan(known, "onnxruntime", "fp32", measurements=6)}


def test_figures_are_checked_against_each_other(board: HardwareProfile) -> None:
    own = tuple(f for f in board.published if _is(f, "latency_ms_p50", "tflite", "int8-static") and f.resolution == 224)
    few = replace(board, name="another-board", published=own)
    (check,) = check_calibration(few, own)
    assert check.figures == len(own)
    assert check.mean_error_percent is not None
    assert check.mean_error_percent < 15
    assert check.within_interval is not None
    assert check.within_interval > len(own) / 2


def _is(figure: object, metric: str, runtime: str, precision: str) -> bool:
    found = (getattr(figure, n) for n in ("metric", "runtime", "precision"))
    return tuple(found) == (metric, runtime, precision)


def _width(figure: object) -> float:
    return float(figure.high / figure.low)  # type: ignore[attr-defined]


def _measured(backbone: str, value: float, *, runtime: str = "tflite", resolution: int = 224) -> Record:
    at = Conditions(backbone, BOARD, runtime, "9.9", "fp32", resolution=resolution, batch_size=1, threads=4)
    return Record.of("latency_ms_p50", value, at, provenance=Provenance.MEASURED, source="a test")
