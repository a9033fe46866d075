"""What each block of one backbone costs: counted multiply-accumulates, activations, parameters, and measured time.

Blocks run one after another in torch's eager mode, each timed by itself within whole passes. A runtime that fuses
across layers has no such parts: this shows where a network spends its work, not what another runtime makes of it.
"""

from dataclasses import dataclass
from typing import Any

from selector.backbones.layers import layers
from selector.profiling.intervals import median_interval
from selector.profiling.measurement import Measurement
from selector.profiling.protocol import Settings, Tracker

BY_BLOCK = Settings(window_s=0.1, min_windows=6, tail_budget_s=0.0, deadline_s=8.0)


@dataclass(frozen=True, slots=True)
class BlockCost:
    """One block, numbered from the input; the last is the classifier. For one image."""

    number: int
    name: str
    macs: int
    activations: int
    params: int
    ms: float  # median over passes
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class BlockCosts:
    """A backbone's blocks, and the pass that they are parts of."""

    backbone: str
    resolution: int
    threads: int
    total: Measurement  # of whole passes, block by block
    blocks: tuple[BlockCost, ...]

    def shares(self) -> list[tuple[float, float, float]]:
        """Each block's part of all multiply-accumulates, activations and time, 0 to 1."""
        macs, activations = sum(b.macs for b in self.blocks), sum(b.activations for b in self.blocks)
        time = sum(b.ms for b in self.blocks)
        return [(b.macs / macs, b.activations / activations, b.ms / time) for b in self.blocks]


def block_costs(backbone: str, resolution: int, threads: int, timed: dict[str, Any]) -> BlockCosts:
    """Counts from the layer table beside the times that `time_blocks` brought. Needs no torch."""
    rows = layers(backbone, resolution)
    blocks = []
    for number, block in enumerate(timed["blocks"], 1):
        own = [layer for layer in rows if layer.block == number]
        blocks.append(
            BlockCost(
                number,
                block["name"],
                macs=sum(layer.macs for layer in own),
                activations=sum(layer.activations for layer in own),
                params=sum(layer.params for layer in own),
                ms=block["ms"],
                low=block["low"],
                high=block["high"],
            )
        )
    return BlockCosts(backbone, resolution, threads, Measurement.from_json(timed["total"]), tuple(blocks))


def time_blocks(backbone: str, resolution: int, settings: Settings = BY_BLOCK) -> dict[str, Any]:
    """Time passes of a model block by block until the median of the whole pass is known well enough. Needs torch."""
    from itertools import pairwise
    from time import perf_counter_ns

    import numpy as np
    import torch

    from selector.backbones.blocks import blocks, classifier
    from selector.profiling import models
    from selector.profiling.results import to_json

    model = models.create(backbone)
    chain = [(block.name, block.module) for block in blocks(model)] + [("classifier", classifier(model))]
    image = torch.randn(1, 3, resolution, resolution, generator=torch.Generator().manual_seed(models.SEED))
    tracker = Tracker(settings)
    passes: list[list[list[float]]] = []  # window → pass → milliseconds of each block
    with torch.inference_mode():
        while not tracker.finished:
            rows = []
            for _ in range(tracker.next_window()):
                features, marks = image, [perf_counter_ns()]
                for _, module in chain:
                    features = module(features)
                    marks.append(perf_counter_ns())
                rows.append([(b - a) / 1e6 for a, b in pairwise(marks)])
            passes.append(rows)
            tracker.add([sum(row) for row in rows])
    steady = np.array([row for place in tracker.steady_places for row in passes[place]])
    parts = []
    for (name, _), column in zip(chain, steady.T, strict=True):
        low, high = median_interval(list(column), settings.confidence)
        parts.append({"name": name, "ms": float(np.median(column)), "low": low, "high": high})
    return {"blocks": parts, "total": to_json(tracker.measurement())}
