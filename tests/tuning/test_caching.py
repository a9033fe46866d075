"""What one pass over the images makes for the trials after it."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from selector.backbones.depth import FreezeDepth
from selector.tuning.data.dataset import load_dataset
from selector.tuning.jobs.common import Task, save_dataset
from selector.tuning.jobs.fill import fill_cache
from selector.tuning.model import WeightsFrom, build, split_model, weights_digest
from selector.tuning.recipe import Recipe
from selector.tuning.search.caching import Caching, Known

from .conftest import BACKBONE, write_elpv

FREEZES = ("head", "last-1", "last-5", "none")


@pytest.fixture
def task(tmp_path: Path, weights: Path) -> Task:
    write_elpv(tmp_path / "data", 24)
    save_dataset(load_dataset(tmp_path / "data"), tmp_path / "data.json")
    return Task(tmp_path, weights, False, tmp_path / "activations", 10**9, 1)


def caching(task: Task) -> Caching:
    model = build(BACKBONE, len(task.dataset.classes), WeightsFrom(task.weights_folder, False))
    total = split_model(model, FreezeDepth("head")).total_blocks
    return Caching(task, {BACKBONE: Known(weights_digest(model), total)}, FREEZES)


def fill(task: Task, recipe: Recipe, depths: tuple[int, ...]) -> dict[str, Any]:
    return fill_cache(task, {"recipe": recipe.as_json(), "depths": depths, "seconds": 120.0}, lambda event: None)


def test_one_pass_serves_the_trials_at_other_depths(task: Task) -> None:
    plan = caching(task)
    total = plan.backbones[BACKBONE].total_blocks
    recipe = Recipe(BACKBONE, freeze="last-5", resolution=64, augmentation="flip", views=2)
    others = [replace(recipe, freeze=freeze) for freeze in ("head", "last-1")]
    assert [plan.missing_views(r) for r in (recipe, *others)] == [2, 2, 2]
    depths = plan.depths(recipe, 2)
    assert depths[0] == total - 5
    assert set(depths) == {total - 5, total - 1, total}
    told = fill(task, recipe, depths)
    assert (told["views"], told["made"]) == (2, 2)
    assert not plan.note(recipe, told)
    assert [plan.missing_views(r) for r in (recipe, *others)] == [0, 0, 0]
    assert plan.missing_views(replace(recipe, freeze="none")) == 2  # pixels are made for who asks for them
    assert plan.depths(replace(recipe, freeze="none"), 2) == (0,)


def test_depths_that_lack_other_views_are_left_to_a_pass_of_their_own(task: Task) -> None:
    plan = caching(task)
    total = plan.backbones[BACKBONE].total_blocks
    recipe = Recipe(BACKBONE, freeze="last-5", resolution=64, augmentation="flip", views=2)
    fill(task, replace(recipe, augmentation="none"), (total,))  # as screening leaves the plain view
    assert set(plan.depths(recipe, 2)) == {total - 5, total - 1}


def test_what_finds_no_room_beside_does_not_cost_the_trial_its_own(task: Task) -> None:
    plan = caching(task)
    total = plan.backbones[BACKBONE].total_blocks
    recipe = Recipe(BACKBONE, freeze="head", resolution=64, augmentation="flip", views=2)
    own = 2 * 1280 * 2 * len(task.trainable)  # two views of 1280 half-precision features
    told = fill(replace(task, cache_limit=own + 1000), recipe, (total, total - 5))
    assert (told["views"], told["made"]) == (2, 2)
    assert plan.missing_views(recipe) == 0
    assert plan.missing_views(replace(recipe, freeze="last-5")) == 2


def test_what_is_made_beside_takes_a_quarter_of_the_room(task: Task) -> None:
    recipe = Recipe(BACKBONE, freeze="last-5", resolution=64, augmentation="flip", views=2)
    tight = caching(replace(task, cache_limit=1000))
    own = tight.depths(recipe, 2)
    assert own == (tight.backbones[BACKBONE].total_blocks - 5,)
    told = fill(tight.task, recipe, own)
    assert told["views"] == 0
    assert tight.note(recipe, told)
    assert not tight.usable(recipe)
    assert tight.missing_views(recipe) == 0
