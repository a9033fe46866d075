from dataclasses import replace

import pytest
from decision_samples import record

from selector.advisor import training_macs
from selector.backbones.catalog import Family
from selector.decision.training import TrainingTime, epochs, hyperparameters
from selector.evidence.record import FreezePoint, Provenance, Record

NONE, HEAD = FreezePoint("none", 0, 9), FreezePoint("head", 9, 9)


def step(value: float, backbone: str = "resnet18", freeze: FreezePoint = NONE) -> Record:
    return record("train_step_ms", value, backbone, hardware="local", batch_size=32, freeze=freeze)


def test_without_a_measured_step_nothing_is_said() -> None:
    time = TrainingTime([], training_macs)
    assert not time.measured
    assert time.seconds("resnet18", NONE, 224, 5000) is None


def test_a_measured_step_times_the_images_seen() -> None:
    seconds = TrainingTime([step(1600.0)], training_macs).seconds("resnet18", NONE, 224, 5000)
    assert seconds is not None
    assert seconds.value == pytest.approx(1.6 / 32 * 5000 * 50)
    assert seconds.provenance is Provenance.ESTIMATED
    assert "1600 ms" in seconds.source


def test_other_depths_and_backbones_are_scaled_by_training_macs() -> None:
    time = TrainingTime([step(1600.0)], training_macs)
    whole, head = (time.seconds("resnet18", f, 224, 5000) for f in (NONE, HEAD))
    assert whole is not None
    assert head is not None
    ratio = training_macs("resnet18", 9, 224) / training_macs("resnet18", 0, 224)
    assert head.value == pytest.approx(whole.value * ratio)
    assert head.low is not None
    assert head.high is not None
    assert head.low < head.value < head.high
    larger = time.seconds("resnet50", FreezePoint("none", 0, 17), 224, 5000)
    assert larger is not None
    assert larger.value > whole.value


def test_the_interval_widens_when_measured_steps_disagree() -> None:
    def spread(factor: float) -> float:
        steps = [step(1000.0), step(400.0, freeze=HEAD)]
        steps += [step(value, "resnet34", FreezePoint("none", 0, 17)) for value in (2000.0 * factor,)]
        steps += [step(value, "resnet50", FreezePoint("none", 0, 17)) for value in (2200.0 / factor,)]
        seconds = TrainingTime(steps, training_macs).seconds("resnet26", FreezePoint("none", 0, 9), 224, 100)
        assert seconds is not None
        assert seconds.high is not None
        return seconds.high / seconds.value

    assert spread(5.0) > spread(1.0)


def test_the_recipe_follows_the_practices() -> None:
    tuned = hyperparameters(Family.RESNET, FreezePoint("last-3", 6, 9), 224, 5000)
    assert (tuned["learning_rate"], tuned["head_learning_rate"]) == (1e-4, 1e-3)  # P2, P13
    probe = hyperparameters(Family.VGG, FreezePoint("head", 13, 13), 224, 5000)
    assert probe["learning_rate"] == pytest.approx(0.01 * 32 / 256)  # P7
    assert probe["dropout"] == 0.5  # P4
    assert "head_learning_rate" not in probe
    assert "P1 " in str(hyperparameters(Family.RESNET, FreezePoint("80%", 7, 9), 224, 5000)["practices"])
    assert hyperparameters(Family.RESNET, NONE, 224, 8)["batch_size"] == 8


def test_epochs_fall_where_images_are_many() -> None:
    assert (epochs(100), epochs(10_000), epochs(50_000), epochs(10_000_000)) == (50, 50, 10, 5)


def test_a_gpu_counts_in_mixed_precision_and_a_cpu_in_fp32() -> None:
    on_cpu, on_gpu = step(800.0), step(20.0)
    mixed = replace(on_cpu, conditions=replace(on_cpu.conditions, runtime="torch-eager", precision="amp"))
    fast = replace(on_gpu, conditions=replace(on_gpu.conditions, runtime="torch-cuda", precision="amp"))
    exact = replace(on_gpu, conditions=replace(on_gpu.conditions, runtime="torch-cuda", precision="fp32"))

    def seconds(*records: Record) -> float:
        found = TrainingTime(records, training_macs).seconds("resnet18", NONE, 224, 5000)
        assert found is not None
        return found.value

    assert seconds(on_cpu, mixed) == seconds(on_cpu)
    assert seconds(on_cpu, fast, exact) == seconds(fast) == seconds(on_cpu) / 40
    assert not TrainingTime([mixed], training_macs).measured
