"""Worker processes: whatever becomes of a job, there is an outcome and the next one is done."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from selector.backbones.depth import FreezeDepth
from selector.tuning.data.dataset import load_dataset
from selector.tuning.jobs.common import Task, save_dataset
from selector.tuning.model import WeightsFrom, build, split_model
from selector.tuning.recipe import Recipe
from selector.tuning.search import worker as worker_module
from selector.tuning.search.crew import Crew, _Worker

from .conftest import BACKBONE, write_elpv

RECIPE = Recipe(BACKBONE, freeze="head", resolution=64, augmentation="none", epochs=3, lr=3e-3, head_factor=1.0)


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory, weights: Path) -> Task:
    folder = tmp_path_factory.mktemp("crew")
    write_elpv(folder / "data", 80)
    save_dataset(load_dataset(folder / "data"), folder / "data.json")
    return Task(folder, weights, False, folder / "activations", 10**9, 1)


@pytest.fixture(scope="module")
def crew(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Crew]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HUB_OFFLINE", "1")
        patch.delenv("SELECTOR_WEIGHTS", raising=False)
        with Crew(1, 1, tmp_path_factory.mktemp("logs")) as started:
            yield started


def perform(crew: Crew, task: Task, job: str, arguments: dict[str, Any]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    events: list[dict[str, Any]] = []
    return events, crew.perform(job, task, arguments, on_event=events.append)


def trial(task: Task, recipe: Recipe = RECIPE) -> dict[str, Any]:
    return {"recipe": recipe.as_json(), "seconds": 60.0, "folder": str(task.study / "trial"), "views_allowed": 1}


def test_a_trial_comes_back_with_scores_curve_and_weights(crew: Crew, task: Task) -> None:
    total = split_model(build(BACKBONE, 4, WeightsFrom(task.weights_folder)), FreezeDepth("head")).total_blocks
    _, filled = perform(crew, task, "fill", {"recipe": RECIPE.as_json(), "depths": [total], "seconds": 60.0})
    assert filled["kind"] == "done"
    events, ended = perform(crew, task, "trial", trial(task))
    assert ended["kind"] == "done", ended
    assert ended["result"]["cached"]
    assert 0 < ended["result"]["macro_f1"] <= 1
    assert len(ended["result"]["adjustment"]) == 4
    assert [e["event"] for e in events].count("epoch") == 3
    assert {f.name for f in (task.study / "trial").iterdir()} == {"state.safetensors", "validation.npy"}


def test_errors_divergence_and_missing_weights_are_outcomes(crew: Crew, task: Task, tmp_path: Path) -> None:
    _, wrong = perform(crew, task, "trial", trial(task, Recipe(BACKBONE, freeze="last-99", resolution=64)))
    assert wrong["kind"] == "failed"
    assert "last-99" in wrong["detail"]
    hot = Recipe(
        BACKBONE, freeze="head", resolution=64, augmentation="none", optimiser="sgd", lr=1e30, clip=1e30, epochs=3
    )
    assert perform(crew, task, "trial", trial(task, hot))[1]["kind"] == "diverged"
    bare = Task(task.study, tmp_path, False, task.cache_folder, task.cache_limit, 1)
    _, missing = perform(crew, bare, "screen", {"backbone": BACKBONE, "resolution": 64, "depths": []})
    assert missing["result"] == {"error": "WeightsUnavailable"}
    assert perform(crew, task, "trial", trial(task))[1]["kind"] == "done"


def test_an_inference_is_timed_on_all_cores_whatever_a_worker_has(crew: Crew, task: Task) -> None:
    arguments = {"backbone": BACKBONE, "resolutions": [64, 96]}
    _, ended = perform(crew, crew.alone(task), "latency", arguments)
    assert ended["kind"] == "done", ended
    assert ended["result"]["threads"] == len(os.sched_getaffinity(0))
    assert {place for place, ms in ended["result"]["latency_ms"].items() if ms > 0} == {
        f"{BACKBONE}@64",
        f"{BACKBONE}@96",
    }


def test_a_job_that_is_stopped_ends_at_once_and_the_next_one_is_done(crew: Crew, task: Task) -> None:
    long = Recipe(BACKBONE, freeze="none", resolution=64, augmentation="none", epochs=10_000)
    crew.order(0, "trial", task, trial(task, long))
    time.sleep(1.0)
    crew.stop(0)
    began = time.monotonic()
    ended = [e for e in _until_idle(crew) if e["event"] == "ended"]
    assert [e["kind"] for e in ended] == ["stopped"]
    assert time.monotonic() - began < 20
    crew.stop(0)  # of nothing: ignored
    assert perform(crew, task, "trial", trial(task))[1]["kind"] == "done"


def test_a_job_that_takes_longer_than_it_may_is_stopped(crew: Crew, task: Task) -> None:
    long = Recipe(BACKBONE, freeze="none", resolution=64, augmentation="none", epochs=10_000)
    began = time.monotonic()
    ended = crew.perform("trial", task, trial(task, long), on_event=lambda event: None, seconds=1.0)
    assert ended["kind"] == "stopped"
    assert 1.0 <= time.monotonic() - began < 20
    assert crew.perform("trial", task, trial(task), on_event=lambda event: None, seconds=600.0)["kind"] == "done"


def test_a_killed_worker_and_a_killed_job_are_outcomes_and_no_process_stays(crew: Crew, task: Task) -> None:
    long = Recipe(BACKBONE, freeze="none", resolution=64, augmentation="none", epochs=10_000)
    worker = psutil.Process(crew.pids()[0])
    job = _start(crew, worker, task, long)
    os.kill(job.pid, signal.SIGKILL)
    assert [e["kind"] for e in _until_idle(crew) if e["event"] == "ended"] == ["killed"]
    job = _start(crew, worker, task, long)
    os.kill(worker.pid, signal.SIGKILL)
    ended = [e for e in _until_idle(crew) if e["event"] == "ended"]
    assert [e["kind"] for e in ended] == ["killed"]
    psutil.wait_procs([job], timeout=20)
    assert not job.is_running() or job.status() == psutil.STATUS_ZOMBIE
    assert crew.pids()[0] != worker.pid
    assert perform(crew, task, "trial", trial(task))[1]["kind"] == "done"


def _start(crew: Crew, worker: psutil.Process, task: Task, recipe: Recipe) -> psutil.Process:
    before = {child.pid for child in worker.children()}  # the last job's process may still be ending
    crew.order(0, "trial", task, trial(task, recipe))
    for _ in range(600):
        if children := [child for child in worker.children() if child.pid not in before]:
            return children[0]
        time.sleep(0.05)
    raise AssertionError("the worker never started the job")


def _until_idle(crew: Crew) -> list[dict[str, Any]]:
    events: list[dict[str, Any]] = []
    while not crew.idle:
        events += [event for _, event in crew.hear(1.0)]
    return events


def test_half_a_line_of_a_job_that_was_killed_does_not_swallow_its_end(tmp_path: Path) -> None:
    with (tmp_path / "said").open("w", encoding="utf-8") as out:
        out.write('{"id": 7, "event": "ma')
        worker_module._write(out, {"id": 7, "event": "ended", "kind": "killed"}, begins="\n")
    says = f"print(open({str(tmp_path / 'said')!r}).read(), end='')"
    crew = Crew(1, 1, tmp_path / "logs")
    with subprocess.Popen([sys.executable, "-c", says], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        crew._workers = [_Worker(process, job=7)]
        assert crew.hear(20.0) == [(0, {"event": "ended", "kind": "killed"})]


def test_an_answer_that_names_a_file_whose_name_is_no_text_comes_as_it_is(tmp_path: Path) -> None:
    ended = {"event": "ended", "detail": os.fsdecode("模型.onnx".encode("gbk"))}
    with (tmp_path / "pipe").open("w", encoding="utf-8") as out:
        worker_module._write(out, ended)
    assert json.loads((tmp_path / "pipe").read_text(encoding="utf-8")) == ended
