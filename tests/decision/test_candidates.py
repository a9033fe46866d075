import numpy as np
import pytest
from decision_samples import at_most, device, published, record, request

from selector.advisor import training_macs
from selector.backbones import catalog
from selector.decision.answer import Limit, Statement
from selector.decision.candidates import (
    Candidates,
    Execution,
    artifact,
    candidates,
    executions,
    freeze_points,
    violations,
)
from selector.decision.device import DeviceEvidence
from selector.decision.request import Hardware
from selector.decision.training import TrainingTime
from selector.hardware.profiles import HardwareProfile

OFFERS = (("tflite", ("fp32", "int8-static")), ("onnxruntime", ("fp32",)))
BOARD = device(
    published("mobilenetv2_100", 60.0),
    published("mobilenetv2_100", 66.0, metric="latency_ms_p90"),
    published("mobilenetv2_100", 20.0, resolution=128),
    published("mobilenetv2_100", 25.0, precision="int8-static"),
    published("mobilenetv1_100", 55.0),
    offers=OFFERS,
)


def made(*limits: Limit, board: HardwareProfile = BOARD, **changes: object) -> Candidates:
    asked = request(*limits, **({"backbones": ("mobilenetv2_100", "resnet18")} | changes))
    evidence = DeviceEvidence(board)
    return candidates(asked, Hardware(board, board), evidence, TrainingTime([], training_macs), training_macs)


def test_every_named_depth_at_the_default_and_the_published_resolutions() -> None:
    found = {(c.backbone, c.freeze.name, c.resolution) for c in made().items}
    depths = ("none", "last-3", "80%", "head")
    assert {(b, d, r) for b, d, r in found if b == "mobilenetv2_100"} == {
        ("mobilenetv2_100", d, r) for d in depths for r in (224, 128)
    }
    assert {r for b, _, r in found if b == "resnet18"} == {catalog.backbone("resnet18").resolution}


def test_depths_that_freeze_the_same_blocks_are_one() -> None:
    assert [p.name for p in freeze_points(15)] == ["none", "last-3", "head"]
    assert [p.frozen_blocks for p in freeze_points(17)] == [0, 14, 13, 17]


def test_lossy_precisions_and_runtimes_without_figures_are_left_out_and_named() -> None:
    evidence, hardware = DeviceEvidence(BOARD), Hardware(BOARD, BOARD)
    left = executions(request(), hardware, evidence)
    assert left.considered == (Execution("tflite", "fp32"),)
    assert left.lossy == (Execution("tflite", "int8-static"),)
    assert left.unknown == (Execution("onnxruntime", "fp32"),)
    asked = executions(request(precisions=("int8-static",)), hardware, evidence)
    assert asked.considered == (Execution("tflite", "int8-static"),)
    named = executions(request(runtimes=("onnxruntime",)), hardware, evidence)
    assert named.considered == (Execution("onnxruntime", "fp32"),)


def test_where_nothing_is_known_each_runtime_is_considered_in_one_precision() -> None:
    board = device(offers=(("tensorrt", ("fp32", "fp16")), ("onnxruntime", ("fp32", "fp16"))))
    left = executions(request(), Hardware(board, board), DeviceEvidence(board))
    assert left.considered == (Execution("tensorrt", "fp32"), Execution("onnxruntime", "fp32"))
    assert left.unknown == (Execution("tensorrt", "fp16"), Execution("onnxruntime", "fp16"))


def test_hardware_that_offers_lossy_precisions_alone_is_considered_with_them() -> None:
    board = device(published("mobilenetv2_100", 2.0, precision="int8-static"), offers=(("tflite", ("int8-static",)),))
    left = executions(request(), Hardware(board, board), DeviceEvidence(board))
    assert left.considered == (Execution("tflite", "int8-static"),)


def test_limits_are_held_against_the_p90_and_the_broken_one_is_named() -> None:
    items = made(at_most("latency_ms", 65.0)).items
    known = next(c for c in items if c.backbone == "mobilenetv2_100" and c.resolution == 224)
    assert known.latency is not None
    assert known.latency.value == 60.0
    assert [(v.limit.name, v.figure and v.figure.value) for v in known.violations] == [("latency_ms", 66.0)]
    small = next(c for c in items if c.backbone == "mobilenetv2_100" and c.resolution == 128)
    assert small.feasible


def test_a_limited_latency_without_figures_is_held_against_the_upper_end_of_a_wide_estimate() -> None:
    items = made(at_most("latency_ms", 1e9), runtimes=("onnxruntime",)).items
    assert items
    assert all(c.feasible for c in items)
    bound = min(c.latency.value for c in items if c.latency is not None)
    held = made(at_most("latency_ms", bound), runtimes=("onnxruntime",)).items
    assert not any(c.feasible for c in held)


def test_memory_that_is_not_known_is_held_by_the_model_file_alone() -> None:
    items = made(at_most("memory_mb", 20.0)).items
    assert {c.backbone for c in items if c.feasible} == {"mobilenetv2_100"}
    broken = next(c for c in items if c.backbone == "resnet18")
    assert broken.violations[0].figure is broken.artifact


def test_measured_memory_is_held() -> None:
    board = device(published("mobilenetv2_100", 60.0))
    evidence = DeviceEvidence(board, [record("memory_rss_peak_bytes", 300e6, "mobilenetv2_100")])
    asked = request(at_most("memory_mb", 200.0), backbones=("mobilenetv2_100",))
    found = candidates(asked, Hardware(board, board), evidence, TrainingTime([], training_macs), training_macs)
    assert all(v.figure is c.memory for c in found.items for v in c.violations)
    assert not any(c.feasible for c in found.items)


def test_a_least_accuracy_is_held_by_the_expectation() -> None:
    items = made(Limit("accuracy", 85.0, "at least", Statement("limit.asked"))).items
    assert {c.feasible for c in items} == {True, False}
    for c in items:
        assert c.feasible == (c.accuracy.value >= 85.0)


def test_accuracy_is_the_mean_of_the_draws_with_its_interval() -> None:
    found = made()
    for c, draws in zip(found.items, found.draws, strict=True):
        assert c.accuracy.value == pytest.approx(draws.mean())
        assert c.accuracy.low == pytest.approx(np.quantile(draws, 0.1))
        assert c.accuracy.high == pytest.approx(np.quantile(draws, 0.9))


def test_the_artifact_has_the_users_classifier() -> None:
    backbone = catalog.backbone("resnet50")
    whole, ten = artifact(backbone, None, "fp32"), artifact(backbone, 10, "fp32")
    assert whole.value == backbone.artifact_bytes
    assert whole.value - ten.value == 4 * 990 * 2049
    assert artifact(backbone, 10, "int8-static").value < ten.value / 3


def test_nothing_is_violated_without_limits() -> None:
    assert all(violations(c, ()) == () for c in made().items)
