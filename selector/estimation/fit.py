"""Fits rates and residuals of many configurations: related ones towards each other, in three rounds.

What the fitted rates leave of each figure is its residual.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from selector.estimation.configuration import Configuration, Series
from selector.estimation.features import TERMS, Vector
from selector.estimation.kinship import Settings, kernels
from selector.estimation.knowledge import Fitted, default_rates, rate_prior, rate_spreads
from selector.estimation.physical import Promise, fit_rates, log_latency
from selector.estimation.residual import Residuals
from selector.estimation.specification import numbers, promise
from selector.hardware.profiles import HardwareProfile

ROUNDS = 3
FIRST_SPREAD, FIRST_LEVEL = 1.0, 1.5  # of the first round, when no relative is known yet
MOST_INFORMATION, LEAST_INFORMATION = 100.0, 0.05


def fit(
    series: Sequence[Series], promised: Mapping[Configuration, Promise], settings: Mapping[str, Settings]
) -> tuple[Fitted, ...]:
    """Rates and residuals of every series, against what is `promised`; `settings` by group of kernels."""
    count = len(TERMS)
    means = {s.configuration: default_rates(settings[kernels(s.configuration)]) for s in series}
    spreads = dict.fromkeys(settings, (np.full(count, FIRST_SPREAD), FIRST_LEVEL))
    fitted: tuple[Fitted, ...] = ()
    for _ in range(ROUNDS):
        precisions = {group: np.linalg.inv(np.diag(spread**2) + level**2) for group, (spread, level) in spreads.items()}
        fitted = tuple(
            fit_series(s, promised[s.configuration], means[s.configuration], precisions[group], settings[group])
            for s in series
            for group in [kernels(s.configuration)]
        )
        means = {
            c: rate_prior(c, promised[c], fitted, settings[kernels(c)]).mean for c in (f.configuration for f in fitted)
        }
        spreads = {group: (rate_spreads(own), own.level_spread) for group, own in settings.items()}
    return fitted


def fit_series(series: Series, promised: Promise, mean: Vector, precision: Vector, settings: Settings) -> Fitted:
    """Rates of one series around `mean` [terms], and its residuals."""
    costs = promised.costs(series.subjects)
    theta = fit_rates(costs, series.logs, mean, precision, settings.fit_noise)
    predicted, shares = log_latency(costs, theta)
    information = np.clip((shares**2).sum(axis=0) / settings.fit_noise**2, 0, MOST_INFORMATION) + LEAST_INFORMATION
    return Fitted(theta, information, Residuals(series.configuration, series.subjects, series.logs - predicted))


def promised_by(series: Sequence[Series], profiles: Mapping[str, HardwareProfile]) -> dict[Configuration, Promise]:
    """What each configuration's device promises by its specification."""
    return {s.configuration: promise(s.configuration, numbers(profiles[s.configuration.device])) for s in series}
