"""Logit adjustment: what is added to each class's logit so that the classes that are named score better by macro-F1.

Cross-entropy teaches how probable each class is, and the most probable one is the best guess where each image counts
the same. Macro-F1 counts each class the same: it is best where a rare class is named before it is the most probable
one (Lipton et al. 2014, thresholding classifiers to maximize F1; Menon et al. 2021, post-hoc logit adjustment). How
much before is fitted on held-out answers, and said of answers that it was not fitted on. Pure numpy.

† Solar cells of four classes, the rarest 4 %, answers of three networks to 1,968 held-out images: fitted on a quarter
of them, macro-F1 on the rest rises from 0.588 by 0.008 on average over draws of the quarter (deviation 0.010); fitted
on two thirds, by 0.022.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from selector.tuning.scores import macro_f1

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

STEPS = np.linspace(-1.5, 1.5, 31)
"""What may be added to a logit: a class's odds count 0.2 to 4.5 times."""

SWEEPS = 3
MOST_TOLD = 6
FOLDS, DEALS = 5, 4
"""Held-out images are judged by what is fitted on the other folds; the mean over several ways to deal them out."""

MOST_WORK = 4_000_000
"""Classes² × images beyond which nothing is fitted († 1.2 s at a quarter of it): so many classes are seldom rare ones
beside common ones, and minutes of a budget are worth more in training."""

NOISE = 0.1
"""Two shifts whose macro-F1 on n images differs by this over the square root of n are about as good as each other:
the mean over such shifts is taken, since the very best one is mostly luck."""


@dataclass(frozen=True, slots=True)
class Adjustment:
    """What is added to the logits, and what held-out images say of it.

    `probabilities` [n, classes] and their `macro_f1` are of answers adjusted by what was fitted on other folds; `shift`
    [classes], with a sum of 0, is fitted on all. It is all zeros where it brings nothing to images that it was not
    fitted on, or cannot be fitted.
    """

    shift: Floats
    probabilities: Floats
    macro_f1: float


def fit_adjustment(answers: Floats, labels: Ints) -> Adjustment:
    """The adjustment for `answers` [views, n, classes], class probabilities of n held-out images with `labels` [n].

    An answer is the mean over its views, as it is for the model that is handed over.
    """
    plain = answers.mean(axis=0)
    before = macro_f1(plain.argmax(axis=1), labels, plain.shape[1])
    unchanged = Adjustment(np.zeros(plain.shape[1]), plain, before)
    too_few = len(labels) < 2 * FOLDS or len(np.unique(labels)) < 2
    if too_few or plain.shape[1] ** 2 * len(labels) > MOST_WORK:
        return unchanged
    dealt = [_cross_fitted(answers, labels, _folds(labels, seed)) for seed in range(DEALS)]
    scores = np.array([macro_f1(p.argmax(axis=1), labels, plain.shape[1]) for p in dealt])
    if scores.mean() <= before:
        return unchanged
    typical = int(np.abs(scores - scores.mean()).argmin())
    return Adjustment(_shift(plain, labels), dealt[typical], float(scores[typical]))


def told(adjustment: Mapping[str, float]) -> str:
    """An adjustment, {class: what is added to its logit}, as factors on the classes' odds, the strongest few."""
    strongest = sorted(adjustment.items(), key=lambda item: -abs(item[1]))
    some = ", ".join(f"{name} × {np.exp(shift):.2f}" for name, shift in strongest[:MOST_TOLD])
    return f"{some}, …" if len(strongest) > MOST_TOLD else some


def adjusted(answers: Floats, shift: Floats) -> Floats:
    """Class probabilities [n, classes], the mean over the views of `answers` [views, n, classes], with the shift."""
    raised = answers * np.exp(shift)
    return np.asarray((raised / raised.sum(axis=-1, keepdims=True)).mean(axis=0), dtype=np.float64)


def _cross_fitted(answers: Floats, labels: Ints, folds: Ints) -> Floats:
    """Each image's probabilities [n, classes], adjusted by what the other folds say."""
    plain = answers.mean(axis=0)
    found: Floats = np.empty(plain.shape)
    for fold in range(FOLDS):
        held = folds == fold
        found[held] = adjusted(answers[:, held], _shift(plain[~held], labels[~held]))
    return found


def _shift(probabilities: Floats, labels: Ints) -> Floats:
    """One class after the other, each given the others': the mean over its steps, weighted by how good they are."""
    logits = np.log(np.maximum(probabilities, 1e-12))
    classes = logits.shape[1]
    shift = np.zeros(classes)
    counts = np.bincount(labels, minlength=classes)
    prior = -0.5 * STEPS**2  # of two shifts as good as each other, the smaller one
    for _ in range(SWEEPS):
        for named in np.flatnonzero(counts):
            scores = _macro_f1_at_steps(logits + shift, labels, int(named), shift[named], counts)
            weights = np.exp((scores - scores.max()) / (NOISE / np.sqrt(len(labels))) + prior)
            shift[named] = (weights * STEPS).sum() / weights.sum()
    return np.asarray(shift - shift.mean(), dtype=np.float64)


def _macro_f1_at_steps(logits: Floats, labels: Ints, named: int, present: float, counts: Ints) -> Floats:
    """Macro-F1 with each of STEPS added to the logits of the class `named`, to which `present` is added already."""
    others = logits.copy()
    others[:, named] = -np.inf
    rival = others.argmax(axis=1)
    needed = others[np.arange(len(labels)), rival] - (logits[:, named] - present)  # from where on the class is named
    classes, scores = len(counts), np.empty(len(STEPS))
    for place, step in enumerate(STEPS):
        said = np.where(step > needed, named, rival)
        hits = np.bincount(labels[said == labels], minlength=classes)
        whole = counts + np.bincount(said, minlength=classes)
        scores[place] = (2 * hits[counts > 0] / whole[counts > 0]).mean()
    return scores


def _folds(labels: Ints, seed: int) -> Ints:
    """A fold for each image, every class dealt out over all of them."""
    folds = np.empty(len(labels), dtype=np.int64)
    order = np.random.default_rng(seed).permutation(len(labels))
    offset = 0
    for value in np.unique(labels):
        members = order[labels[order] == value]
        folds[members] = (np.arange(len(members)) + offset) % FOLDS
        offset += len(members)  # the few images of rare classes do not all meet in the first folds
    return folds
