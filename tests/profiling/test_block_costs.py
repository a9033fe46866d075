import pytest

from selector.backbones.catalog import backbone
from selector.profiling.block_costs import block_costs, time_blocks
from selector.profiling.protocol import Settings

QUICK = Settings(window_s=0.01, min_windows=3, warmup_cap_s=0.2, deadline_s=0.4, target=0.5, drift=1, tail_budget_s=0)


@pytest.mark.parametrize("name", ["mobilenetv3_small_050", "resnet18", "vgg11_bn", "efficientnet_b0"])
def test_blocks_are_those_of_freezing_and_add_up(name: str) -> None:
    known = backbone(name)
    timed = time_blocks(name, 64, QUICK)
    costs = block_costs(name, 64, 1, timed)
    assert [b.name for b in costs.blocks[:-1]] == [block.name for block in known.blocks]
    assert costs.blocks[-1].name == "classifier"
    assert sum(b.params for b in costs.blocks) == known.params
    assert all(b.macs > 0 and b.low <= b.ms <= b.high for b in costs.blocks)
    # each pass is the sum of its blocks, so the sum of the medians cannot be far from the median of the sums
    assert sum(b.low for b in costs.blocks) <= costs.total.p50 * 1.5
    for column in zip(*costs.shares(), strict=True):
        assert sum(column) == pytest.approx(1.0)


def test_counts_at_the_default_resolution_are_the_catalogs() -> None:
    known = backbone("resnet18")
    names = [*(block.name for block in known.blocks), "classifier"]
    timed = {
        "blocks": [{"name": n, "ms": 1.0, "low": 1.0, "high": 1.0} for n in names],
        "total": {"p50": 1, "low": 1, "high": 1, "p90": None, "n": 6, "windows": 6, "warmup_samples": 3}
        | {"stable": True, "reason": None},
    }
    costs = block_costs("resnet18", known.resolution, 1, timed)
    assert [(b.macs, b.activations, b.params) for b in costs.blocks[:-1]] == [
        (block.macs, block.activations, block.params) for block in known.blocks
    ]
