"""Latency by scaling: a backbone without a figure on a device is scaled from the device's nearest known ones.

Time is scaled by MACs and activations between backbones of the same runtime and precision, nearest ones first, and
depthwise from depthwise, dense from dense; where only the other kind is known, prices of a MAC and of an activation
are fitted to it instead. How much each of the two counts, and how wide the
interval is, comes from leaving each backbone out of the device's own figures. An approximation: it knows nothing
of layers, caches or the device's peak rates.
"""

import tomllib
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache, cached_property
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selector.estimation.latency import LatencyQuery
from selector.evidence.metrics import LATENCY_P50
from selector.evidence.record import Figure, Provenance

ASSUMPTIONS = Path(__file__).parent / "data" / "scaling.toml"
NEAREST = 4
CALIBRATION_MINIMUM = 4  # backbones; below it nothing can be left out and the interval is the assumed one
SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)  # of MACs against activations
ELASTICITIES = (0.7, 0.8, 0.9, 1.0)  # smaller backbones use a device worse, so time grows slower than work
OTHER_KIND_DISTANCE = 3.0  # log units that a backbone of the other kind is farther away


@dataclass(frozen=True, slots=True)
class Features:
    """What scaling looks at, at one resolution."""

    macs: float
    activations: float
    depthwise: bool
    convolutions: int
    functions: frozenset[str] = frozenset()  # activation functions


@dataclass(frozen=True, slots=True)
class Anchor:
    """A known figure of the device: p50 at batch 1, or the time per image within a big batch (`per_sample`)."""

    backbone: str
    resolution: int
    runtime: str
    precision: str
    milliseconds: float
    per_sample: bool = False


FeaturesOf = Callable[[str, int], Features]


@cache
def assumption(name: str) -> Any:
    """The value of an assumption of `scaling.toml`. Raises KeyError for one that is not there."""
    return tomllib.loads(ASSUMPTIONS.read_text(encoding="utf-8"))[name]["value"]


class ScalingEstimator:
    """Implements `LatencyEstimator` on one device by scaling its known figures."""

    def __init__(self, device: str, anchors: Iterable[Anchor], features: FeaturesOf) -> None:
        self._device = device
        self._features = features
        groups: dict[tuple[str, str, bool], list[Anchor]] = defaultdict(list)
        for anchor in anchors:
            groups[anchor.runtime, anchor.precision, anchor.per_sample].append(anchor)
        self._scales = {key: _Scale(tuple(group), features) for key, group in groups.items()}

    def covers(self, runtime: str, precision: str) -> bool:
        """Whether the device has any figure of this runtime and precision to scale from."""
        return any((runtime, precision, per_sample) in self._scales for per_sample in (False, True))

    def estimate(self, query: LatencyQuery) -> Figure | None:
        """The p50 at batch 1 with an 80 % interval; None without figures of the same runtime and precision."""
        if query.batch_size != 1:
            return None
        asked = self._features(query.backbone, query.resolution)
        scale = self._scales.get((query.runtime, query.precision, False))
        if scale is not None:
            scaled = scale.at(asked)
            return self._figure(scaled.value, scaled.low, scaled.high, scaled.says(self._device, query))
        scale = self._scales.get((query.runtime, query.precision, True))
        return self._from_throughput(scale.at(asked), asked, query) if scale is not None else None

    def _from_throughput(self, per_sample: "_Scaled", asked: Features, query: LatencyQuery) -> Figure:
        """Batch-1 latency where only big batches were published: bounds, and their geometric mean between."""
        operations = asked.convolutions * assumption("operations_per_convolution")
        by_runtime = assumption("operation_us")
        fast, slow = by_runtime.get(query.runtime, by_runtime["other"])
        floor_low, floor_high = assumption("floor_ms")
        low = max(floor_low, per_sample.low, operations * fast / 1000)
        high = max(floor_high, operations * slow / 1000 + assumption("batch_one_inefficiency") * per_sample.high)
        source = (
            f"bounds on batch 1 from {per_sample.value:.3g} ms per image in a big batch and about {operations:.0f} "
            f"operations started at {fast:g}-{slow:g} µs each, floor {floor_low:g}-{floor_high:g} ms; "
            f"{self._device} has no published batch-1 latency for {query.runtime} {query.precision}"
        )
        return self._figure(float(np.sqrt(low * high)), low, high, source)

    @staticmethod
    def _figure(value: float, low: float, high: float, source: str) -> Figure:
        return Figure(LATENCY_P50, value, low, high, Provenance.ESTIMATED, source)


@dataclass(frozen=True, slots=True)
class _Scaled:
    """A scaled time with its 80 % interval and what it was scaled from."""

    value: float
    low: float
    high: float
    anchors: tuple[Anchor, ...]
    left_out: int  # backbones that calibrated the interval; 0: the assumed interval

    def says(self, device: str, query: LatencyQuery) -> str:
        names = ", ".join(f"{a.backbone}@{a.resolution} {a.milliseconds:.4g} ms" for a in self.anchors)
        interval = (
            f"80 % interval from leaving out each of {self.left_out} backbones"
            if self.left_out
            else "interval assumed: no or too few backbones of its kind to calibrate on"
        )
        return f"scaled by MACs and activations from {device} {query.runtime} {query.precision}: {names}; {interval}"


