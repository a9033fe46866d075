"""The winner: how many runs its weights are the mean of, and what becomes of a run or a job that fails."""

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from selector.tuning.artefacts import FEWEST_COMPARED, quantise, save_graph
from selector.tuning.data.dataset import load_dataset
from selector.tuning.jobs import int8 as int8_job
from selector.tuning.jobs import winner
from selector.tuning.jobs.answers import FEWEST, onnx_logits, samples_of_test
from selector.tuning.jobs.common import ANSWERS, STATE, Task, preprocess_of, save_dataset
from selector.tuning.jobs.int8 import make_int8
from selector.tuning.jobs.trial import prepare
from selector.tuning.place import WEIGHTS
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
        "lost": "",
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


@pytest.fixture
def untrained(task: Task, tmp_path: Path) -> dict[str, Any]:
    """Arguments of a job that has no time to train: it takes the trial's own weights."""
    own, draft = task.study / "trials" / "0", tmp_path / "draft"
    own.mkdir(parents=True)
    draft.mkdir()
    model = prepare(task, RECIPE)[0].model
    save_file({name: value.contiguous() for name, value in model.state_dict().items()}, own / STATE)
    return {
        "recipe": RECIPE.as_json(),
        "draft": str(draft),
        "seconds": 1e6,
        "late_seconds": 0.0,
        "train_seconds": 0.0,
        "more_train_seconds": 0.0,
        "expected_seconds": 1.0,
        "trial_folder": str(own),
        "predict_views": 1,
        "adjustment": [],
        "made": {},
        "lost": "",
    }


def make(task: Task, arguments: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """The figures that a job told, step by step."""
    heard: list[dict[str, Any]] = []
    whole = winner.make_winner(task, arguments | changes, heard.append)
    told = {event["step"]: event["figures"] for event in heard if event["event"] == "made"}
    assert whole == {**changes.get("made", {}), **told}
    return told


def test_what_a_lost_job_has_finished_is_not_done_again(task: Task, untrained: dict[str, Any]) -> None:
    draft = Path(untrained["draft"])
    made = make(task, untrained)
    assert list(made) == ["weights", "graph", "test", "agreement"]
    tested = made["test"]["test"]["images"]
    assert made["agreement"]["onnx_agreement"] == {"agree": tested, "images": tested, "test_images": tested}
    for finished, kept in (
        (["weights"], ["model.safetensors"]),
        (["weights", "graph", "test"], ["model.safetensors", "model.onnx"]),
    ):
        before = {name: (draft / name).stat().st_mtime_ns for name in kept}
        (Path(untrained["trial_folder"]) / STATE).unlink(missing_ok=True)  # what is in the draft is enough
        again = make(task, untrained, made={step: made[step] for step in finished})
        assert list(again) == list(made)[len(finished) :]
        assert again["agreement"] == made["agreement"]
        assert {name: (draft / name).stat().st_mtime_ns for name in kept} == before


def test_the_adjustment_of_a_trial_is_in_the_files_of_its_model(
    task: Task, untrained: dict[str, Any], tmp_path: Path
) -> None:
    shift = [-0.3, 0.1, 0.4, -0.2]
    draft = Path(untrained["draft"])
    paths = [s.path for s in samples_of_test(task)][:4]

    def logits_and_bias() -> tuple[Any, Any]:
        (bias,) = (v for k, v in load_file(draft / WEIGHTS).items() if k.endswith("classifier.bias"))
        return onnx_logits(draft, "fp32", paths, 2), bias.numpy()

    assert make(task, untrained)["weights"]["adjustment"] == {}
    plain, bias = logits_and_bias()
    made = make(task, untrained, adjustment=shift)
    assert made["weights"]["adjustment"] == dict(zip(task.dataset.classes, shift, strict=True))
    adjusted, moved = logits_and_bias()
    assert np.allclose(moved - bias, shift, atol=1e-6)
    assert np.allclose(adjusted - plain, shift, atol=1e-4)
    make(task, untrained, adjustment=shift, made={"weights": made["weights"]})  # a job that goes on: once is enough
    assert np.allclose(logits_and_bias()[0], adjusted, atol=1e-5)


def test_where_the_time_is_over_some_of_the_test_images_stand_for_all(task: Task, untrained: dict[str, Any]) -> None:
    made = make(task, untrained, seconds=0.0)
    assert made["test"]["test"]["images"] == FEWEST
    samples = samples_of_test(task)
    assert len(samples) > FEWEST
    agreement = made["agreement"]["onnx_agreement"]
    assert (agreement["images"], agreement["test_images"]) == (FEWEST_COMPARED, len(samples))
    assert len({s.label for s in samples[:FEWEST]}) > 1  # not the first class alone
    answers = np.load(task.study / "trials" / "0" / ANSWERS)
    logits = onnx_logits(Path(untrained["draft"]), "fp32", [s.path for s in samples], 2)
    assert np.allclose(answers, logits[:FEWEST], atol=1e-5)


def test_an_int8_model_that_cannot_be_tested_is_left_out_with_its_reason(
    task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, draft = tmp_path / "model", tmp_path / "draft"
    folder.mkdir()
    draft.mkdir()
    split, _ = prepare(task, RECIPE)
    preprocess = preprocess_of(BACKBONE, RECIPE.resolution)
    save_graph(split.model, folder, classes=task.dataset.classes, preprocess=preprocess, views=RECIPE.augment())
    np.save(tmp_path / "answers.npy", np.zeros((4, 1, len(task.dataset.classes)), dtype=np.float32))
    arguments = {
        "backbone": BACKBONE,
        "resolution": RECIPE.resolution,
        "folder": str(folder),
        "draft": str(draft),
        "answers": str(tmp_path / "answers.npy"),
    }

    seen: list[tuple[Path, str]] = []  # where ONNX Runtime writes what it needs meanwhile

    def watched(graph: Path, *more: Any) -> None:
        seen.append((graph.parent, tempfile.gettempdir()))
        quantise(graph, *more)

    monkeypatch.setattr(int8_job, "quantise", watched)

    def int8() -> dict[str, Any]:
        return make_int8(task, arguments, lambda event: None)

    made = int8()
    assert seen == [(draft, str(draft))]
    assert tempfile.gettempdir() != str(draft)
    assert {file.name for file in folder.iterdir()} == {"model.onnx", "preprocessing.json"}
    assert set(made) >= {"test", "macro_f1_lost", "latency_ms"}
    assert made["test"]["images"] == 4
    assert (draft / "model.int8.onnx").is_file()
    settings = (folder / "preprocessing.json").read_text()
    (folder / "preprocessing.json").write_text("{}")  # quantised, and yet not loaded
    assert "could not be tested: InvalidInput: " in int8()["left_out"]
    (folder / "preprocessing.json").write_text(settings)
    (folder / "model.onnx").write_bytes(b"no graph")
    assert "quantiser failed: " in int8()["left_out"]
