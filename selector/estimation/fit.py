"""Fits rates and residuals of many configurations: related ones towards each other, in three rounds.

What the fitted rates leave of each figure is its residual.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from selector.estimation.configuration import Configuration, Series, terms_of
from selector.estimation.features import TERMS, Vector
from selector.estimation.kinship import Settings
from selector.estimation.knowledge import DEFAULT_RATE, Fitted, rate_prior
from selector.estimation.physical import fit_rates, log_latency
from selector.estimation.residual import Residuals
from selector.estimation.specification import numbers, promise
from selector.hardware.profiles import HardwareProfile

ROUNDS = 3
FIRST_SPREAD, FIRST_LEVEL = 1.0, 1.5  # of the first round, when no relative is known yet
MOST_INFORMATION, LEAST_INFORMATION = 100.0, 0.05


def fit(series: Sequence[Series], units: Mapping[Configuration, Vector], settings: Settings) -> tuple[Fitted, ...]:
    """Rates and residuals of every series; `units` [terms] by configuration, as its specification promises."""
    count = len(TERMS)
    means = {s.configuration: np.full(count, DEFAULT_RATE) for s in series}
    precision = np.linalg.inv(np.eye(count) * FIRST_SPREAD**2 + FIRST_LEVEL**2)
    fitted: tuple[Fitted, ...] = ()
    for _ in range(ROUNDS):
        fitted = tuple(
            fit_series(s, units[s.configuration], means[s.configuration], precision, settings) for s in series
        )
        means = {c: rate_prior(c, units[c], fitted, settings).mean for c in (f.configuration for f in fitted)}
        precision = np.linalg.inv(np.eye(count) * settings.rate_spread**2 + settings.level_spread**2)
    return fitted


def fit_series(series: Series, units: Vector, mean: Vector, precision: Vector, settings: Settings) -> Fitted:
    """Rates of one series around `mean` [terms], and its residuals."""
    costs = terms_of(series.subjects) * units
    theta = fit_rates(costs, series.logs, mean, precision, settings.fit_noise)
    predicted, shares = log_latency(costs, theta)
    information = np.clip((shares**2).sum(axis=0) / settings.fit_noise**2, 0, MOST_INFORMATION) + LEAST_INFORMATION
    return Fitted(theta, information, Residuals(series.configuration, series.subjects, series.logs - predicted))


def units_of(series: Sequence[Series], profiles: Mapping[str, HardwareProfile]) -> dict[Configuration, Vector]:
    """What each configuration's device promises, in milliseconds of one unit of each kind of work."""
    return {
        s.configuration: promise(s.configuration, numbers(profiles[s.configuration.device])).units() for s in series
    }
