import json

import numpy as np
import pytest
from sklearn import metrics

from selector.tuning.scores import Scores, macro_f1, macro_f1_lost, score


def drawn(n: int = 300, classes: int = 4) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    labels = rng.choice(classes, n, p=[0.55, 0.2, 0.1, 0.15])
    logits = np.round(rng.normal(size=(n, classes)) + 1.5 * np.eye(classes)[labels], 1)  # rounded: ties occur
    exponent = np.exp(logits)
    return exponent / exponent.sum(axis=1, keepdims=True), labels


def test_scores_are_those_of_scikit_learn() -> None:
    probabilities, labels = drawn()
    found = score(probabilities, labels, "abcd")
    said = probabilities.argmax(axis=1)
    assert found.accuracy.value == pytest.approx(metrics.accuracy_score(labels, said))
    assert found.macro_f1.value == pytest.approx(metrics.f1_score(labels, said, average="macro"))
    assert macro_f1(said, labels, 4) == pytest.approx(found.macro_f1.value)
    assert found.auc.value == pytest.approx(metrics.roc_auc_score(labels, probabilities, multi_class="ovr"))
    assert np.array_equal(np.array(found.confusion), metrics.confusion_matrix(labels, said))
    precision, recall, f1, images = metrics.precision_recall_fscore_support(labels, said)
    assert [c.precision.value for c in found.classes] == pytest.approx(precision)
    assert [c.recall.value for c in found.classes] == pytest.approx(recall)
    assert [c.f1.value for c in found.classes] == pytest.approx(f1)
    assert [c.images for c in found.classes] == list(images)


def test_hundreds_of_classes_take_neither_minutes_nor_the_memory() -> None:
    labels = np.arange(1200) % 400
    wide = np.random.default_rng(0).dirichlet(np.ones(400), 1200)
    wide[np.arange(1200), labels] += 1.0
    found = score(wide / 2, labels, [str(c) for c in range(400)])
    assert found.resamples == 104  # whole confusion matrices of a thousand resamples would hold 1.3 GB
    assert found.accuracy.value == found.macro_f1.value == 1.0
    assert score(*drawn(), "abcd").resamples == 1000


def test_intervals_hold_their_estimate_and_narrow_with_more_images() -> None:
    small, large = score(*drawn(100), "abcd"), score(*drawn(3000), "abcd")
    for found in (small, large):
        for s in (found.accuracy, found.macro_f1, found.auc):
            assert s.low < s.value < s.high
    assert large.macro_f1.high - large.macro_f1.low < 0.4 * (small.macro_f1.high - small.macro_f1.low)


def test_what_two_classifiers_differ_by_is_told_by_the_images_that_they_label_differently() -> None:
    before, labels = drawn()
    after = before.copy()
    wrong = np.flatnonzero(before.argmax(axis=1) == labels)[:10]
    after[wrong] = np.roll(before[wrong], 1, axis=1)
    lost = macro_f1_lost(before, after, labels)
    both = [metrics.f1_score(labels, p.argmax(axis=1), average="macro") for p in (before, after)]
    assert lost.value == pytest.approx(both[0] - both[1])
    assert 0 < lost.low < lost.value < lost.high
    alone = score(before, labels, "abcd").macro_f1
    assert lost.high - lost.low < 0.6 * (alone.high - alone.low)
    same = macro_f1_lost(before, before, labels)
    assert (same.value, same.low, same.high) == (0.0, 0.0, 0.0)


def test_a_calibrated_classifier_has_a_small_calibration_error() -> None:
    rng = np.random.default_rng(0)
    positive = rng.uniform(size=20_000)
    labels = (rng.uniform(size=20_000) < positive).astype(int)
    honest = np.stack([1 - positive, positive], axis=1)
    boastful = np.clip(honest * 1.0 + np.sign(honest - 0.5) * 0.2, 0.001, 0.999)
    assert score(honest, labels, "ab").calibration_error.value < 0.02
    assert score(boastful, labels, "ab").calibration_error.value > 0.1


def test_a_class_without_images_is_undefined_and_does_not_enter_the_mean() -> None:
    probabilities, labels = drawn()
    wider = np.hstack([probabilities, np.zeros((len(labels), 1))])
    found = score(wider, labels, "abcde")
    assert found.classes[4].f1.value is None
    assert found.macro_f1.value == pytest.approx(score(probabilities, labels, "abcd").macro_f1.value)


def test_scores_come_back_from_their_document_as_they_were() -> None:
    probabilities, labels = drawn()
    for some in (labels, np.zeros_like(labels)):  # of one class alone an AUC is not defined
        found = score(probabilities, some, "abcd")
        assert Scores.from_json(json.loads(json.dumps(found.as_json()))) == found
