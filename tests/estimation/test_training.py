"""What training costs on a GPU that is not here."""

import pytest

from selector.backbones.depth import FreezeDepth
from selector.estimation.training import training_cost
from selector.hardware.loading import profile


def cost(device: str, depth: str, **other: object):  # type: ignore[no-untyped-def]
    asked = {"batch_size": 32, **other}
    return training_cost(profile(device), "resnet50", FreezeDepth.parse(depth), **asked)  # type: ignore[arg-type]


def test_freezing_saves_time_and_memory() -> None:
    costs = [cost("nvidia-rtx-3090", depth) for depth in ("none", "last-3", "head")]
    steps, memory = [c.step.value for c in costs], [c.memory.value for c in costs]
    assert steps == sorted(steps, reverse=True)
    assert memory == sorted(memory, reverse=True)
    assert steps[2] < 0.6 * steps[0]


def test_a_slower_gpu_takes_longer_and_is_known_less_well() -> None:
    near, far = cost("nvidia-rtx-3090", "none"), cost("nvidia-t4", "none")
    assert far.step.value > 1.5 * near.step.value
    assert far.step.high / far.step.low > near.step.high / near.step.low
    assert "scaled by the specification" in far.step.source


def test_published_throughput_lies_in_the_interval() -> None:
    # timm's results/benchmark-train-amp-nchw-pt112-cu113-rtx3090.csv: resnet50, batch 512
    found = cost("nvidia-rtx-3090", "none", batch_size=512)
    assert found.step.low / 512 < 1.21 < found.step.high / 512


def test_a_cpu_has_no_published_throughput() -> None:
    assert cost("raspberry-pi-4", "none") is None


@pytest.mark.parametrize("batch", [8, 64])
def test_memory_grows_with_the_batch(batch: int) -> None:
    assert (
        cost("nvidia-rtx-3090", "none", batch_size=2 * batch).memory.value
        > cost("nvidia-rtx-3090", "none", batch_size=batch).memory.value
    )
