"""The physical layer: latency as a sum of kinds of work, each at a rate of its own.

log latency = log Σ_j exp(θ_j) · unit_j · work_j. A unit is what the specification promises (peak arithmetic, bandwidth,
a launch); θ_j is how much slower than promised the device is at that kind of work. Exponentials keep every coefficient
positive.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from selector.estimation.configuration import Subject, terms_of
from selector.estimation.features import LARGE, TERMS, Vector

KEPT = 0.5  # share of the caches that holds a pass's maps: what it puts out displaces what it reads
CACHED = ("dense traffic", "depthwise traffic", "elementwise", "costly activation")
"""Work whose part within the caches costs cache speed; what goes beyond is counted again, as large layers."""
_CACHED = np.array([name in CACHED for name, _ in TERMS])


@dataclass(frozen=True, slots=True)
class Promise:
    """What a specification promises for one precision: 10^9 MACs and bytes a second, milliseconds a launch.

    `cache_bytes`: of the cache nearest to memory; None where nothing says. Within it maps are read and written
    `cache_speed` times as fast as in memory. `fuses`: the runtime compiles the graph.
    """

    gmacs: float
    gbytes: float
    launch_ms: float
    bytes_per_element: int
    cache_bytes: float | None = None
    cache_speed: float = 1.0
    fuses: bool = False

    def units(self) -> Vector:
        """[terms] milliseconds of one unit of each kind of work."""
        element = self.bytes_per_element / self.gbytes * 1e-6
        per = {"mac": 1e-6 / self.gmacs, "element": element, "weight": element, "launch": self.launch_ms}
        units = np.array([per[counted] for _, counted in TERMS])
        return np.where(_CACHED, units / self.cache_speed, units)

    @property
    def cache(self) -> float:
        """Elements that the caches hold of the maps that a pass reads and writes, of all images of a batch."""
        return LARGE if self.cache_bytes is None else KEPT * self.cache_bytes / self.bytes_per_element

    def costs(self, subjects: Sequence[Subject]) -> Vector:
        """[n, terms] milliseconds that one image of each subject would take of each kind of work, as promised."""
        return terms_of(subjects, fuses=self.fuses, cache=self.cache) * self.units()


def log_latency(costs: Vector, theta: Vector) -> tuple[Vector, Vector]:
    """Log milliseconds [n] and each term's share of the time [n, terms]; `costs` as `Promise` gives them."""
    times = costs * np.exp(theta)
    total = times.sum(axis=1)
    return np.log(total), times / total[:, None]


def fit_rates(costs: Vector, logs: Vector, mean: Vector, precision: Vector, noise: float) -> Vector:
    """Maximum a posteriori θ [terms] for θ ~ N(mean, precision⁻¹) and logs ~ N(log latency, noise²).

    Levenberg-Marquardt: a step that does not lower the cost is shortened.
    """
    theta = mean.copy()
    damping = 1.0

    def state(at: Vector) -> tuple[float, Vector, Vector]:
        predicted, shares = log_latency(costs, at)
        error = logs - predicted
        off = at - mean
        return float(error @ error / noise**2 + off @ precision @ off), error, shares

    cost, error, shares = state(theta)
    for _ in range(60):
        curvature = shares.T @ shares / noise**2 + precision
        slope = shares.T @ error / noise**2 - precision @ (theta - mean)
        step = np.linalg.solve(curvature + damping * np.diag(np.diag(curvature)), slope)
        tried, tried_error, tried_shares = state(theta + step)
        if tried >= cost:
            damping *= 4
            continue
        settled = cost - tried < 1e-4 * cost
        theta, cost, error, shares = theta + step, tried, tried_error, tried_shares
        damping = max(damping / 5, 1e-6)
        if settled:
            break
    return theta
