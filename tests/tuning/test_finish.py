"""The end of a search: what is handed over, whatever becomes of the jobs that make it."""

import errno
import json
from pathlib import Path

import psutil
import pytest

from selector.errors import InvalidInput
from selector.tuning.artefacts import FEWEST_COMPARED
from selector.tuning.info import Progress
from selector.tuning.jobs.answers import FEWEST
from selector.tuning.place import OWN_FILES
from selector.tuning.predict import Predictor
from selector.tuning.search import finish
from selector.tuning.search.budget import Budget
from selector.tuning.search.finish import _Ending
from selector.tuning.search.tune import tune

from .conftest import request

pytestmark = pytest.mark.usefixtures("_own_home")


def kill_jobs() -> None:
    """As the kernel does where memory runs out: what the workers are at, not the workers."""
    for worker in psutil.Process().children():
        for job in worker.children():
            job.kill()


def test_killed_jobs_lose_neither_the_only_backbone_nor_the_winner(cells: Path, weights: Path) -> None:
    killed: list[str] = []

    heard: list[str] = []

    def hear(progress: Progress) -> None:
        heard.append(progress.says)
        if (progress.phase, progress.passing) == ("screening", True) or progress.says == "training the winner, seed 0":
            if progress.phase in killed:
                return
            killed.append(progress.phase)
            kill_jobs()

    result = tune(request(cells, weights, max_trials=1, freezes=("head",)), hear)
    assert killed == ["screening", "winner"]
    assert any("its screening was lost (the process was killed (SIGKILL)); it is tried once more" in s for s in heard)
    winner = result.winner
    assert "the best trial's own weights" in winner.result["how"]
    assert "killed: the process was killed (SIGKILL)" in winner.result["how"]
    assert winner.result["seeds"] == []
    assert winner.result["onnx_agreement"]["agree"] == winner.result["test"]["images"]
    assert "Weights: the best trial's own weights" in (winner.folder / "README.md").read_text()


def test_a_death_while_the_int8_model_is_made_costs_that_alone(cells: Path, weights: Path, tmp_path: Path) -> None:
    save = tmp_path / "model"
    held: list[dict[str, str]] = []

    def hear(progress: Progress) -> None:
        if progress.says == "quantising":
            held.append({file.name: file.read_bytes() for file in save.iterdir()})
            kill_jobs()

    result = tune(request(cells, weights, max_trials=1, freezes=("head",), save=save), hear)
    (before,) = held  # what lay there when the job was killed
    assert json.loads(before["reproduce.json"])["int8_left_out"] == "the run ended before it was made"
    winner = result.winner.result
    assert winner["how"].startswith("trained again on train and validation: ")
    assert winner["seeds"]
    assert not winner["lost"]
    lost = "the job that was to make it was lost, killed: the process was killed (SIGKILL)"
    assert winner["int8"] == {"left_out": lost}
    after = {file.name: file.read_bytes() for file in save.iterdir()}
    assert {name for name in before if after[name] != before[name]} == {"README.md", "reproduce.json"}
    assert before.keys() == after.keys()
    card = after["README.md"].decode()
    assert f"There is no int8 model: {lost}." in card
    assert f"Weights: {winner['how']}." in card
    assert json.loads(after["reproduce.json"])["int8_left_out"] == lost
    assert not list(tmp_path.glob(".*.part"))
    test = [s for s in json.loads((result.folder / "data.json").read_text())["samples"] if s["split"] == "test"]
    right = [s["label"] == _said(Predictor(save), s["path"]) for s in test]
    assert sum(right) / len(test) == pytest.approx(winner["test"]["accuracy"]["value"])
    with pytest.raises(InvalidInput, match="int8 was left out, the job that was to make it was lost, killed"):
        Predictor(save, precision="int8-static")


