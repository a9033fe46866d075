"""What devices have in common: Gaussian process over the residuals of the physical layer.

A backbone that is slower than its work says on one configuration tends to be so on related ones. The covariance of two
residuals is the correlation of their configurations times a kernel between their subjects, which also carries to
backbones that no device was measured with.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from selector.estimation.configuration import Configuration, Subject, descriptions_of
from selector.estimation.features import Vector
from selector.estimation.kinship import Settings, correlation

RELATIVES = 8  # configurations that residuals are taken from, nearest first
EXTREME = 0.25  # log units: a residual beyond it is an outlier of its source


@dataclass(frozen=True, slots=True, eq=False)
class Residuals:
    """Log residuals of one configuration's figures after its own rates were fitted."""

    configuration: Configuration
    subjects: tuple[Subject, ...]
    values: Vector


def kernel(a: Sequence[Subject], b: Sequence[Subject], settings: Settings) -> Vector:
    """Covariance [len(a), len(b)] of residuals under one configuration."""
    za, zb = descriptions_of(a), descriptions_of(b)
    distance = np.maximum((za**2).sum(1)[:, None] + (zb**2).sum(1)[None] - 2 * za @ zb.T, 0.0)
    names: dict[str, int] = {}
    na, nb = (np.array([names.setdefault(s.backbone, len(names)) for s in each]) for each in (a, b))
    ra, rb = (np.array([s.resolution for s in each]) for each in (a, b))
    same_backbone = na[:, None] == nb[None]
    same_subject = same_backbone & (ra[:, None] == rb[None])
    covariance: Vector = settings.smooth**2 * np.exp(-distance / (2 * settings.length**2))
    covariance += settings.backbone**2 * same_backbone + settings.subject**2 * same_subject
    return covariance


class SharedResidual:
    """The residual of one configuration given those of its relatives."""

    def __init__(self, target: Configuration, known: Sequence[Residuals], settings: Settings) -> None:
        # sorted() is stable: equally related ones keep the order of the file
        relatives = sorted(known, key=lambda r: -correlation(r.configuration, target, settings))[:RELATIVES]
        self._settings = settings
        self._subjects = [s for r in relatives for s in r.subjects]
        sizes = [len(r.subjects) for r in relatives]
        self._towards = np.repeat([correlation(r.configuration, target, settings) for r in relatives], sizes)
        between = np.array(
            [[correlation(a.configuration, b.configuration, settings) for b in relatives] for a in relatives]
        )
        if not relatives:
            return
        covariance = kernel(self._subjects, self._subjects, settings)
        covariance *= np.repeat(np.repeat(between, sizes, axis=0), sizes, axis=1)
        covariance[np.diag_indices_from(covariance)] += settings.noise**2
        values = np.clip(np.concatenate([r.values for r in relatives]), -EXTREME, EXTREME)
        # inverted once: the root is applied to every question that is asked
        self._unroot = np.linalg.inv(np.linalg.cholesky(covariance))
        self._whitened = self._unroot @ values

    def __call__(self, subjects: Sequence[Subject]) -> tuple[Vector, Vector]:
        """Mean [n] and covariance [n, n] of the residual at `subjects`, before any figure of the target itself."""
        own = kernel(subjects, subjects, self._settings)
        if not self._subjects:
            return np.zeros(len(subjects)), own
        cross = kernel(self._subjects, subjects, self._settings) * self._towards[:, None]
        projected = self._unroot @ cross
        return projected.T @ self._whitened, own - projected.T @ projected
