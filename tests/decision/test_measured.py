from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from selector.advisor import recommend
from selector.decision.device import Latency, held
from selector.decision.measured import Measured, Study, conditioned
from selector.decision.request import AskedLimits
from selector.errors import NoFeasibleCandidate
from selector.estimation.accuracy import Setup, Task, accuracy_draws, log_odds
from selector.evidence.metrics import ACCURACY
from selector.evidence.record import Figure, Provenance

SETUPS = [
    Setup("resnet50", 80.0, 79.0, 1.0, 0.0),
    Setup("resnet50", 80.0, 79.0, 1.0, 1.0),
    Setup("vgg16", 71.6, 72.0, 1.0, 0.0),
]


def measured(value: float, half: float = 2.0) -> Figure:
    return Figure(ACCURACY, value, value - half, value + half, Provenance.MEASURED, "a test split")


@pytest.fixture(scope="module")
def prior() -> np.ndarray:
    return accuracy_draws(SETUPS, Task(2000, 4), seed=0)


@pytest.mark.parametrize("value", [55.0, 95.0])
def test_a_measured_setup_is_what_was_measured_and_the_others_follow(prior: np.ndarray, value: float) -> None:
    after = conditioned(prior, [(0, measured(value))], seed=0)
    assert after[0].mean() == pytest.approx(value, abs=0.5)
    low, high = np.quantile(after[0], [0.025, 0.975])
    assert (low, high) == pytest.approx((value - 2, value + 2), abs=1.0)
    moved = log_odds(after).mean(axis=1) - log_odds(prior).mean(axis=1)
    assert np.sign(moved[2]) == np.sign(moved[0])
    assert abs(moved[2]) < 1.2 * abs(moved[0])


def test_what_was_not_measured_is_surer_than_before_and_less_sure_than_what_was(prior: np.ndarray) -> None:
    after = conditioned(prior, [(0, measured(80.0))], seed=0)
    before_sd, after_sd = log_odds(prior).std(axis=1), log_odds(after).std(axis=1)
    assert after_sd[0] < after_sd[1] < before_sd[1]
    assert after_sd[0] < after_sd[2] < before_sd[2]


def test_two_measurements_stand_side_by_side(prior: np.ndarray) -> None:
    after = conditioned(prior, [(0, measured(80.0)), (1, measured(70.0))], seed=0)
    assert after.mean(axis=1)[:2] == pytest.approx([80.0, 70.0], abs=0.5)
    assert np.array_equal(after, conditioned(prior, [(0, measured(80.0)), (1, measured(70.0))], seed=0))
    assert np.array_equal(conditioned(prior, [], seed=0).round(6), prior.round(6))


def study(frozen_blocks: int, *, name: str = "mobilenetv2_100", random_init: bool = False) -> Study:
    winner = Measured(name, "mine", frozen_blocks, 224, measured(88.0), None)
    return Study((winner,), {"epochs": 3}, 5, 40, 0.8, 120.0, "selector recommend --data d --budget 120s", random_init)


def test_the_trained_model_is_what_is_recommended_as_it_was_measured(tmp_path: Path) -> None:
    answer = recommend("edge", 500, classes=4, store=tmp_path / "none.sqlite", study=study(11))
    chosen = answer.recommendation.candidate
    assert (chosen.backbone, chosen.freeze.name, chosen.freeze.frozen_blocks) == ("mobilenetv2_100", "mine", 11)
    assert chosen.accuracy == measured(88.0)
    assert chosen.feasible
    assert answer.recommendation.hyperparameters == {"epochs": 3}
    assert answer.recommendation.why[0].key == "why.measured"
    assert answer.next_measurements[0].command == "selector recommend --data d --budget 240s"
    assert all(
        "conditioned on 1 setups" in c.accuracy.source for c in answer.candidates if c.accuracy != measured(88.0)
    )


def test_a_model_that_answers_from_several_views_is_held_to_their_mean_as_far_as_latency_allows(tmp_path: Path) -> None:
    one = study(11)
    several = replace(one, measured=(replace(one.winner, views=4, of_views=measured(91.0)),))

    def keeps(study: Study, latency_ms: float) -> bool:
        limits = AskedLimits(latency_ms=latency_ms, accuracy=89.5)
        try:
            answer = recommend("edge", 500, classes=4, limits=limits, store=tmp_path / "none.sqlite", study=study)
        except NoFeasibleCandidate:
            return False
        return "warning.trained_breaks_limits" not in [note.key for note in answer.notes]

    free = recommend("edge", 500, classes=4, store=tmp_path / "none.sqlite", study=one).recommendation.candidate
    assert free.latency is not None
    inference_ms = held(Latency(free.latency, free.latency_p90)).value
    assert keeps(several, 4.1 * inference_ms)
    assert not keeps(several, 3.9 * inference_ms)
    assert not keeps(one, 4.1 * inference_ms)


def test_a_trained_model_that_breaks_the_limits_is_told_and_not_recommended(tmp_path: Path) -> None:
    large = study(0, name="vgg16", random_init=True)
    answer = recommend("edge", 500, classes=4, store=tmp_path / "none.sqlite", study=large)
    assert answer.recommendation.candidate.backbone != "vgg16"
    assert answer.recommendation.why[0].key == "why.expected"
    keys = [note.key for note in answer.notes]
    assert keys[:2] == ["warning.random_init", "warning.trained_breaks_limits"]
