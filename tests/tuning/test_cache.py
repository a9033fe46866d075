"""The cache against the uncached network, on real weights and real photographs at a small resolution."""

import shutil
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch

from selector.backbones.depth import FreezeDepth
from selector.tuning.cache.build import fill
from selector.tuning.cache.store import CacheStore
from selector.tuning.data.dataset import load_dataset
from selector.tuning.data.images import read_rgb
from selector.tuning.data.split import Split
from selector.tuning.features import CachedFeatures
from selector.tuning.jobs.common import Task, preprocess_of, save_dataset
from selector.tuning.jobs.trial import prepare, train_backing_off
from selector.tuning.model import WeightsFrom, build, split_model, weights_digest
from selector.tuning.preprocess import Augmentation
from selector.tuning.recipe import Recipe
from selector.tuning.trainer import Examples, predict

from .conftest import BACKBONE, write_elpv

PIXELS = 64


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory, weights: Path) -> Task:
    folder = tmp_path_factory.mktemp("cache")
    write_elpv(folder / "data", 60)
    dataset = load_dataset(folder / "data")
    save_dataset(dataset, folder / "data.json")
    return Task(folder, weights, False, folder / "activations", 10**9, 2)


def filled(task: Task, recipe: Recipe, store: CacheStore | None = None, views: int | None = None):
    model = build(recipe.backbone, 4, WeightsFrom(task.weights_folder))
    split = split_model(model, FreezeDepth.parse(recipe.freeze))
    key = task.key(recipe, weights_digest(model), split.frozen_blocks)
    return key, fill(
        store or task.store,
        [key],
        views or recipe.augment().views,
        model=model,
        paths=[s.path for s in task.trainable],
        digests=[s.digest for s in task.trainable],
        threads=2,
    )


@pytest.mark.parametrize("freeze", ["none", "last-3", "80%", "head"])
def test_logits_are_those_of_the_uncached_network(task: Task, freeze: str) -> None:
    recipe = Recipe(BACKBONE, freeze=freeze, resolution=PIXELS, augmentation="none", dropout=0.3)
    filled(task, recipe)
    split, source = prepare(task, recipe)
    assert isinstance(source, CachedFeatures)
    split.head.weight.data.normal_()  # the fresh head is nearly zero and would hide differences
    rows = np.arange(16)
    images = np.stack([preprocess_of(BACKBONE, PIXELS)(read_rgb(Path(task.trainable[i].path))) for i in rows])
    with torch.inference_mode():
        split.model.eval()
        split.tail.eval()
        whole = split.model(torch.from_numpy(images))
        cached = split.tail(source.batch(rows, np.zeros(16, dtype=np.int64)))
    # half precision keeps 11 bits: features are off by up to 5e-4 of their size
    assert torch.allclose(whole, cached, atol=4e-3 * float(whole.abs().max()))
    assert torch.equal(whole.argmax(dim=1), cached.argmax(dim=1))


def test_the_prefix_runs_on_the_fast_runtime_and_says_so(task: Task) -> None:
    _, report = filled(task, Recipe(BACKBONE, freeze="last-1", resolution=PIXELS, augmentation="flip"))
    assert report.runtime == "onnxruntime"
    assert (report.views, report.made) == (2, 2)
    _, again = filled(task, Recipe(BACKBONE, freeze="last-1", resolution=PIXELS, augmentation="flip"))
    assert (again.views, again.made) == (2, 0)


def test_the_mirror_image_is_shared_and_the_random_views_are_not(task: Task) -> None:
    filled(task, Recipe(BACKBONE, freeze="last-2", resolution=PIXELS, augmentation="flip"))
    _, dihedral = filled(task, Recipe(BACKBONE, freeze="last-2", resolution=PIXELS, augmentation="dihedral", views=4))
    assert dihedral.made == 2
    _, document = filled(task, Recipe(BACKBONE, freeze="last-2", resolution=PIXELS, augmentation="document", views=3))
    assert document.made == 2  # view 0 is the plain picture everywhere


def test_without_room_there_is_no_cache_and_training_goes_on_without(task: Task, tmp_path: Path) -> None:
    recipe = Recipe(BACKBONE, freeze="last-4", resolution=PIXELS, augmentation="none")
    key, report = filled(task, recipe, CacheStore(tmp_path, 1000))
    assert report.views == 0
    assert "no room" in report.why
    assert not CacheStore(tmp_path, 1000).present(key, 1)


def test_fewer_views_where_the_room_holds_no_more(task: Task, tmp_path: Path) -> None:
    recipe = Recipe(BACKBONE, freeze="head", resolution=PIXELS, augmentation="dihedral", views=8)
    a_view = len(task.trainable) * 1280 * 2 + 128
    _, report = filled(task, recipe, CacheStore(tmp_path, 3 * a_view))
    assert report.views == 3


def test_the_longest_unused_cache_gives_way(task: Task, tmp_path: Path) -> None:
    a_view = len(task.trainable) * 1280 * 2 + 128
    store = CacheStore(tmp_path, 2 * a_view + 10)
    keys = [
        filled(task, Recipe(BACKBONE, freeze="head", resolution=side, augmentation="none"), store)[0]
        for side in (64, 96, 128)
    ]
    assert [len(store.present(key, 1)) for key in keys] == [0, 1, 1]


