"""Which figures to take next: those that narrow the intervals most."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from selector.backbones.catalog import backbones
from selector.estimation.configuration import Subject
from selector.estimation.estimator import DeviceEstimator
from selector.estimation.features import Vector
from selector.estimation.intervals import NORMAL_80


@dataclass(frozen=True, slots=True)
class PlannedMeasurement:
    """One measurement to take, and the typical 80 % interval of all subjects once it is taken, as ± in percent."""

    backbone: str
    resolution: int
    runtime: str
    precision: str
    interval_after_percent: float


def most_informative(covariance: Vector, noise: float, count: int, taken: Sequence[int] = ()) -> list[int]:
    """Indices of the `count` subjects whose figures reduce the summed variance most, each given those before it.

    `covariance` [n, n] of log latencies, `noise` the variance of one figure; `taken` are known already. Greedy: within
    1 − 1/e of the best set, and in practice next to it. Equal ones: the first.
    """
    left = covariance.copy()
    chosen: list[int] = []
    for index in taken:
        left = _after(left, noise, index)
    for _ in range(min(count, len(left) - len(taken))):
        gain = (left**2).sum(axis=0) / (np.diag(left) + noise)
        gain[[*taken, *chosen]] = -1.0
        chosen.append(int(np.argmax(gain)))
        left = _after(left, noise, chosen[-1])
    return chosen


def plan(
    estimator: DeviceEstimator,
    runtime: str,
    precision: str,
    *,
    measurements: int = 8,
    candidates: Sequence[Subject] | None = None,
) -> tuple[PlannedMeasurement, ...]:
    """What to measure next on the estimator's device, most telling first; `candidates`: the catalog unless given.

    Raises InvalidInput where nothing can be estimated for the runtime and precision.
    """
    known = estimator.known_subjects(runtime, precision)
    subjects = list(candidates or [Subject(b.name, b.resolution) for b in backbones()])
    covariance, noise = estimator.covariance(runtime, precision, subjects)
    taken = [i for i, s in enumerate(subjects) if s in known]
    planned = []
    left = covariance
    for index in taken:
        left = _after(left, noise, index)
    for index in most_informative(covariance, noise, measurements, taken):
        left = _after(left, noise, index)
        deviation = float(np.median(np.sqrt(np.maximum(np.diag(left), 0.0) + noise)))
        s = subjects[index]
        planned.append(
            PlannedMeasurement(
                s.backbone, s.resolution, runtime, precision, 100 * (float(np.exp(NORMAL_80 * deviation)) - 1)
            )
        )
    return tuple(planned)


def _after(covariance: Vector, noise: float, index: int) -> Vector:
    """The covariance once subject `index` has a figure."""
    column = covariance[:, index]
    after: Vector = covariance - np.outer(column, column) / (covariance[index, index] + noise)
    return after
