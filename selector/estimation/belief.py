"""What is believed of one configuration: rates around those of its relatives, a shared residual, and its own figures.

log y = log latency(θ) + residual + noise, with Gaussian θ and residual. The physical layer is linearised at the most
probable θ, so the posterior is closed-form. How erratic the device is multiplies residual and noise by κ; the figures
weigh the candidates for κ by their marginal likelihood, so an erratic device shows itself by a wide interval.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from selector.estimation.configuration import Subject
from selector.estimation.features import Vector
from selector.estimation.kinship import Settings
from selector.estimation.physical import Promise, log_latency
from selector.estimation.residual import SharedResidual

OUTLYING = 2.0  # standard deviations from where a figure may be an outlier of its source
OUTLIERS = 0.05  # how likely one is, a priori
ERRATIC = (0.5, 0.7, 1.0, 1.4, 2.0, 3.0, 4.5, 7.0, 10.0)


@dataclass(frozen=True, slots=True, eq=False)
class RatePrior:
    """Mean [terms] and covariance [terms, terms] of log rates, against what the specification promises."""

    promised: Promise
    mean: Vector
    covariance: Vector


@dataclass(frozen=True, slots=True, eq=False)
class _Fitted:
    """The posterior for one κ."""

    factor: float
    weight: float
    theta: Vector
    solved: Vector  # Kᵢᵢ⁻¹ (y − m)
    inverse: Vector  # Kᵢᵢ⁻¹
    shares: Vector


class Belief:
    """Log latencies of one configuration, given `subjects` with log figures `logs` of its own (there may be none)."""

    def __init__(
        self,
        prior: RatePrior,
        residual: SharedResidual,
        settings: Settings,
        subjects: Sequence[Subject] = (),
        logs: Vector | None = None,
    ) -> None:
        self._prior, self._residual, self._settings = prior, residual, settings
        self._known = list(subjects)
        self._logs = np.zeros(0) if logs is None else logs
        self._fitted: list[_Fitted] = []
        if self._known:
            costs = prior.promised.costs(self._known)
            offset, covariance = residual(self._known)
            candidates = [c for factor in ERRATIC for c in self._fits(costs, offset, covariance, factor)]
            evidence = np.array([log_weight for _, log_weight in candidates])
            weights = np.exp(evidence - evidence.max())
            weights /= weights.sum()
            self._fitted = [
                _Fitted(f.factor, float(w), f.theta, f.solved, f.inverse, f.shares)
                for (f, _), w in zip(candidates, weights, strict=True)
                if w > 1e-3
            ]

    @property
    def theta(self) -> Vector:
        """The most probable log rates [terms]."""
        return max(self._fitted, key=lambda f: f.weight).theta if self._fitted else self._prior.mean

    def predict(self, subjects: Sequence[Subject]) -> tuple[Vector, Vector]:
        """Mean [n] and standard deviation [n] of log milliseconds per image of a new figure."""
        mean, variance = self._mixture(subjects)
        return mean, np.sqrt(variance)

    def covariance(self, subjects: Sequence[Subject]) -> tuple[Vector, float]:
        """Covariance [n, n] of log latencies (without noise) and the variance of noise, at the most probable κ."""
        factor = max(self._fitted, key=lambda f: f.weight) if self._fitted else None
        _, covariance = self._joint(subjects, self._residual([*self._known, *subjects]), factor)
        kappa = factor.factor if factor else 1.0
        return covariance, (kappa * self._settings.noise) ** 2

    def _fits(self, costs: Vector, offset: Vector, covariance: Vector, factor: float) -> list[tuple[_Fitted, float]]:
        """The posterior for κ = `factor`, and another where one figure stands out from what the others say of it."""
        extra = np.zeros(len(costs))
        first = self._fit(costs, offset, covariance, factor, extra)
        precision = np.diag(first[0].inverse)
        left_out = first[0].solved / precision  # each figure minus what the others predict
        worst = int(np.argmax(left_out**2 * precision))
        if left_out[worst] ** 2 * precision[worst] < OUTLYING**2:
            return [first]
        extra[worst] = left_out[worst] ** 2
        fitted, weight = self._fit(costs, offset, covariance, factor, extra)
        return [first, (fitted, weight + float(np.log(OUTLIERS)))]

    def _fit(
        self, costs: Vector, offset: Vector, covariance: Vector, factor: float, extra: Vector
    ) -> tuple[_Fitted, float]:
        """The posterior by Gauss-Newton, and the log of its weight; `extra` is added to the noise of each figure."""
        prior, noise = self._prior, (factor * self._settings.noise) ** 2
        spread = covariance * factor**2 + np.diag(noise + extra)
        theta = prior.mean
        rounds = 10
        for count in range(rounds):
            predicted, shares = log_latency(costs, theta)
            mean = predicted + shares @ (prior.mean - theta) + offset
            joint = shares @ prior.covariance @ shares.T + spread
            inverse = np.linalg.inv(joint)
            solved = inverse @ (self._logs - mean)
            step = prior.mean + prior.covariance @ shares.T @ solved - theta
            if count == rounds - 1 or np.abs(step).max() < 0.02:
                break
            # far steps leave the region where the linearisation holds; late ones are halved against oscillation
            theta = theta + np.clip(step, -1.0, 1.0) * (1.0 if count < rounds // 2 else 0.5)
        likelihood = -0.5 * float((self._logs - mean) @ solved) - 0.5 * float(np.linalg.slogdet(joint)[1])
        likelihood -= self._settings.erratic_decay * abs(float(np.log(factor)))
        return _Fitted(factor, 0.0, theta, solved, inverse, shares), likelihood

    def _joint(
        self, subjects: Sequence[Subject], residuals: tuple[Vector, Vector], fitted: _Fitted | None
    ) -> tuple[Vector, Vector]:
        """Posterior mean [n] and covariance [n, n] for one κ; `residuals` are those of the known, then `subjects`."""
        prior = self._prior
        offset, residual = residuals
        known = len(self._known)
        theta = prior.mean if fitted is None else fitted.theta
        residual = residual * (1.0 if fitted is None else fitted.factor**2)
        predicted, shares = log_latency(prior.promised.costs(subjects), theta)
        mean = predicted + shares @ (prior.mean - theta) + offset[known:]
        covariance = shares @ prior.covariance @ shares.T + residual[known:, known:]
        if fitted is None:
            return mean, covariance
        cross = shares @ prior.covariance @ fitted.shares.T + residual[known:, :known]
        return mean + cross @ fitted.solved, covariance - cross @ fitted.inverse @ cross.T

    def _mixture(self, subjects: Sequence[Subject]) -> tuple[Vector, Vector]:
        noise = self._settings.noise**2
        residuals = self._residual([*self._known, *subjects])
        if not self._fitted:
            mean, covariance = self._joint(subjects, residuals, None)
            return mean, np.diag(covariance) + noise
        parts = []
        for f in self._fitted:
            mean, covariance = self._joint(subjects, residuals, f)
            parts.append((f.weight, mean, np.maximum(np.diag(covariance), 0.0) + noise * f.factor**2))
        total = sum(w for w, _, _ in parts)
        centre = sum(w * m for w, m, _ in parts) / total
        variance = sum(w * (v + (m - centre) ** 2) for w, m, v in parts) / total
        return np.asarray(centre), np.asarray(variance)
