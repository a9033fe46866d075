"""How fast the processor runs at a moment, and what a model's windows would have taken at another pace.

Clocks move: with heat, with the instructions in use and, on a shared host, with the work of others; so does what a
shared cache takes to answer. That lasts for minutes, and a virtual machine cannot read it. So two reference workloads
are timed right before and after each window (`gauges`), and what windows of a model differ by goes with them.

How closely is each model's own affair, and its windows say it: its `Sensitivity` is the slope of a window's logarithm
on those of its paces. 1 on the first and 0 on the second is a model that is slowed as much as the first workload,
whatever becomes of the second; 0 on both is one that nothing slows. Two windows that differ by nothing but the pace so
become alike, and fewer are needed; and figures of two runs can be given at one pace (`machine_pace`).

Arithmetic alone: it reads no clock and runs nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import exp, sqrt
from statistics import median
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

Pace = tuple[float, ...]
"""Milliseconds that each of the reference workloads took."""

PRIOR_SD = 0.1
"""How far models of a runtime lie from what its gauge takes them for (`Gauge.powers`).

Between the windows of one run slopes come out smaller than between runs, because a reading of some milliseconds is not
sharp, so windows may move a model but a little from what its runtime is taken for, unless they are sure.
"""

ENOUGH = 6
"""Fewest windows that say anything of it: two slopes go through any three."""

LEAST_NOISE = 0.0001
"""What two windows at one pace are taken to differ by at least, relative: a clock's steps look like no noise at all."""

FAR = 2.5
"""A window that lies this many times the usual deviation away counts no more than one that lies so far."""

NORMAL = 1.4826
"""The standard deviation of a normal distribution, in median deviations from its middle."""

Matrix = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """By which powers of the pace a model's latency goes, one for each reference workload, and their covariance."""

    powers: tuple[float, ...]
    covariance: tuple[tuple[float, ...], ...]

    def factor(self, pace: Pace, other: Pace) -> float:
        """What a latency at `pace` has to be multiplied with, to be one at `other`."""
        return exp(float(np.dot(self.powers, _away(pace, other))))

    def doubt(self, pace: Pace, other: Pace, *, astray: float = 1.0) -> float:
        """The standard deviation of that factor, relative; `astray` is how many times as much as is known each power is
        wrong by.

        That readings of the pace are not sharp is no part of it: `at_pace` brings what they are wrong by into the
        windows, whose own interval then holds it, but for the little that slopes fitted to them take away.
        """
        away = _away(pace, other)
        return float(astray * np.sqrt(away @ np.asarray(self.covariance) @ away))

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """As it comes out of a pipe."""
        return cls(tuple(data["powers"]), tuple(tuple(row) for row in data["covariance"]))


def sound(paces: Sequence[Pace]) -> list[Pace]:
    """The paces, none of whose times lies further than FAR usual deviations from the middle of all.

    A reading that an interrupt fell on would else say more of a model than all others.
    """
    logs: Matrix = np.log(paces)
    centre = np.median(logs, axis=0)
    reach = FAR * NORMAL * np.median(np.abs(logs - centre), axis=0)
    return [tuple(map(float, row)) for row in np.exp(np.clip(logs, centre - reach, centre + reach))]


def middle(paces: Sequence[Pace]) -> Pace:
    """The median of each workload's times. Raises ValueError without any."""
    if not paces:
        raise ValueError("a pace needs at least one reading")
    return tuple(median(times) for times in zip(*paces, strict=True))


def between(before: Pace, after: Pace) -> Pace:
    """The geometric mean of each workload's times."""
    return tuple(sqrt(a * b) for a, b in zip(before, after, strict=True))


def sensitivity(windows: Sequence[Sequence[float]], paces: Sequence[Pace], prior: Sequence[float]) -> Sensitivity:
    """How windows of samples (milliseconds) go with their paces: `prior`, and what the windows say against it.

    Bayesian regression with a normal prior, PRIOR_SD about the powers that others of the runtime have; the noise is
    that of the windows themselves, by its median, so that some that were disturbed do not matter, for the windows that
    are left beside two slopes and a level. Windows at one pace leave the prior as it is. Samples of 0 ms: none at all.
    Readings that differ by more than the pace moves make slopes too flat, and too sure of it: the windows cannot tell
    that from a model that nothing slows. Raises ValueError for fewer windows than ENOUGH.
    """
    if len(windows) < ENOUGH:
        raise ValueError(f"{len(windows)} windows say nothing of a sensitivity; {ENOUGH} do")
    middles = [median(window) for window in windows]
    if min(middles) <= 0:
        none = (0.0,) * len(prior)
        return Sensitivity(none, (none,) * len(prior))
    x: Matrix = np.log(paces)
    x = x - x.mean(axis=0)
    y: Matrix = np.log(middles)
    before, certainty = np.asarray(prior), np.eye(len(prior)) / PRIOR_SD**2
    spread = NORMAL * sqrt(len(y) / (len(y) - 1 - len(prior)))
    # from what the windows say by themselves, so that a model that they are sure of shows how little noise it has
    powers = np.linalg.lstsq(x, y - y.mean(), rcond=None)[0]
    for _ in range(5):  # the noise is what the slopes leave
        rest = y - x @ powers
        rest -= np.median(rest)
        noise = max(LEAST_NOISE, spread * float(np.median(np.abs(rest))))
        seen = x @ powers + np.clip(rest, -FAR * noise, FAR * noise)
        covariance = np.linalg.inv(x.T @ x / noise**2 + certainty)
        powers = covariance @ (x.T @ seen / noise**2 + certainty @ before)
    return Sensitivity(tuple(map(float, powers)), tuple(tuple(map(float, row)) for row in covariance))


def at_pace(
    windows: Sequence[Sequence[float]], paces: Sequence[Pace], pace: Pace, sensitive: Sensitivity
) -> list[list[float]]:
    """The windows' samples, each as it would be at `pace`."""
    factors = [sensitive.factor(own, pace) for own in paces]
    return [[x * factor for x in window] for window, factor in zip(windows, factors, strict=True)]


def _away(pace: Pace, other: Pace) -> Matrix:
    away: Matrix = np.log(other) - np.log(pace)
    return away
