"""Limits of the deployed model: what they leave of a search, and of the trials of a former one."""

from dataclasses import replace
from pathlib import Path

import optuna
import pytest

from selector.errors import NoFeasibleCandidate
from selector.tuning.info import DeployLimits, TuneRequest
from selector.tuning.jobs.common import Task
from selector.tuning.search.budget import Budget, Reserve
from selector.tuning.search.caching import Caching
from selector.tuning.search.crew import Crew
from selector.tuning.search.limits import HeldLimits
from selector.tuning.search.pace import Pace
from selector.tuning.search.session import GIVE_UP_AFTER, Session, enqueue_first
from selector.tuning.search.space import SearchSpace
from selector.tuning.search.storage import open_storage
from selector.tuning.search.study import OpenStudy, best_trial, count_trials

SPACE = SearchSpace(("resnet50", "vgg16"), ("head",), (224, 288), ("none", "flip"), 4, 32)


@pytest.fixture
def opened(tmp_path: Path) -> OpenStudy:
    """A study on disk whose best trial is a VGG at 288 pixels, the second a ResNet there, the third one at 224."""
    study = optuna.create_study(storage=open_storage(None, tmp_path), direction="maximize")
    for backbone, resolution, value in (("resnet50", 224, 0.5), ("resnet50", 288, 0.6), ("vgg16", 288, 0.7)):
        study.enqueue_trial({"backbone": backbone, "resolution": resolution})
        study.tell(study.ask(SPACE.distributions()), value)
    return OpenStudy("s", tmp_path, open_storage(None, tmp_path), study)


def test_a_trial_that_breaks_a_limit_of_this_run_is_not_its_best(opened: OpenStudy) -> None:
    def best(limits: DeployLimits) -> int | None:
        held = HeldLimits(limits, {"resnet50@224": 10.0, "resnet50@288": 16.0, "vgg16@288": 60.0})
        found = best_trial(replace(opened, excess=lambda params: held.excess(SPACE.recipe(params, 0))))
        return None if found is None else found.number

    assert best(DeployLimits()) == 2
    assert best(DeployLimits(max_latency_ms=20.0)) == 1
    assert best(DeployLimits(max_latency_ms=12.0)) == 0
    assert best(DeployLimits(max_latency_ms=5.0)) is None


LATENCIES = {"resnet50@224": 10.0, "resnet50@288": 16.0, "vgg16@224": 40.0, "vgg16@288": 60.0}


def test_backbones_and_resolutions_that_break_a_limit_are_not_searched_over() -> None:
    def sides(name: str) -> tuple[int, ...]:
        return (288, 224)

    ranked = ["vgg16", "resnet50"]
    whole = HeldLimits(DeployLimits(), LATENCIES).narrow(ranked, sides)
    assert (whole.backbones, whole.resolutions, whole.said) == (ranked, (288, 224), [])
    some = HeldLimits(DeployLimits(max_latency_ms=50.0), LATENCIES).narrow(ranked, sides)
    assert (some.backbones, some.resolutions, some.said) == (ranked, (288, 224), [])
    fast = HeldLimits(DeployLimits(max_latency_ms=12.0), LATENCIES).narrow(ranked, sides)
    assert (fast.backbones, fast.resolutions) == (["resnet50"], (224,))
    assert fast.said[0] == "vgg16 is left out: at 224 px it breaks the limits, latency_ms by 28"
    assert fast.said[1].startswith("288 px are left out")
    with pytest.raises(NoFeasibleCandidate, match="the nearest, resnet50, is beyond latency_ms by 5"):
        HeldLimits(DeployLimits(max_latency_ms=5.0), LATENCIES).narrow(ranked, sides)


def test_the_first_trials_keep_the_limits() -> None:
    for limit, kept in ((50.0, {"resnet50", "vgg16"}), (12.0, {"resnet50"})):
        held = HeldLimits(DeployLimits(max_latency_ms=limit), LATENCIES)
        first = replace(SPACE, resolutions=(288, 224)).first_trials(
            ["vgg16", "resnet50"], images_per_class=50, imbalance=1, budget_s=1200, keeps=held.keeps
        )
        assert {params["backbone"] for _, params in first} == kept
        assert all(held.keeps(params["backbone"], params["resolution"]) for _, params in first)


def test_a_search_that_finds_nothing_within_the_limits_says_so(opened: OpenStudy, tmp_path: Path) -> None:
    said: list[str] = []
    task = Task(tmp_path, None, True, tmp_path / "activations", 0, 1)
    with Crew(1, 1, tmp_path / "logs") as crew:
        session = Session(
            opened=opened,
            space=SPACE,
            request=TuneRequest(tmp_path, 600.0, SPACE.backbones),
            task=task,
            crew=crew,
            budget=Budget(600.0),
            pace=Pace(100, 80),
            caching=Caching(task, {}, SPACE.freezes),
            constraints=HeldLimits(DeployLimits(max_artifact_mb=1.0), {}).excess,
            reserve=lambda: Reserve(1.0, 1.0, 1.0, 1.0),
            tell=said.append,
        )
        enqueue_first(opened, first := SPACE.first_trials(["vgg16"], images_per_class=9, imbalance=1, budget_s=600))
        assert count_trials(opened.study) == 3  # none of the queue has begun
        session.run()
    assert session.stop_reason == "limits"
    assert count_trials(opened.study) == 3 + len(first) + GIVE_UP_AFTER
    ended = [t for t in opened.study.trials if t.user_attrs.get("outcome") == "infeasible"]
    assert len(ended) == len(first) + GIVE_UP_AFTER
    assert "broke the limits and no other fitted" in said[-1]
