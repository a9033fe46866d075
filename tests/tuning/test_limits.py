"""Limits of the deployed model: what they leave of a search, and of the trials of a former one."""

from dataclasses import replace
from pathlib import Path

import optuna
import pytest

from selector.tuning.info import DeployLimits
from selector.tuning.search.limits import HeldLimits
from selector.tuning.search.space import SearchSpace
from selector.tuning.search.storage import open_storage
from selector.tuning.search.study import OpenStudy, best_trial

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
