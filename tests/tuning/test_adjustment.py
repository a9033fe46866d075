import numpy as np
import pytest

from selector.tuning.adjustment import MOST_WORK, adjusted, fit_adjustment, told
from selector.tuning.scores import macro_f1

PRIORS = np.array([0.7, 0.25, 0.05])


def answers(n: int, seed: int, priors: np.ndarray = PRIORS, sharpness: float = 1.2) -> tuple[np.ndarray, np.ndarray]:
    """Calibrated probabilities [n, classes] of images whose classes overlap, and their labels."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(len(priors), n, p=priors)
    seen = rng.normal(size=(n, len(priors))) + sharpness * np.eye(len(priors))[labels]
    # log p(class | seen) of unit normals around sharpness · e_class
    logits = sharpness * seen + np.log(priors)
    exponent = np.exp(logits - logits.max(axis=1, keepdims=True))
    return exponent / exponent.sum(axis=1, keepdims=True), labels


def f1(probabilities: np.ndarray, labels: np.ndarray) -> float:
    return macro_f1(probabilities.argmax(axis=1), labels, probabilities.shape[1])


def test_a_rare_class_is_named_sooner_and_macro_f1_rises_on_images_that_nobody_has_seen() -> None:
    fresh, truth = answers(20_000, 99)
    gains, shifts = [], []
    for seed in range(8):
        probabilities, labels = answers(500, seed)
        found = fit_adjustment(probabilities[None], labels)
        assert found.shift.sum() == pytest.approx(0, abs=1e-9)
        shifts.append(found.shift)
        gains.append(f1(adjusted(fresh[None], found.shift), truth) - f1(fresh, truth))
    assert np.mean(gains) > 0.02
    common, _, rare = np.mean(shifts, axis=0)
    assert rare > common


def test_what_it_says_of_itself_is_not_of_the_images_it_was_fitted_on() -> None:
    """The macro-F1 that it states is about what fresh images reach; on its own images it is higher."""
    fresh, truth = answers(20_000, 99)
    stated, reached, flattering = [], [], []
    for seed in range(40):
        probabilities, labels = answers(300, seed)
        found = fit_adjustment(probabilities[None], labels)
        stated.append(found.macro_f1)
        assert found.macro_f1 == f1(found.probabilities, labels)
        reached.append(f1(adjusted(fresh[None], found.shift), truth))
        flattering.append(f1(adjusted(probabilities[None], found.shift), labels))
    assert abs(np.mean(stated) - np.mean(reached)) < 0.025
    assert np.mean(flattering) - np.mean(stated) > 0.012


def test_nothing_is_moved_where_nothing_is_gained() -> None:
    sure = np.eye(3)[np.arange(90) % 3] * 0.97 + 0.01
    found = fit_adjustment(sure[None], np.arange(90) % 3)
    assert not found.shift.any()
    assert found.macro_f1 == 1
    assert np.allclose(found.probabilities, sure)


@pytest.mark.parametrize("labels", [[0, 1, 2, 0, 1], [0] * 40], ids=["too few images", "one class"])
def test_too_little_to_fit_on_is_left_as_it_is(labels: list[int]) -> None:
    probabilities, _ = answers(len(labels), 0)
    found = fit_adjustment(probabilities[None], np.array(labels))
    assert not found.shift.any()
    assert np.array_equal(found.probabilities, probabilities)


def test_a_class_without_images_is_neither_scored_nor_nan() -> None:
    probabilities, labels = answers(500, 0)
    four = np.concatenate([probabilities * 0.99, np.full((500, 1), 0.01)], axis=1)
    found = fit_adjustment(four[None], labels)
    assert found.shift.any()
    assert np.isfinite(found.shift).all()
    assert f1(adjusted(four[None], found.shift), labels) > f1(four, labels)
    assert 3 not in adjusted(four[None], found.shift).argmax(axis=1)


def test_an_answer_is_the_mean_over_its_adjusted_views() -> None:
    views = np.stack([answers(50, seed)[0] for seed in (1, 2)])
    shift = np.array([-0.4, 0.1, 0.3])
    logits = np.log(views) + shift
    each = np.exp(logits) / np.exp(logits).sum(axis=-1, keepdims=True)
    assert np.allclose(adjusted(views, shift), each.mean(axis=0))


def test_of_very_many_classes_nothing_is_fitted() -> None:
    classes, images = 1000, MOST_WORK // 1000**2 + 10
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet(np.ones(classes), images)
    assert not fit_adjustment(probabilities[None], rng.integers(0, classes, images)).shift.any()


def test_it_is_told_as_factors_the_strongest_first_and_not_of_a_thousand_classes() -> None:
    assert told({"common": -0.1, "rare": 0.5}) == "rare × 1.65, common × 0.90"
    assert told({str(i): i / 10 for i in range(9)}).endswith(", 3 × 1.35, …")
