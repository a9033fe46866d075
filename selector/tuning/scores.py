"""Scores of a classifier on labelled images, each with a bootstrap interval. Pure numpy.

Every score is computed under image weights, so that the point estimate (all ones) and each bootstrap resample
(multinomial counts) run through the same formula. Intervals are the 2.5th and 97.5th percentile over
`RESAMPLES` resamples of the images, fewer for many classes (Efron's percentile bootstrap): they say how much the
figure would move with another draw of test images, not how much with another training run.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

RESAMPLES = 1000
FEWEST_RESAMPLES = 100
RESAMPLED_CELLS = 50_000_000
"""Resamples × images × classes beyond which fewer resamples are drawn: hundreds of classes would take minutes."""

BINS = 15  # of the calibration error; Guo et al. 2017


@dataclass(frozen=True, slots=True)
class Score:
    """A score in 0…1 with its 95 % bootstrap interval. None: it cannot be computed (a class without images)."""

    value: float | None
    low: float | None
    high: float | None

    def as_json(self) -> dict[str, float | None]:
        """The contract's {value, low, high}."""
        return {"value": self.value, "low": self.low, "high": self.high}

    @classmethod
    def from_json(cls, data: Mapping[str, float | None]) -> "Score":
        """Read what `as_json` wrote."""
        return cls(data["value"], data["low"], data["high"])


@dataclass(frozen=True, slots=True)
class ClassScores:
    """Figures of one class."""

    name: str
    images: int
    precision: Score
    recall: Score
    f1: Score


