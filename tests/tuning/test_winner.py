"""The winner's weights: how many runs they are the mean of, and what becomes of a run that fails."""

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from selector.tuning.artefacts import save_model
from selector.tuning.data.dataset import load_dataset
from selector.tuning.jobs import winner
from selector.tuning.jobs.common import Task, preprocess_of, save_dataset
from selector.tuning.jobs.trial import prepare
from selector.tuning.recipe import Recipe
from selector.tuning.search.budget import MOST_SEEDS, SEEDS
from selector.tuning.trainer import Diverged

from .conftest import BACKBONE

pytestmark = pytest.mark.usefixtures("_own_home")

RECIPE = Recipe(BACKBONE, freeze="head", resolution=64, augmentation="none", epochs=1)


@pytest.fixture
def task(cells: Path, weights: Path, tmp_path: Path) -> Task:
    folder = tmp_path / "study"
    folder.mkdir()
    save_dataset(load_dataset(cells), folder / "data.json")
    return Task(folder, weights, False, folder / "activations", 0, 2)


def seeds_of(task: Task, *, more_s: float, said: list[dict[str, Any]] | None = None) -> list[int]:
    arguments = {
        "train_seconds": 1e6,
        "more_train_seconds": more_s,
        "expected_seconds": 1.0,
        "trial_folder": str(task.study / "trials" / "0"),
    }
    heard = [] if said is None else said
    split, seeds, how = winner._final_weights(task, RECIPE, arguments, time.monotonic(), heard.append)
    assert [how.endswith(event["stage"]) for event in heard if "left out" in event.get("stage", "")] in ([], [True])
    assert all(bool(torch.isfinite(v).all()) for v in split.model.state_dict().values())
    return seeds


def test_what_is_left_of_the_time_goes_into_further_seeds(task: Task) -> None:
    assert seeds_of(task, more_s=1e6) == list(range(MOST_SEEDS))
    assert seeds_of(task, more_s=0.0) == list(range(SEEDS))


def test_a_seed_that_diverges_does_not_cost_those_before_it(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    train, calls = winner.train_backing_off, [0]

    def second_diverges(*arguments: Any) -> Any:
        calls[0] += 1
        if calls[0] == 2:
            raise Diverged("the loss became nan at 40% of the run")
        return train(*arguments)

    monkeypatch.setattr(winner, "train_backing_off", second_diverges)
    said: list[dict[str, Any]] = []
    assert seeds_of(task, more_s=1e6, said=said) == [0]
    assert any("seed 1 is left out: Diverged: the loss became nan" in event.get("stage", "") for event in said)
    calls[0] = 1  # the first of them diverges now, and no trial's own weights are there
    with pytest.raises(Diverged):
        seeds_of(task, more_s=1e6)


def test_an_int8_model_that_cannot_be_tested_is_left_out_with_its_reason(task: Task, tmp_path: Path) -> None:
    draft = tmp_path / "model"
    draft.mkdir()
    split, _ = prepare(task, RECIPE)
    preprocess = preprocess_of(BACKBONE, RECIPE.resolution)
    save_model(split.model, draft, classes=task.dataset.classes, preprocess=preprocess, views=RECIPE.augment())
    samples = task.trainable[:4]
    labels, paths = np.array([s.label for s in samples], dtype=np.int64), [s.path for s in samples]
    answers = np.full((4, len(task.dataset.classes)), 0.25)

    def int8() -> dict[str, Any]:
        return winner._int8(task, draft, RECIPE, paths, labels, answers, lambda event: None)

    assert set(int8()) >= {"test", "macro_f1_lost", "latency_ms"}
    assert (draft / "model.int8.onnx").is_file()
    (draft / "preprocessing.json").unlink()  # quantised, and yet not loaded
    assert "could not be tested: InvalidInput: " in int8()["left_out"]
    assert (draft / "model.onnx").is_file()
    assert not (draft / "model.int8.onnx").exists()
    (draft / "model.onnx").write_bytes(b"no graph")
    assert "quantiser failed: " in int8()["left_out"]
