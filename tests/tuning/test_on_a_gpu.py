"""Screening, training and handing over with a CUDA device; and what can be told of it without one."""

from pathlib import Path

import numpy as np
import pytest
import torch

from selector.backbones.depth import FreezeDepth
from selector.tuning.artefacts import save_graph, torch_classes
from selector.tuning.cache.prefix import Taps, _eager_on
from selector.tuning.data.dataset import load_dataset
from selector.tuning.data.split import Split
from selector.tuning.features import CachedFeatures, LiveFeatures
from selector.tuning.jobs.common import Task, preprocess_of, save_dataset
from selector.tuning.jobs.fill import fill_cache
from selector.tuning.jobs.latency import time_inference
from selector.tuning.jobs.screen import screen
from selector.tuning.jobs.trial import prepare, train_backing_off
from selector.tuning.model import WeightsFrom, build, split_model
from selector.tuning.preprocess import Augmentation
from selector.tuning.recipe import Recipe
from selector.tuning.trainer import Examples

from .conftest import BACKBONE, write_elpv

pytestmark = pytest.mark.usefixtures("_own_home")

PIXELS = 64
RECIPE = Recipe(BACKBONE, freeze="last-1", resolution=PIXELS, augmentation="flip", epochs=2)


@pytest.fixture
def cuda() -> None:
    if not torch.cuda.is_available():
        pytest.skip("torch finds no CUDA device")


@pytest.fixture
def task(tmp_path: Path, weights: Path) -> Task:
    write_elpv(tmp_path / "data", 480)  # of which more are validated on than the look at the upright side needs
    save_dataset(load_dataset(tmp_path / "data"), tmp_path / "data.json")
    return Task(tmp_path, weights, False, tmp_path / "activations", 10**9, 2)


def test_what_runs_the_prefix_elsewhere_leaves_the_model_where_it_was(weights: Path) -> None:
    model = build(BACKBONE, 4, WeightsFrom(weights))
    total = split_model(model, FreezeDepth("head")).total_blocks
    _eager_on(Taps(model, [total - 1, total]), torch.device("meta"))
    assert {p.device.type for p in model.parameters()} == {"cpu"}
    assert model(torch.zeros(1, 3, PIXELS, PIXELS)).shape == (1, 4)


@pytest.mark.gpu
@pytest.mark.parametrize("cache_limit", [10**9, 0])
def test_a_backbone_is_screened_with_its_upright_side_and_latency(cuda: None, task: Task, cache_limit: int) -> None:
    arguments = {
        "backbone": BACKBONE,
        "resolution": PIXELS,
        "depths": ["last-1"],
        "look_upright": True,
    }
    task = Task(task.study, task.weights_folder, False, task.cache_folder, cache_limit, 2)
    found = screen(task, arguments, lambda event: None)
    assert found["runtime"] == "torch-eager"
    assert found["probe"] > 0.25
    assert found["upright"] in (True, False)
    timed = time_inference(task, {"backbone": BACKBONE, "resolutions": [PIXELS]}, lambda event: None)
    assert timed["latency_ms"][f"{BACKBONE}@{PIXELS}"] > 0


@pytest.mark.gpu
def test_live_features_are_those_of_the_cache(cuda: None, task: Task) -> None:
    total = split_model(build(BACKBONE, 4, WeightsFrom(task.weights_folder)), FreezeDepth("head")).total_blocks
    rows, views = np.arange(40), np.arange(40) % 2
    _, live = prepare(task, RECIPE)
    assert isinstance(live, LiveFeatures)
    fill_cache(task, {"recipe": RECIPE.as_json(), "depths": [total - 1], "seconds": 300.0}, lambda event: None)
    _, cached = prepare(task, RECIPE)
    assert isinstance(cached, CachedFeatures)
    a, b = live.batch(rows, views), cached.batch(rows, views)
    assert a.device == b.device == torch.device("cpu")
    assert torch.allclose(a, b, atol=3e-2 * float(b.abs().max()))  # the cache was filled in mixed precision


@pytest.mark.gpu
@pytest.mark.parametrize("freeze", ["none", "last-1", "head"])
def test_what_was_trained_there_is_saved_and_agrees_with_torch(
    cuda: None, task: Task, tmp_path: Path, freeze: str
) -> None:
    recipe = Recipe(BACKBONE, freeze=freeze, resolution=PIXELS, augmentation="none", epochs=1)
    split, source = prepare(task, recipe)
    examples = Examples(task.labels, task.rows(Split.TRAIN), task.rows(Split.VALIDATION), 4)
    split = train_backing_off(task, split, source, examples, recipe, None, lambda event: None).split
    preprocess = preprocess_of(BACKBONE, PIXELS)
    folder = tmp_path / "model"
    folder.mkdir()
    save_graph(split.model, folder, classes=task.dataset.classes, preprocess=preprocess, views=Augmentation())
    assert len(torch_classes(split.model, [s.path for s in task.trainable[:40]], preprocess)) == 40
