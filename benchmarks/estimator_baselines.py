"""What latency estimates are compared with: two baselines from the literature and from field notes.

The three terms of the literature, non-negative least squares in relative error on MACs, activations, parameters and a
constant, with a few figures of the device; and a simple cross-device regression with as many random ones.
"""

from collections import defaultdict
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from selector.backbones.layers import layers
from selector.estimation.configuration import Series, Subject
from selector.estimation.kinship import kernels
from selector.estimation.leave_out import CALIBRATION

DRAWS = 20
RIDGE = 0.5
Vector = NDArray[np.floating]


def three_terms(own: Series, given: NDArray[np.integer]) -> float:
    """Mean relative error of non-negative least squares on MACs, activations, parameters and a constant."""
    features = _simple_features(own.subjects)
    features = features / features.max(axis=0)
    relative = features / own.milliseconds[:, None]
    weights, _ = nnls(relative[given], np.ones(len(given)))
    left = np.setdiff1d(np.arange(len(own.subjects)), given)
    return float(np.abs(relative[left] @ weights - 1).mean())


def regression(own: Series, series: Sequence[Series]) -> float:
    """Mean relative error of a ridge regression on other devices' mean log time, log MACs and log activations."""
    c = own.configuration
    others = [s for s in series if s.configuration.device != c.device]
    for alike in (
        [s for s in others if (s.configuration.runtime, s.configuration.precision) == (c.runtime, c.precision)],
        [s for s in others if kernels(s.configuration) == kernels(c)],
        others,
    ):
        if alike:
            break
    simple = np.log(_simple_features(own.subjects)[:, :2])
    expected = _mean_log(own.subjects, alike)
    columns = np.column_stack([expected, simple])
    columns = (columns - columns.mean(axis=0)) / columns.std(axis=0)
    differs = own.logs - expected
    errors = []
    for seed in range(DRAWS):
        given = np.random.default_rng(seed).choice(len(own.subjects), CALIBRATION, replace=False)
        left = np.setdiff1d(np.arange(len(own.subjects)), given)
        level, shift = differs[given].mean(), columns[given].mean(axis=0)
        x = columns[given] - shift
        slope = np.linalg.solve(x.T @ x + RIDGE * np.eye(3), x.T @ (differs[given] - level))
        predicted = expected[left] + level + (columns[left] - shift) @ slope
        errors.append(np.abs(np.exp(predicted - own.logs[left]) - 1).mean())
    return float(np.mean(errors))


def _mean_log(subjects: Sequence[Subject], alike: Sequence[Series]) -> Vector:
    """The mean over configurations of log time, each centred; subjects that they lack by their log MACs."""
    found: dict[tuple[str, int], list[float]] = defaultdict(list)
    for s in alike:
        centred = s.logs - s.logs.mean()
        for subject, value in zip(s.subjects, centred, strict=True):
            found[subject.backbone, subject.resolution].append(float(value))
    known = {key: float(np.mean(values)) for key, values in found.items()}
    keys = [(s.backbone, s.resolution) for s in subjects]
    macs = np.log(_simple_features([Subject(*k) for k in known])[:, 0])
    slope, intercept = np.polyfit(macs, list(known.values()), 1)
    own = np.log(_simple_features(subjects)[:, 0])
    return np.array([known.get(k, slope * m + intercept) for k, m in zip(keys, own, strict=True)])


def _simple_features(subjects: Sequence[Subject]) -> Vector:
    rows = []
    for s in subjects:
        table = layers(s.backbone, s.resolution)
        rows.append([sum(r.macs for r in table), sum(r.activations for r in table), sum(r.params for r in table), 1.0])
    return np.array(rows, dtype=float)