@dataclass(frozen=True, slots=True)
class Scores:
    """All that is said about a classifier on one set of images. Classes without images do not enter the means."""

    images: int
    resamples: int  # behind every interval
    accuracy: Score
    macro_f1: Score
    auc: Score  # one-vs-rest, mean over the classes (P16)
    calibration_error: Score  # expected calibration error over 15 equal bins of the top probability
    classes: tuple[ClassScores, ...]
    confusion: tuple[tuple[int, ...], ...]  # rows: true class, columns: predicted

    @property
    def scored_classes(self) -> int:
        """How many classes have an image here, and so enter the means."""
        return sum(c.images > 0 for c in self.classes)

    def as_json(self) -> dict[str, object]:
        """Plain values for a JSON document."""
        return {
            "images": self.images,
            "resamples": self.resamples,
            "accuracy": self.accuracy.as_json(),
            "macro_f1": self.macro_f1.as_json(),
            "auc": self.auc.as_json(),
            "calibration_error": self.calibration_error.as_json(),
            "scored_classes": self.scored_classes,
            "classes": [
                {
                    "name": c.name,
                    "images": c.images,
                    "precision": c.precision.as_json(),
                    "recall": c.recall.as_json(),
                    "f1": c.f1.as_json(),
                }
                for c in self.classes
            ],
            "confusion": [list(row) for row in self.confusion],
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "Scores":
        """Read what `as_json` wrote."""
        named = {key: Score.from_json(data[key]) for key in ("accuracy", "macro_f1", "auc", "calibration_error")}
        of_classes = tuple(
            ClassScores(c["name"], c["images"], *(Score.from_json(c[key]) for key in ("precision", "recall", "f1")))
            for c in data["classes"]
        )
        confusion = tuple(tuple(row) for row in data["confusion"])
        return cls(data["images"], data["resamples"], **named, classes=of_classes, confusion=confusion)


def score(probabilities: Floats, labels: Ints, classes: Sequence[str], *, seed: int = 0) -> Scores:
    """Score `probabilities` [n, classes], rows summing to one, against `labels` [n]."""
    n, k = probabilities.shape
    weights = _resampled(n, k, seed)
    predicted = probabilities.argmax(axis=1)
    true, said = _counts(weights, labels, k), _counts(weights, predicted, k)
    hit = _counts(weights[:, predicted == labels], labels[predicted == labels], k)
    confusion = np.bincount(labels * k + predicted, minlength=k * k).reshape(k, k)
    with np.errstate(invalid="ignore", divide="ignore"):
        recall, precision = hit / true, hit / np.where(said == 0, np.nan, said)
        f1 = _f1(true, said, hit)
        precision = np.where((said == 0) & (true > 0), 0.0, precision)
    return Scores(
        images=n,
        resamples=len(weights) - 1,
        accuracy=_interval(hit.sum(axis=1) / n),
        macro_f1=_interval(_mean(f1)),
        auc=_interval(_mean(np.stack([_auc(weights, probabilities[:, c], labels == c) for c in range(k)], axis=1))),
        calibration_error=_interval(_calibration_error(weights, probabilities.max(axis=1), predicted == labels)),
        classes=tuple(
            ClassScores(
                name,
                int((labels == c).sum()),
                _interval(precision[:, c]),
                _interval(recall[:, c]),
                _interval(f1[:, c]),
            )
            for c, name in enumerate(classes)
        ),
        confusion=tuple(tuple(int(v) for v in row) for row in confusion),
    )


def macro_f1(predicted: Ints, labels: Ints, classes: int) -> float:
    """Mean F1 over the classes that have images; what the search maximises."""
    cells = np.bincount(labels * classes + predicted, minlength=classes * classes).reshape(classes, classes)
    true, said, hit = cells.sum(axis=1), cells.sum(axis=0), cells.diagonal()
    present = true > 0
    return float((2 * hit[present] / (true + said)[present]).mean())


def macro_f1_lost(before: Floats, after: Floats, labels: Ints, *, seed: int = 0) -> Score:
    """By how much macro-F1 is lower with `after` than with `before`, both probabilities [n, classes] of `labels` [n].

    The resamples are of pairs: images that both label alike do not widen the interval.
    """
    n, k = before.shape
    weights = _resampled(n, k, seed)
    true = _counts(weights, labels, k)
    means = []
    for predicted in (before.argmax(axis=1), after.argmax(axis=1)):
        right = predicted == labels
        hit = _counts(weights[:, right], labels[right], k)
        with np.errstate(invalid="ignore", divide="ignore"):
            means.append(_mean(_f1(true, _counts(weights, predicted, k), hit)))
    return _interval(means[0] - means[1])


def _resampled(n: int, k: int, seed: int) -> Floats:
    """Weights of `n` images of `k` classes: ones, then a row a resample."""
    resamples = min(RESAMPLES, max(FEWEST_RESAMPLES, RESAMPLED_CELLS // (n * k)))
    drawn = np.random.default_rng(seed).multinomial(n, np.full(n, 1 / n), size=resamples)
    return np.vstack([np.ones(n), drawn])


def _f1(true: Floats, said: Floats, hit: Floats) -> Floats:
    """F1 of each class; nan where there is no image of it."""
    return np.asarray(np.where(true > 0, 2 * hit / (true + said), np.nan), dtype=np.float64)


def _counts(weights: Floats, named: Ints, k: int) -> Floats:
    """How much weight each class has [rows, k] where image i is named `named[i]`."""
    onehot = np.zeros((len(named), k))
    onehot[np.arange(len(named)), named] = 1
    return np.asarray(weights @ onehot, dtype=np.float64)


def _auc(weights: Floats, values: Floats, positive: npt.NDArray[np.bool_]) -> Floats:
    """Area under the ROC curve per row of `weights`: the Mann-Whitney statistic, ties counted half."""
    _, rank = np.unique(values, return_inverse=True)
    order = np.argsort(rank, kind="stable")
    starts = np.flatnonzero(np.diff(rank[order], prepend=-1))
    pos = np.add.reduceat(weights[:, order] * positive[order], starts, axis=1)
    neg = np.add.reduceat(weights[:, order] * ~positive[order], starts, axis=1)
    below = np.cumsum(neg, axis=1) - neg
    with np.errstate(invalid="ignore", divide="ignore"):
        area = (pos * (below + neg / 2)).sum(axis=1) / (pos.sum(axis=1) * neg.sum(axis=1))
    return np.asarray(area, dtype=np.float64)


def _calibration_error(weights: Floats, confidence: Floats, correct: npt.NDArray[np.bool_]) -> Floats:
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    onehot = np.zeros((len(bins), BINS))
    onehot[np.arange(len(bins)), bins] = 1
    gap = weights @ (onehot * (confidence - correct)[:, None])
    return np.asarray(np.abs(gap).sum(axis=1) / weights.sum(axis=1), dtype=np.float64)


def _mean(values: Floats) -> Floats:
    """Mean over the classes that a resample holds; nan where it holds none."""
    known = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(known, values, 0).sum(axis=1) / known.sum(axis=1), dtype=np.float64)


def _interval(values: Floats) -> Score:
    """Row 0 is the estimate, the others are resamples."""
    if np.isnan(values[0]):
        return Score(None, None, None)
    low, high = np.nanpercentile(values[1:], [2.5, 97.5]) if len(values) > 1 else (values[0], values[0])
    return Score(float(values[0]), float(low), float(high))
