"""The whole of `tune` on real photographs and real weights, at a small resolution and with a small budget."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import optuna
import psutil
import pytest
from optuna.trial import TrialState

from selector.errors import InvalidInput, MeasurementFailed, NoFeasibleCandidate, WeightsUnavailable
from selector.tuning.info import DeployLimits, Progress
from selector.tuning.search.storage import open_storage
from selector.tuning.search.tune import tune

from .conftest import BACKBONE, request

pytestmark = pytest.mark.usefixtures("_own_home")


def test_a_search_ends_within_its_budget_with_a_whole_model(cells: Path, weights: Path, tmp_path: Path) -> None:
    heard: list[Progress] = []
    began = time.monotonic()
    result = tune(request(cells, weights, save=tmp_path / "model"), heard.append)
    used = time.monotonic() - began
    assert used <= result.budget.asked_s * 1.05 + 5
    assert abs(used - result.budget.used_s) < 3
    complete = [t for t in result.trials if t.outcome == "complete"]
    assert complete
    assert result.trials[0].origin == "rule-based, head"
    assert result.winner.trial == max(complete, key=lambda t: t.macro_f1).number
    kept = [file.parent.name for file in (result.folder / "trials").rglob("state.safetensors")]
    assert kept == [str(result.winner.trial)]
    assert list((result.folder / "logs").rglob("worker-0.log"))
    assert {file.name for file in (tmp_path / "model").iterdir()} >= {
        "model.safetensors",
        "model.onnx",
        "preprocessing.json",
        "README.md",
        "reproduce.json",
    }
    test = [s for s in json.loads((result.folder / "data.json").read_text())["samples"] if s["split"] == "test"]
    assert result.winner.result["test"]["images"] == len(test)
    assert result.winner.result["onnx_agreement"] == {
        "agree": len(test),
        "images": len(test),
        "test_images": len(test),
    }
    fitted = json.loads((result.folder / "trials" / str(result.winner.trial) / "result.json").read_text())["adjustment"]
    assert list(result.winner.result["adjustment"].values()) == (fitted if any(fitted) else [])
    assert "test" in result.winner.result["int8"] or "left_out" in result.winner.result["int8"]
    assert {p.phase for p in heard} == {"data", "screening", "search", "winner"}
    assert any(p.passing and p.phase == "search" and p.says.startswith("trial 0: ") for p in heard)
    document = json.loads(json.dumps(result.as_json()))
    assert document["budget"]["stop_reason"] == "trials"
    assert document["trials"][0]["epochs"]
    card = (tmp_path / "model" / "README.md").read_text()
    assert "pipeline_tag: image-classification" in card
    assert "95 % interval" in card


def test_what_cannot_be_tuned_is_refused(cells: Path, weights: Path, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput) as error:
        tune(request(cells, weights, budget_s=1.0, backbones=("resnet5O",), freezes=("lasst-3",), workers=0))
    assert len(error.value.faults) == 4
    with pytest.raises(InvalidInput) as error:
        tune(
            request(
                *(cells, tmp_path / "nowhere"),
                cache_bytes=-1,
                max_trials=0,
                seed=-1,
                study="../../x",
                save=cells,
                freezes=("last-99",),
                limits=DeployLimits(max_latency_ms=-3),
            )
        )
    assert len(error.value.faults) == 8
    assert sum(1 for _ in cells.rglob("*.png")) == 160
    with pytest.raises(InvalidInput, match="no study"):
        tune(request(cells, weights, resume=True, study="never"))


def test_random_weights_are_refused_unless_asked_for(cells: Path, tmp_path: Path) -> None:
    with pytest.raises(WeightsUnavailable, match="--random-init"):
        tune(request(cells, tmp_path))


def test_limits_that_nothing_keeps_are_told_before_anything_is_trained(cells: Path, weights: Path) -> None:
    with pytest.raises(NoFeasibleCandidate, match=r"latency_ms by .*, artifact_mb by "):
        tune(request(cells, weights, limits=DeployLimits(max_latency_ms=0.001, max_artifact_mb=1.0)))


def test_a_backbone_that_breaks_a_limit_is_told_and_not_searched_over(cells: Path) -> None:
    heard: list[Progress] = []
    limits = DeployLimits(max_artifact_mb=50.0)
    asked = {"backbones": ("resnet50", BACKBONE), "random_init": True, "limits": limits}
    result = tune(request(cells, None, study="s", max_trials=1, **asked), heard.append)
    assert result.winner.recipe.backbone == BACKBONE
    assert {t.outcome for t in result.trials} == {"complete"}
    assert json.loads(_study(result.folder).user_attrs["space"])["backbones"] == [BACKBONE]
    assert any(p.says.startswith("resnet50 is left out: at 64 px it breaks the limits, artifact_mb by ") for p in heard)


def test_weights_that_do_not_fit_are_bad_input(cells: Path, weights: Path, tmp_path: Path) -> None:
    (tmp_path / "resnet18.pth").write_bytes((weights / f"{BACKBONE}.pth").read_bytes())
    with pytest.raises(InvalidInput, match="does not fit the model"):
        tune(request(cells, tmp_path, backbones=("resnet18",)))


def test_images_that_a_budget_cannot_look_at_once_are_refused_in_time(
    cells: Path, weights: Path, tmp_path: Path
) -> None:
    table = tmp_path / "many.csv"
    rows = [f"{path},{path.parent.name},{i}" for i in range(40) for path in sorted(cells.rglob("*.png"))]
    table.write_text("path,label,copy\n" + "\n".join(rows))  # copies lie in one split, and are looked at all the same
    began = time.monotonic()
    with pytest.raises(InvalidInput, match="more with --budget"):
        tune(request(table, weights, resolutions=(288,), budget_s=40.0))
    assert time.monotonic() - began <= 40 * 1.05 + 5


def test_a_limit_that_comes_with_resume_is_measured_and_what_cannot_change_is_told(cells: Path, weights: Path) -> None:
    tune(request(cells, weights, study="s", max_trials=1))
    heard: list[Progress] = []
    limits = DeployLimits(max_latency_ms=0.001)
    advice = request(cells, weights, study="s", resume=True, limits=limits, backbones=("vgg16",), advised=True)
    with pytest.raises(NoFeasibleCandidate, match="latency_ms by"):
        tune(advice, heard.append)
    assert not [p.says for p in heard if "is not heard" in p.says]
    again = tune(
        request(
            cells,
            weights,
            study="s",
            resume=True,
            max_trials=1,
            freezes=("none",),
            resolutions=(96,),
            backbones=("resnet18",),
        ),
        heard.append,
    )
    assert again.winner.recipe.freeze != "none"
    said = " ".join(p.says for p in heard)
    assert "head, last-1: --freeze is not heard" in said
    assert "64: --resolution is not heard" in said
    assert f"{BACKBONE}: --backbones is not heard" in said
    with pytest.raises(InvalidInput, match="random_init"):
        tune(request(cells, None, study="s", resume=True, random_init=True))


def test_resume_under_a_tighter_limit_hands_over_what_keeps_it(cells: Path, weights: Path) -> None:
    former = tune(request(cells, weights, study="s", max_trials=1, freezes=("head",), resolutions=(64, 96)))
    study = _study(former.folder)
    (done,) = study.get_trials(states=(TrialState.COMPLETE,))
    for resolution, value in ((96, 0.999), (64, 0.99)):  # of another host: their weights and results are not here
        params = {**done.params, "resolution": resolution, "augmentation": "flip", "epochs": 3}
        attrs = {"outcome": "complete", "predict_views": 2, "adjustment": [9.0] * 4, "adjustment_one_view": [0.1] * 4}
        study.add_trial(
            optuna.create_trial(value=value, params=params, distributions=done.distributions, user_attrs=attrs)
        )
    number = study.trials[-1].number
    limits = DeployLimits(max_latency_ms=1.5, latency_ms={f"{BACKBONE}@64": 1.0, f"{BACKBONE}@96": 2.0})
    winner = tune(request(cells, weights, study="s", resume=True, max_trials=1, limits=limits)).winner
    assert (winner.trial, winner.recipe.resolution, winner.predict_views) == (number, 64, 1)
    views = json.loads((winner.folder / "preprocessing.json").read_text())["views"]
    assert views["count"] == 1
    assert set(winner.result["adjustment"].values()) == {0.1}  # what was fitted on one view


def command(data: Path, weights: Path, *more: str) -> list[str]:
    return [
        sys.executable,
        "-c",
        "from selector.cli.main import main; main()",
        *("tune", str(data), "--backbones", BACKBONE, "--weights", str(weights), "--resolution", "64"),
        *("--freeze", "head", "--study", "s", "--json", *more),
    ]


def test_after_kill_9_of_everything_resume_loses_the_running_trial_alone(
    cells: Path, weights: Path, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    folder = home / "studies" / "s"
    with subprocess.Popen(
        command(cells, weights, "--budget", "300s"), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        finished = _wait_for_trials(folder, 2)
        workers = psutil.Process(process.pid).children(recursive=True)
        os.kill(process.pid, signal.SIGKILL)
    _, alive = psutil.wait_procs(workers, timeout=20)
    assert not alive
    done = subprocess.run(
        command(cells, weights, "--budget", "60s", "--resume", "--max-trials", "2"), capture_output=True, check=False
    )
    assert done.returncode == 0, done.stderr.decode()
    document = json.loads(done.stdout)
    outcomes = {trial["number"]: trial["outcome"] for trial in document["trials"]}
    assert all(outcomes[number] == "complete" for number in finished)
    trials = _study(folder).trials
    assert not [t for t in trials if t.state == TrialState.RUNNING]
    lost = [t for t in trials if t.state == TrialState.FAIL]
    assert len(lost) <= 1
    for trial in lost:  # tried again, or queued to be
        again = [t.params or t.system_attrs["fixed_params"] for t in trials if t.number > trial.number]
        assert any(trial.params.items() <= params.items() for params in again)


def _study(folder: Path) -> optuna.Study:
    return optuna.load_study(study_name="s", storage=open_storage(None, folder))


def _wait_for_trials(folder: Path, count: int) -> list[int]:
    """Wait until `count` trials are complete and another one runs; the complete ones."""
    for _ in range(1200):
        time.sleep(0.1)
        if (folder / "study.json").is_file():
            trials = _study(folder).trials
            complete = [t.number for t in trials if t.state == TrialState.COMPLETE]
            if len(complete) >= count and any(t.state == TrialState.RUNNING for t in trials):
                return complete
    raise AssertionError("the search never got so far")


@pytest.fixture
def postgresql() -> tuple[str, list[str]]:
    url, control = os.environ.get("SELECTOR_TEST_POSTGRESQL"), os.environ.get("SELECTOR_TEST_POSTGRESQL_CTL")
    if not url or not control:
        pytest.skip("SELECTOR_TEST_POSTGRESQL and SELECTOR_TEST_POSTGRESQL_CTL name no server")
    words = control.split()
    if os.geteuid() == 0:
        words = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups", *words]
    return url, words


def test_two_workers_live_through_a_restart_of_the_database(
    cells: Path, weights: Path, postgresql: tuple[str, list[str]]
) -> None:
    url, control = postgresql
    name = f"restart-{time.time_ns()}"
    restarted: list[int] = []

    def restart(progress: Progress) -> None:
        if progress.phase == "search" and progress.best is not None and not restarted:
            restarted.append(subprocess.run([*control, "-m", "fast", "-w", "restart"], check=False).returncode)

    result = tune(
        request(cells, weights, freezes=("head",), storage=url, study=name, workers=min(2, _cores()), max_trials=4),
        restart,
    )
    assert restarted == [0]
    assert result.winner.result["latency_ms"]["threads"] == _cores()  # the winner has the whole machine
    study = optuna.load_study(study_name=name, storage=open_storage(url, result.folder))
    assert not [t for t in study.trials if t.state == TrialState.RUNNING]
    assert len([t for t in study.trials if t.state in (TrialState.COMPLETE, TrialState.PRUNED)]) >= 4
    optuna.delete_study(study_name=name, storage=open_storage(url, result.folder))


def _cores() -> int:
    return len(os.sched_getaffinity(0))


def test_a_search_without_a_single_result_is_a_failure_with_its_reasons(cells: Path, weights: Path) -> None:
    # caching and training cannot fit: the reserve of the winner leaves no second for the search
    with pytest.raises(MeasurementFailed, match="no trial could be completed"):
        tune(request(cells, weights, budget_s=20.0, freezes=("none",), resolutions=(224,)))
