"""Runtimes that take turns in one session, and what becomes of one does not touch the others."""

import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from session_parts import QUICK, Ear, fake, session

from selector.profiling import workers
from selector.profiling.jobs import InferenceJob, Job


@pytest.fixture(autouse=True)
def _home(home: Path) -> None:
    pass


def test_runtimes_take_turns_and_whoever_waits_is_stopped(fakes: None, own_home: Path) -> None:
    told: list[str] = []
    processes: list[int] = []

    class Watching(Ear):
        def at(self, job: Job, doing: str, progress: float) -> None:
            super().at(job, doing, progress)
            if not progress:
                return
            told.append(job.runtime)
            running = psutil.Process().children(recursive=True)
            processes.append(len(running))
            until = time.monotonic() + 10  # the kernel stops a process when it is next its turn to run
            while time.monotonic() < until and running:
                running = [process for process in running if process.status() != psutil.STATUS_STOPPED]
            assert not running

    made = session(settings=replace(QUICK, min_windows=8))  # enough for eight turns, however soon they settle
    made.listener = Watching()
    made.run([fake(name, runtime) for runtime in ("busy-wait", "nothing") for name in ("resnet18", "resnet50")])
    assert made.failures == []
    assert max(processes) == 6  # two workers, and the process of each model
    # from the first window of the second on, each runtime's two models have had two windows after four
    both = told[told.index("nothing") :][:8]
    assert [both[i : i + 4].count("nothing") for i in (0, 4)] == [2, 2]


def test_every_misfortune_beside_another_runtime_is_an_outcome_and_the_rest_goes_on(
    fakes: None, own_home: Path
) -> None:
    doomed = ["resnet26", "resnet18d", "resnet34d"]
    made = session(patience_s=3)
    made.run([fake(name, runtime) for runtime in ("misfortune", "nothing") for name in [*doomed, "resnet50"]])
    assert {(f.job.runtime, f.job.backbone): f.outcome for f in made.failures} == {  # type: ignore[union-attr]
        ("misfortune", "resnet26"): "crashed",
        ("misfortune", "resnet18d"): "killed",
        ("misfortune", "resnet34d"): "hung",
    }
    measured = [(r.conditions.runtime, r.conditions.backbone) for r in made.records if "p50" in r.figure.metric.name]
    assert sorted(measured) == sorted([("misfortune", "resnet50"), *(("nothing", n) for n in [*doomed, "resnet50"])])
    assert isinstance(made.listener, Ear)
    assert made.listener.steps == made.listener.total


def test_models_that_find_no_room_beside_another_runtimes_are_measured_alone(fakes: None, own_home: Path) -> None:
    made = session()
    jobs = [fake("resnet18", name) for name in ("crowded", "crowded-together")]
    made.run(jobs)
    assert made.failures == []
    for metric in ("latency_ms_p50", "first_inference_ms"):
        assert sorted(str(r.conditions.runtime) for r in made.records if r.figure.metric.name == metric) == sorted(
            job.runtime for job in jobs
        )
    assert isinstance(made.listener, Ear)
    assert made.listener.steps == made.listener.total


def test_a_worker_that_is_killed_while_another_runs_is_an_outcome(fakes: None, own_home: Path) -> None:
    """It is stopped then, and its end is seen when it is let on."""
    killed: list[int] = []

    class Killing(Ear):
        def at(self, job: Job, doing: str, progress: float) -> None:
            super().at(job, doing, progress)
            if progress and job.runtime == "nothing" and not killed:
                first = min(psutil.Process().children(), key=psutil.Process.create_time)
                killed.append(first.pid)
                first.kill()

    made = session()
    made.listener = Killing()
    names = ("resnet18", "resnet50")
    made.run([fake(name, runtime) for runtime in ("busy-wait", "nothing") for name in names])
    assert killed
    (failure,) = made.failures
    assert (failure.job.runtime, failure.outcome) == ("busy-wait", "killed")
    assert isinstance(failure.job, InferenceJob)
    measured = [(r.conditions.runtime, r.conditions.backbone) for r in made.records if "p50" in r.figure.metric.name]
    left = set(names) - {failure.job.backbone}
    assert sorted(measured) == sorted([*(("busy-wait", name) for name in left), *(("nothing", name) for name in names)])


def test_a_runtime_that_waits_for_its_turn_longer_than_any_patience_is_not_called_hung(
    fakes: None, own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "GRACE_S", 0.0)
    slept: list[Job] = []

    class Slow(Ear):
        def at(self, job: Job, doing: str, progress: float) -> None:
            super().at(job, doing, progress)
            if progress and job.runtime == "nothing" and len(slept) < 1:
                slept.append(job)
                time.sleep(5)  # as long as many windows of other models take

    made = session(patience_s=4)
    made.listener = Slow()
    made.run([fake("resnet18", runtime) for runtime in ("busy-wait", "nothing")])
    assert slept
    assert made.failures == []