def test_what_could_not_fit_in_any_case_throws_nothing_out(task: Task, tmp_path: Path) -> None:
    limit = 10**6
    store = CacheStore(tmp_path, limit)
    kept, other = (
        filled(task, Recipe(BACKBONE, freeze="head", resolution=side, augmentation="none"), store)[0]
        for side in (64, 96)
    )
    keep = {kept.folder(0)}
    a_view = store.file(kept, 0).stat().st_size
    assert not store.make_room(limit + 1, set())
    assert not store.make_room(limit - a_view + 1, keep)
    assert [len(store.present(key, 1)) for key in (kept, other)] == [1, 1]
    assert store.make_room(limit - a_view, keep)
    assert [len(store.present(key, 1)) for key in (kept, other)] == [1, 0]


def test_a_disk_that_fills_up_means_no_cache_and_not_the_end(
    task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = Path("/dev/shm")
    if not memory.is_dir() or not (total := shutil.disk_usage(memory).total):
        pytest.skip("no file system in memory, whose end is told without filling it")
    monkeypatch.setattr("selector.tuning.cache.store.KEEP_FREE", -(10**15))  # as if it filled up after that look
    recipe = Recipe(BACKBONE, freeze="last-5", resolution=224, augmentation="none")
    model = build(BACKBONE, 4, WeightsFrom(task.weights_folder))
    split = split_model(model, FreezeDepth.parse(recipe.freeze))
    sample = task.trainable[0]
    with torch.inference_mode():
        an_image = split.prefix(torch.zeros(1, 3, 224, 224)).numel() * 2
    images = total // an_image + 1  # more than the file system holds in all: it says so at once
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        store = CacheStore(Path(folder), 10**15)
        key = task.key(recipe, weights_digest(model), split.frozen_blocks)
        report = fill(
            store, [key], 1, model=model, paths=[sample.path] * images, digests=[sample.digest] * images, threads=2
        )
        assert report.views == report.made == 0
        assert report.why == "no room on disk: No space left on device"
        assert not list(Path(folder).rglob("*.npy"))


def test_a_killed_pass_leaves_nothing_that_looks_whole(task: Task, tmp_path: Path) -> None:
    (tmp_path / ".filling-999999999-x").mkdir()
    (tmp_path / ".filling-999999999-x" / "0-0.npy").write_bytes(b"half")
    _, report = filled(
        task, Recipe(BACKBONE, freeze="head", resolution=64, augmentation="none"), CacheStore(tmp_path, 10**9)
    )
    assert report.made == 1
    assert not list(tmp_path.glob(".filling-*"))


def test_views_are_the_same_on_every_call_and_differ_from_each_other(task: Task) -> None:
    image, preprocess = read_rgb(Path(task.trainable[0].path)), preprocess_of(BACKBONE, PIXELS)
    for augmentation in (Augmentation("dihedral", 1.0, 8), Augmentation("document", 1.0, 5, seed=1)):
        render = [
            np.stack(list(augmentation.render(image, preprocess, name="x", first=0, last=augmentation.views)))
            for _ in range(2)
        ]
        assert np.array_equal(*render)
        assert len({view.tobytes() for view in render[0]}) == augmentation.views
        assert np.array_equal(render[0][0], preprocess(image))
        (middle,) = augmentation.render(image, preprocess, name="x", first=3, last=4)
        assert np.array_equal(middle, render[0][3])


def test_preprocessing_is_that_of_timm(task: Task) -> None:
    import timm
    from timm.data import create_transform, resolve_model_data_config

    config = resolve_model_data_config(timm.create_model(BACKBONE))
    image = read_rgb(Path(task.trainable[0].path))
    assert np.allclose(create_transform(**config)(image).numpy(), preprocess_of(BACKBONE, 224)(image), atol=1e-6)


def test_where_memory_runs_out_the_model_that_was_trained_is_the_one_that_is_handed_on(task: Task) -> None:
    recipe = Recipe(BACKBONE, freeze="head", resolution=PIXELS, augmentation="none", lr=1e-2, epochs=2, batch_size=32)
    filled(task, recipe)
    split, source = prepare(task, recipe)

    class Short:
        """Features that fit the memory in batches of 20 alone."""

        views = source.views

        def batch(self, positions: np.ndarray, views: np.ndarray) -> torch.Tensor:
            if len(positions) > 20:
                raise MemoryError
            return source.batch(positions, views)

    heard: list[dict[str, object]] = []
    examples = Examples(task.labels, task.rows(Split.TRAIN), task.rows(Split.VALIDATION), 4)
    run = train_backing_off(task, split, Short(), examples, recipe, None, heard.append)
    assert [e["batch_size"] for e in heard if e["event"] == "batch-halved"] == [16]
    assert run.recipe.batch_size == 16
    (again,) = predict(run.split.tail, run.source, examples.validation)
    assert np.allclose(again, run.trained.probabilities, atol=1e-6)
