from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from selector.tuning.data.dataset import load_dataset
from selector.tuning.jobs.common import Task, save_dataset
from selector.tuning.jobs.screen import screen

from .conftest import BACKBONE, write_elpv

pytestmark = pytest.mark.usefixtures("_own_home")


def task_on(data: Path, weights: Path, folder: Path, cache_limit: int = 0) -> Task:
    folder.mkdir()
    save_dataset(load_dataset(data), folder / "data.json")
    return Task(folder, weights, False, folder / "activations", cache_limit, 2)


def screened(
    task: Task, resolution: int, depths: tuple[str, ...] = (), heard: list[dict[str, Any]] | None = None
) -> dict[str, Any]:
    arguments = {
        "backbone": BACKBONE,
        "resolution": resolution,
        "depths": depths,
        "look_upright": True,
    }
    return screen(task, arguments, (lambda event: None) if heard is None else heard.append)


def test_pictures_of_a_lit_side_have_an_upright_one(weights: Path, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    ramp = np.linspace(20, 220, 96)[:, None] * np.ones((1, 96))
    for name, picture in (("from-above", ramp[::-1]), ("from-below", ramp)):
        (tmp_path / "data" / name).mkdir(parents=True)
        for number in range(160):
            noisy = np.clip(picture + rng.normal(0, 20, picture.shape), 0, 255).astype(np.uint8)
            Image.fromarray(noisy).save(tmp_path / "data" / name / f"{number}.png")
    found = screened(task_on(tmp_path / "data", weights, tmp_path / "study"), 96)
    assert found["probe"] > 0.9
    assert found["upright"] is True


def test_solar_cells_have_none(weights: Path, tmp_path: Path) -> None:
    cells = write_elpv(tmp_path / "cells", 800)
    assert screened(task_on(cells, weights, tmp_path / "study"), 224)["upright"] is False


def test_few_images_cannot_tell(cells: Path, weights: Path, tmp_path: Path) -> None:
    assert screened(task_on(cells, weights, tmp_path / "study"), 64)["upright"] is None


def test_where_the_room_does_not_hold_all_depths_the_heads_features_are_cached(
    cells: Path, weights: Path, tmp_path: Path
) -> None:
    task = task_on(cells, weights, tmp_path / "study", 160 * 1280 * 2)
    found = screened(task, 64, ("last-5", "last-1"))
    assert found["uncached"] == ""
    (file,) = task.cache_folder.rglob("*.npy")
    assert np.load(file).shape == (len(task.trainable), 1280)


def test_a_pass_that_is_not_cached_is_told_image_by_image_and_so_is_the_reason(
    cells: Path, weights: Path, tmp_path: Path
) -> None:
    task = task_on(cells, weights, tmp_path / "study", 1000)
    heard: list[dict[str, Any]] = []
    found = screened(task, 64, ("last-5",), heard)
    done = [event["done"] for event in heard if event["event"] == "progress"]
    assert done == sorted(done)
    assert len(done) > 1
    assert done[-1] == heard[-1]["all"] == len(task.trainable)
    assert "no room" in found["uncached"]
    assert found["runtime"] == "torch-eager"
    assert found["probe"] == screened(replace(task, cache_limit=0), 64)["probe"]
