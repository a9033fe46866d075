from dataclasses import replace

import numpy as np
import pytest
from decision_samples import at_most, candidate, figure

from selector.decision.answer import Violation
from selector.decision.pareto import pareto_front
from selector.decision.ranking import rank
from selector.evidence.metrics import LATENCY_P50

RNG = np.random.default_rng(0)


def paired(*means: float, own_sd: float = 0.5) -> np.ndarray:
    """Draws around `means` with a large term that all share, as a task is shared."""
    shared = RNG.normal(0, 10, 4000)
    return np.array([mean + shared + RNG.normal(0, own_sd, 4000) for mean in means])


def test_within_the_zone_the_cheapest_is_chosen_and_ties_are_named() -> None:
    items = [
        candidate("accurate", accuracy=90.0, latency=50.0),
        candidate("cheap", accuracy=89.5, latency=10.0),
        candidate("worse", accuracy=80.0, latency=1.0),
    ]
    ranking = rank(items, paired(90.0, 89.5, 80.0), [1.0, 1.0, 1.0])
    assert ranking is not None
    assert ranking.chosen.backbone == "cheap"
    assert ranking.most_accurate.backbone == "accurate"
    assert [(c.backbone, c.tied) for c in ranking.candidates] == [("cheap", True), ("accurate", True), ("worse", False)]


def test_the_shared_task_does_not_blur_differences() -> None:
    """Both intervals overlap by far, and still the better one is better in every draw."""
    ranking = rank([candidate("a"), candidate("b", latency=1.0)], paired(90.0, 85.0), [1.0, 1.0])
    assert ranking is not None
    assert ranking.chosen.backbone == "a"
    assert ranking.chosen.probability_best == pytest.approx(1.0, abs=0.01)
    assert ranking.candidates[1].expected_regret == pytest.approx(5.0, abs=0.1)


def test_probabilities_sum_to_one_and_equal_accuracy_counts_for_the_faster() -> None:
    draws = paired(90.0, 88.0)[[0, 0, 1]]
    items = [candidate("a", latency=9.0), candidate("a", latency=3.0, runtime="armnn"), candidate("b", latency=1.0)]
    ranking = rank(items, draws, [1.0] * 3)
    assert ranking is not None
    odds = {(c.backbone, c.runtime): c.probability_best for c in ranking.candidates}
    assert odds["a", "tflite"] == 0.0
    assert odds["a", "armnn"] > 0.9  # type: ignore[operator]
    assert sum(p for p in odds.values() if p is not None) == pytest.approx(1.0)


def test_of_equal_latency_the_smaller_then_the_shorter_training_is_chosen() -> None:
    draws = paired(90.0, 90.0, 90.0, own_sd=0.01)
    items = [
        candidate("a", megabytes=30.0),
        candidate("b", megabytes=20.0, seconds=100.0),
        candidate("b", megabytes=20.0, seconds=50.0, freeze="head"),
    ]
    ranking = rank(items, draws, [1.0] * 3)
    assert ranking is not None
    assert (ranking.chosen.backbone, ranking.chosen.freeze.name) == ("b", "head")


def test_infeasible_ones_come_last_without_odds_and_none_at_all_is_no_ranking() -> None:
    broken = candidate("broken", accuracy=99.0)
    broken = replace(broken, violations=(Violation(at_most("latency_ms", 1.0), figure(LATENCY_P50, 10.0)),))
    ranking = rank([broken, candidate("fine")], paired(99.0, 80.0), [1.0, 1.0])
    assert ranking is not None
    assert [c.backbone for c in ranking.candidates] == ["fine", "broken"]
    assert ranking.candidates[1].probability_best is None
    assert ranking.chosen.probability_best == 1.0
    assert rank([broken], paired(99.0), [1.0]) is None


def test_pareto_front() -> None:
    items = [
        candidate("slow and best", accuracy=90.0, latency=30.0),
        candidate("beaten", accuracy=85.0, latency=20.0),
        candidate("fast", accuracy=86.0, latency=10.0),
        candidate("double", accuracy=86.0, latency=10.0),
        candidate("unknown", accuracy=99.0, latency=None),
    ]
    assert pareto_front(items) == {0, 2}
