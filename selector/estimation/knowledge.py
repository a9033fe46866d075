"""What the estimator knows of devices that were measured: their fitted rates and residuals, as plain data.

`data/latency.json` is written by `python -m selector.estimation.refit FOLDER` and read here; nothing else is learnt.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np

from selector.estimation.belief import RatePrior
from selector.estimation.configuration import Configuration, Subject
from selector.estimation.features import TERMS, Vector
from selector.estimation.kinship import Settings, kernels, relatedness
from selector.estimation.physical import Promise
from selector.estimation.residual import Residuals, SharedResidual

IDENTIFIED = 5.0  # curvature at which figures say as much about a rate as its prior
DEFAULT_WEIGHT = 0.05
DEFAULT_LAUNCH = 1.0  # of what is paid once a batch: a launch takes longer than its order of magnitude says
KNOWLEDGE = "latency.json"
BLIND, BLIND_QUANTISED, CALIBRATED = "0", "0 int8", "8"
QUANTISED = frozenset({"int8-static", "int8-dynamic"})
_NAMES = tuple(name for name, _ in TERMS)
_LAUNCHED = np.array([counted == "launch" for _, counted in TERMS])
_ARITHMETIC = np.array([counted == "mac" for _, counted in TERMS])
_PRODUCTS = np.array([name in ("dense", "pointwise") for name in _NAMES])
_DENSE, _POINTWISE = _NAMES.index("dense"), _NAMES.index("pointwise")


@dataclass(frozen=True, slots=True, eq=False)
class Fitted:
    """One configuration: log rates [terms], how firmly its figures say them [terms], residuals of its figures."""

    theta: Vector
    information: Vector
    residuals: Residuals

    @property
    def configuration(self) -> Configuration:
        """The configuration that was fitted."""
        return self.residuals.configuration

    def trust(self, settings: Settings) -> float:
        """Between 0 and 1: how much the rates count for others. What they leave unexplained, they do not tell."""
        return float(1 / (1 + np.mean(self.residuals.values**2) / settings.trusted**2))


@dataclass(frozen=True, slots=True, eq=False)
class Knowledge:
    """All fitted configurations, the settings by group of kernels, and how far intervals are widened.

    `widening` multiplies the standard deviation of log latency: by kernel group, without figures of the device itself
    (BLIND, BLIND_QUANTISED) and with so many (CALIBRATED).
    """

    fitted: tuple[Fitted, ...]
    settings: Mapping[str, Settings]
    widening: Mapping[str, Mapping[str, float]]

    def without(self, device: str) -> "Knowledge":
        """The same without anything known of `device`."""
        return replace(self, fitted=tuple(f for f in self.fitted if f.configuration.device != device))

    def prior(self, configuration: Configuration, promised: Promise) -> RatePrior:
        """Rates expected under `configuration`, from its relatives; `promised` by its specification."""
        return rate_prior(configuration, promised, self.fitted, self.settings_of(configuration))

    def shared(self, configuration: Configuration) -> SharedResidual:
        """The residual that `configuration` shares with its relatives."""
        known = [f.residuals for f in self.fitted if f.configuration != configuration]
        return SharedResidual(configuration, known, self.settings_of(configuration))

    def settings_of(self, configuration: Configuration) -> Settings:
        """The settings for the kernels that the configuration executes."""
        return self.settings[kernels(configuration)]

    def widening_of(self, configuration: Configuration, figures: int) -> float:
        """The factor for `figures` figures of the device itself: interpolated between none and eight."""
        table = self.widening.get(kernels(configuration), {})
        blind = table.get(BLIND_QUANTISED if configuration.precision in QUANTISED else BLIND, 1.0)
        enough = int(CALIBRATED)
        return blind + (table.get(CALIBRATED, 1.0) - blind) * min(figures, enough) / enough


def default_rates(settings: Settings) -> Vector:
    """[terms] log slow-down against the specification where no relative says otherwise."""
    return np.where(_LAUNCHED, DEFAULT_LAUNCH, settings.default_rate)


def rate_spreads(settings: Settings) -> Vector:
    """[terms] spread of one device's log rates around its relatives' mean, on top of the floor."""
    return np.where(_PRODUCTS, settings.product_spread, settings.rate_spread)


def rate_prior(target: Configuration, promised: Promise, fitted: Sequence[Fitted], settings: Settings) -> RatePrior:
    """Mean and covariance of log rates, relatives weighted by relatedness and by how firmly they know each rate.

    Dense convolutions that no relative tells of are taken to run at the rate of pointwise ones: both are products of
    matrices. The stem of a MobileNet, all that most figures of boards have beside them, does not tell of either.
    """
    others = [f for f in fitted if f.configuration != target]
    weights = np.zeros((0, len(TERMS)))
    rates = weights
    if others:
        trust = np.array([f.trust(settings) for f in others])
        related, products = (
            trust * [relatedness(f.configuration, target, settings, arithmetic=arithmetic) for f in others]
            for arithmetic in (False, True)
        )
        firm = np.array([f.information / (f.information + IDENTIFIED) for f in others])
        weights = np.where(_ARITHMETIC, products[:, None], related[:, None]) * firm
        rates = np.array([f.theta for f in others])
    support = weights.sum(axis=0)
    defaults = default_rates(settings)
    mean = ((weights * rates).sum(axis=0) + DEFAULT_WEIGHT * defaults) / (support + DEFAULT_WEIGHT)
    spread = rate_spreads(settings) ** 2
    variance = settings.rate_floor**2 + spread / (1 + 2 * support)
    variance = variance + settings.unrelated_spread * spread * np.exp(-2 * support)
    follows = DEFAULT_WEIGHT / (support[_DENSE] + DEFAULT_WEIGHT)
    mean[_DENSE] += follows * (mean[_POINTWISE] - defaults[_DENSE])
    mixing = np.eye(len(TERMS))
    mixing[_DENSE, _POINTWISE] = follows
    level = settings.level_spread
    if any(f.configuration.device == target.device for f in others):
        level *= settings.same_device_level
    return RatePrior(promised, mean, (mixing * variance) @ mixing.T + level**2)


@cache
def shipped() -> Knowledge:
    """The knowledge that the product ships."""
    text = (files("selector.estimation") / "data" / KNOWLEDGE).read_text(encoding="utf-8")
    return from_json(json.loads(text))


def as_json(knowledge: Knowledge) -> dict[str, Any]:
    """Plain data: numbers rounded to what the figures can tell."""
    return {
        "schema_version": 1,
        "terms": [name for name, _ in TERMS],
        "settings": {group: settings.as_json() for group, settings in knowledge.settings.items()},
        "widening": {group: dict(table) for group, table in knowledge.widening.items()},
        "configurations": [
            {
                **asdict(f.configuration),
                "log_rates": [round(float(v), 4) for v in f.theta],
                "information": [round(float(v), 3) for v in f.information],
                "residuals": [
                    [s.backbone, s.resolution, s.batch_size, round(float(v), 4)]
                    for s, v in zip(f.residuals.subjects, f.residuals.values, strict=True)
                ],
            }
            for f in knowledge.fitted
        ],
    }


def from_json(data: Mapping[str, Any]) -> Knowledge:
    """The inverse of `as_json`."""
    fitted = []
    for entry in data["configurations"]:
        configuration = Configuration(**{name: entry[name] for name in Configuration.__dataclass_fields__})
        subjects = tuple(Subject(b, r, n) for b, r, n, _ in entry["residuals"])
        values = np.array([v for *_, v in entry["residuals"]])
        residuals = Residuals(configuration, subjects, values)
        fitted.append(Fitted(np.array(entry["log_rates"]), np.array(entry["information"]), residuals))
    settings = {group: Settings.from_json(values) for group, values in data["settings"].items()}
    return Knowledge(tuple(fitted), settings, data["widening"])