def test_a_disk_that_is_full_after_the_model_is_handed_over_costs_the_int8_model_alone(
    cells: Path, weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save, heard = tmp_path / "model", []

    def full(draft: Path, save: Path) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(finish, "hand_over_more", full)
    asked = request(cells, weights, max_trials=1, freezes=("head",), save=save)
    winner = tune(asked, lambda progress: heard.append(progress.says)).winner
    assert winner.result["int8"] == {"left_out": "it could not be written: No space left on device"}
    assert "the int8 model is left out: it could not be written: No space left on device" in heard
    assert winner.result["seeds"]
    assert {file.name for file in save.iterdir()} == OWN_FILES - {"model.int8.onnx"}
    assert json.loads((save / "reproduce.json").read_text())["int8_left_out"] == "the run ended before it was made"
    assert not list(tmp_path.glob(".*.part"))


def test_ctrl_c_while_the_int8_model_is_made_leaves_the_model_and_resume_goes_on(
    cells: Path, weights: Path, tmp_path: Path
) -> None:
    save, heard = tmp_path / "model", []

    def hear(progress: Progress) -> None:
        heard.append(progress.says)
        if progress.says == "quantising":
            raise KeyboardInterrupt

    asked = {"max_trials": 1, "freezes": ("head",), "save": save, "study": "s"}
    with pytest.raises(KeyboardInterrupt):
        tune(request(cells, weights, **asked), hear)
    assert heard[-1].startswith("stopped; study s keeps what was finished")
    assert f"the model is in {save}; an int8 one is made of it" in heard
    with pytest.raises(InvalidInput, match="int8 was left out, the run ended before it was made"):
        Predictor(save, precision="int8-static")
    assert _said(Predictor(save), str(next(cells.rglob("*.png")))) in range(4)
    again = tune(request(cells, weights, resume=True, **asked)).winner.result
    assert "test" in again["int8"]
    assert Predictor(save, precision="int8-static").classes == ("defective", "intact", "likely", "slight")
    assert json.loads((save / "reproduce.json").read_text())["int8_left_out"] == ""
    assert {"path": str(save / "model.int8.onnx"), "bytes": (save / "model.int8.onnx").stat().st_size} in again[
        "artefacts"
    ]


def _said(model: Predictor, path: str) -> int:
    return int(model.probabilities(Path(path)).argmax())


def test_a_job_that_is_lost_after_training_and_late_is_gone_on_with_and_bounded(
    cells: Path, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    budgets: list[Budget] = []

    class Watched(Budget):
        def __init__(self, *arguments: float) -> None:
            super().__init__(*arguments)
            budgets.append(self)

    monkeypatch.setattr("selector.tuning.search.tune.Budget", Watched)
    heard: list[str] = []

    def hear(progress: Progress) -> None:
        heard.append(progress.says)
        if progress.says == "testing" and heard.count("testing") == 1:
            kill_jobs()
            budgets[0].started -= 1000.0  # as if as much time had gone by

    winner = tune(request(cells, weights, max_trials=1, freezes=("head",)), hear).winner
    assert any(s.endswith("what it had finished is kept (weights, graph)") for s in heard)
    assert winner.result["how"].startswith("trained again on train and validation: ")
    assert not winner.result["lost"]
    assert winner.result["test"]["images"] == FEWEST
    agreement = winner.result["onnx_agreement"]
    assert (agreement["agree"], agreement["images"]) == (FEWEST_COMPARED, FEWEST_COMPARED)
    assert winner.result["int8"]["left_out"].endswith(" s, 0 s were left")
    card = (winner.folder / "README.md").read_text()
    assert f"Scores on {FEWEST} test images that no choice was made on, of {agreement['test_images']}: " in card
    model = Predictor(winner.folder)
    assert all(_said(model, wrong["path"]) != wrong["label"] for wrong in winner.result["mistakes"])


def test_an_int8_model_that_takes_longer_than_the_budget_is_stopped(
    cells: Path, weights: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # what is expected of it fits, and what is left when it is begun does not
    monkeypatch.setattr(_Ending, "_int8_left_s", property(lambda ending: next(left)))
    left = iter([1e6, 0.2])
    winner = tune(request(cells, weights, max_trials=1, freezes=("head",))).winner
    assert winner.result["int8"] == {"left_out": "quantising and testing took longer than the 0 s that were left"}
    assert not (winner.folder / "model.int8.onnx").exists()
    assert "There is no int8 model: quantising and testing took longer" in (winner.folder / "README.md").read_text()