class _Scale:
    """Figures of one runtime and precision on one device, and how to scale between them."""

    def __init__(self, anchors: tuple[Anchor, ...], features: FeaturesOf) -> None:
        self._anchors = anchors
        known = [features(a.backbone, a.resolution) for a in anchors]
        self._x = np.array([_point(f) for f in known])
        self._depthwise = np.array([f.depthwise for f in known])
        self._functions = frozenset().union(*(f.functions for f in known))
        self._y = np.log([a.milliseconds for a in anchors])
        self._backbones = np.array([a.backbone for a in anchors])
        self._left_out = len(set(self._backbones.tolist()))

    def at(self, asked: Features) -> _Scaled:
        x = _point(asked)
        everyone = np.ones(len(self._anchors), dtype=bool)
        share, elasticity, spread = self._calibration
        near = self._nearest(x, asked.depthwise, everyone)
        value, nearest = float(self._scaled(near, share, elasticity)), near.positions
        calibrated = self._left_out >= CALIBRATION_MINIMUM
        if not (self._depthwise == asked.depthwise).any():
            # ratios of MACs or of activations do not carry between the kinds; their separate prices do, roughly
            value = self._priced(x) if calibrated else value
            spread = max(spread, assumption("other_kind_spread"))
            calibrated = False
        if not asked.functions <= self._functions:
            spread += assumption("new_operation_spread")
        away = float(np.abs(self._x[nearest] - x).mean(axis=1).min())
        spread += assumption("distance_widening") * away
        return _Scaled(
            float(np.exp(value)),
            float(np.exp(value - spread)),
            float(np.exp(value + spread)),
            tuple(self._anchors[i] for i in nearest[:3]),
            self._left_out if calibrated else 0,
        )

    def _priced(self, x: NDArray[np.float64]) -> float:
        """Log time at `x` from prices of a MAC and of an activation and a constant, none negative, fitted to all."""
        work = np.column_stack([np.exp(self._x), np.ones(len(self._anchors))])
        time = np.exp(self._y)
        best, prices = np.inf, np.zeros(3)
        for used in ((0, 1, 2), (0, 1), (0, 2), (1, 2), (0,), (1,)):
            scaled = work[:, used] / time[:, None]  # relative errors: a small backbone counts as much as a large one
            fitted, *_ = np.linalg.lstsq(scaled, np.ones(len(time)), rcond=None)
            error = float(((scaled @ fitted - 1) ** 2).sum())
            if (fitted >= 0).all() and error < best:
                best, prices = error, np.zeros(3)
                prices[list(used)] = fitted
        return float(np.log(np.append(np.exp(x), 1.0) @ prices))

    @cached_property
    def _calibration(self) -> tuple[float, float, float]:
        """Share and elasticity with the smallest error on left-out backbones, and the 80 % quantile of that error."""
        if self._left_out < CALIBRATION_MINIMUM:
            return 0.5, 1.0, float(np.log(assumption("few_anchors_factor")))
        # every figure of a backbone is left out with it: its other resolutions would give it away
        without = [
            self._nearest(x, depthwise, self._backbones != backbone)
            for x, depthwise, backbone in zip(self._x, self._depthwise, self._backbones, strict=True)
        ]
        best = (np.inf, 0.5, 1.0)
        errors = np.empty(0)
        for share, elasticity in product(SHARES, ELASTICITIES):
            found = np.abs(np.array([self._scaled(near, share, elasticity) for near in without]) - self._y)
            if found.mean() < best[0]:
                best, errors = (float(found.mean()), share, elasticity), found
        # the rank that covers 80 % of a new backbone too: with few backbones the largest error
        level = min(1.0, 0.8 * (self._left_out + 1) / self._left_out)
        return best[1], best[2], max(float(np.quantile(errors, level)), assumption("least_spread"))

    def _nearest(self, x: NDArray[np.float64], depthwise: bool, among: NDArray[np.bool_]) -> "_Near":
        """The nearest anchors `among` which to look, nearest first."""
        distance = np.abs(self._x - x).mean(axis=1) + OTHER_KIND_DISTANCE * (self._depthwise != depthwise)
        candidates = np.flatnonzero(among)
        positions = candidates[np.argsort(distance[candidates], kind="stable")[:NEAREST]]
        weight = 1 / (0.05 + distance[positions]) ** 2
        weight /= weight.sum()
        away = weight @ (x - self._x[positions])
        return _Near(positions, float(weight @ self._y[positions]), float(away[0]), float(away[1]))

    @staticmethod
    def _scaled(near: "_Near", share: float, elasticity: float) -> float:
        """Log time: the anchors' weighted, plus what lies between them and the asked one in MACs and activations."""
        return near.log_time + elasticity * (share * near.macs + (1 - share) * near.activations)


@dataclass(frozen=True, slots=True)
class _Near:
    """Nearest anchors, their weighted log time, and how much more log work is asked for, weighted alike."""

    positions: NDArray[np.intp]
    log_time: float
    macs: float
    activations: float


def _point(features: Features) -> NDArray[np.float64]:
    """Log MACs and log activations."""
    return np.array([np.log(max(features.macs, 1.0)), np.log(max(features.activations, 1.0))])
