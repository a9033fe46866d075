import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Sequence
from pathlib import Path

import psutil
import pytest
from process_checks import ends
from session_parts import SMALL, Ear, fake, medians, session

from selector.evidence.record import FreezePoint, Record
from selector.evidence.store import open_store
from selector.profiling import forks
from selector.profiling.jobs import InferenceJob, TrainingJob
from selector.profiling.protocol import PROTOCOL_VERSION
from selector.profiling.runtimes.export import recipe
from selector.profiling.runtimes.graph_files import bytes_of


@pytest.fixture(autouse=True)
def _home(home: Path) -> None:
    pass


def test_every_misfortune_is_an_outcome_and_the_rest_goes_on(fakes: None, own_home: Path) -> None:
    doomed = ["resnet18", "resnet26", "resnet34", "resnet18d", "resnet26d", "resnet34d"]
    jobs = [fake(name, "misfortune") for name in [*doomed, "resnet50", "resnet101"]]
    made = session(patience_s=3)
    made.run(jobs)
    outcomes = {failure.job.backbone: failure.outcome for failure in made.failures}
    assert outcomes == {
        "resnet18": "out-of-memory",
        "resnet26": "crashed",
        "resnet34": "hung",
        "resnet18d": "killed",
        "resnet26d": "failed",
        "resnet34d": "hung",
    }
    assert set(medians(made.records)) == {"resnet50", "resnet101"}
    details = {failure.job.backbone: failure.detail for failure in made.failures}
    assert details["resnet26d"] == "ValueError: a kernel refused"
    assert "SIGSEGV" in details["resnet26"]
    # what was measured before a worker died is measured once
    firsts = [r.conditions.backbone for r in made.records if r.figure.metric.name == "first_inference_ms"]
    assert sorted(firsts) == ["resnet101", "resnet18d", "resnet26d", "resnet34d", "resnet50"]
    assert isinstance(made.listener, Ear)
    assert made.listener.steps == made.listener.total


def test_the_process_of_a_model_may_be_killed_between_its_turns(fakes: None, own_home: Path) -> None:
    """Both are killed from without: what one of them had brought is kept, the other one's end is told."""
    workers: set[int] = set()

    def killing(records: Sequence[Record]) -> None:
        (worker,) = psutil.Process().children()
        workers.add(worker.pid)
        if medians(records):
            for model in worker.children():
                model.kill()

    made = session(killing)
    names = {"resnet18", "resnet50"}
    made.run([fake(name, "busy-wait") for name in sorted(names)])
    (measured,) = medians(made.records)
    assert [(f.job.backbone, f.outcome) for f in made.failures] == [(*(names - {measured}), "killed")]
    assert len(workers) == 1


@pytest.mark.parametrize(
    ("runtime", "names"),
    [("crowded-together", ("resnet18", "resnet50")), ("crowded", ("resnet18", "resnet50", "resnet101"))],
    ids=["side by side", "a process each"],
)
def test_models_that_find_no_room_beside_others_are_measured_alone(
    fakes: None, own_home: Path, runtime: str, names: tuple[str, ...]
) -> None:
    made = session()
    made.run([fake(name, runtime) for name in names])
    assert made.failures == []
    assert set(medians(made.records)) == set(names)
    firsts = [r.conditions.backbone for r in made.records if r.figure.metric.name == "first_inference_ms"]
    assert sorted(firsts) == sorted(names)
    assert isinstance(made.listener, Ear)
    assert made.listener.steps == made.listener.total


def test_where_the_kernel_kills_a_worker_for_memory_its_models_are_measured_alone(
    fakes: None, own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = forks.out_of_memory_kills
    # the one thing that cannot be had here: the kernel's count goes up with each kill, as if it had killed for memory
    monkeypatch.setattr(forks, "out_of_memory_kills", lambda: (counted() or 0) + 1)
    made = session()
    names = ("resnet18", "resnet50", "resnet101")
    made.run([fake(name, "crowded-to-death") for name in names])
    assert made.failures == []
    assert set(medians(made.records)) == set(names)
    assert isinstance(made.listener, Ear)
    assert made.listener.steps == made.listener.total


def test_a_worker_that_dies_of_each_measured_model_takes_no_other_with_it(fakes: None, own_home: Path) -> None:
    made = session()
    names = ("resnet18", "resnet26", "resnet34", "resnet50")
    made.run([fake(name, "dies-letting-go") for name in names])
    assert made.failures == []
    assert set(medians(made.records)) == set(names)


def test_a_model_that_is_loaded_for_its_first_moments_alone_is_let_go_of_in_order(fakes: None, own_home: Path) -> None:
    made = session()
    made.run([fake("resnet18", "keeps-compiled"), fake("resnet50", "keeps-compiled")])
    assert made.failures == []
    kept = (own_home / "kernels").read_text().split()
    assert kept[:4:2] == ["resnet18", "resnet50"]  # each in its fork …
    assert sorted(kept[4::2]) == ["resnet18", "resnet50"]  # … then once more in the worker
    assert len(set(kept[1::2])) == 3


def test_a_known_time_comes_out_and_progress_adds_up(fakes: None, own_home: Path) -> None:
    made = session()
    made.run([fake("resnet18", "busy-wait"), fake("resnet50", "nothing")])
    found = medians(made.records)
    assert found["resnet18"] >= 1.0  # it cannot be faster than it waits
    assert found["resnet50"] < found["resnet18"]
    assert isinstance(made.listener, Ear)
    assert made.listener.steps == made.listener.total == 6
    assert made.timed_s > 0


def test_nothing_runs_while_a_figure_is_stored(fakes: None, own_home: Path) -> None:
    used: list[float] = []

    def slow(records: Sequence[Record]) -> None:
        workers = psutil.Process().children(recursive=True)  # the worker, and the process of each model
        before = sum(sum(worker.cpu_times()[:2]) for worker in workers)
        time.sleep(0.3)
        used.append(sum(sum(worker.cpu_times()[:2]) for worker in workers) - before)

    session(slow).run([fake("resnet18", "busy-wait"), fake("resnet26", "busy-wait")])
    assert len(used) == 4
    assert max(used) < 0.15


def test_an_interruption_ends_the_worker_and_keeps_what_is_there(fakes: None, own_home: Path) -> None:
    kept: list[Record] = []

    def interrupted(records: Sequence[Record]) -> None:
        kept.extend(records)
        if medians(kept):
            raise KeyboardInterrupt

    made = session(interrupted)
    with pytest.raises(KeyboardInterrupt):
        made.run([fake(name, runtime) for name in ("resnet18", "resnet26") for runtime in ("busy-wait", "nothing")])
    assert len(medians(kept)) == 1
    assert not psutil.Process().children()


def test_a_killed_run_leaves_its_finished_figures_in_the_store(fakes: None, own_home: Path) -> None:
    script = textwrap.dedent(
        """
        import os, signal, sys
        sys.path[:0] = sys.argv[1].split(":")
        import psutil, test_session as t
        from selector.evidence.store import open_store
        from selector.profiling import runtimes
        runtimes.RUNTIMES["busy-wait"] = "fake_runtimes:BusyWait"
        with open_store() as store:
            stored = []
            def keep(records):
                if len(t.medians(stored)) == 2:
                    print(*(p.pid for p in psutil.Process().children(recursive=True)), flush=True)
                    os.kill(os.getpid(), signal.SIGKILL)
                store.add(records)
                stored.extend(records)
                print(len(stored), flush=True)
            t.session(keep).run([t.fake(n, "busy-wait") for n in ("resnet18", "resnet26", "resnet34")])
        """
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(Path(__file__).parent)], capture_output=True, text=True, timeout=100
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    *lines, processes = done.stdout.splitlines()
    counts, workers = list(map(int, lines)), list(map(int, processes.split()))
    with open_store() as store:
        records = store.records()
    assert len(records) == counts[-1]
    assert len(medians(records)) == 2
    assert len({(r.conditions, r.figure.metric) for r in records}) == len(records)
    assert len(workers) > 1
    assert all(ends(worker) for worker in workers)


def test_real_runtimes_give_every_figure_once() -> None:
    made = session()
    made.run([InferenceJob(SMALL, name, "fp32", 64, 1) for name in ("torch-eager", "onnxruntime")])
    assert made.failures == []
    for name in ("torch-eager", "onnxruntime"):
        own = [r for r in made.records if r.conditions.runtime == name]
        assert sorted(r.figure.metric.name for r in own if "p90" not in r.figure.metric.name) == [
            "artifact_bytes",
            "first_inference_ms",
            "latency_ms_p50",
            "load_ms",
            "memory_rss_peak_bytes",
        ]
        assert all(r.figure.value > 0 for r in own)
        assert {r.protocol for r in own} == {PROTOCOL_VERSION}
        assert {r.fingerprint for r in own} == {made.fingerprint}
        assert all("random weights" in r.figure.source for r in own)
        (median,) = (r for r in own if r.figure.metric.name == "latency_ms_p50")
        assert median.figure.low is not None
        assert median.figure.high is not None
        assert median.figure.low <= median.figure.value <= median.figure.high
    sizes = {r.conditions.runtime: r.figure.value for r in made.records if r.figure.metric.name == "artifact_bytes"}
    assert sizes["onnxruntime"] == bytes_of(recipe("onnx", SMALL, resolution=64).path)


def test_training_costs_less_the_more_is_frozen() -> None:
    made = session()
    points = [FreezePoint("none", 0, 13), FreezePoint("last-3", 10, 13), FreezePoint("head", 13, 13)]
    made.run([TrainingJob(SMALL, point, "fp32", 64, 1, 4) for point in points])
    assert made.failures == []
    trainable = [r.figure.value for r in made.records if r.figure.metric.name == "params_trainable"]
    memory = [r.figure.value for r in made.records if r.figure.metric.name == "train_memory_rss_peak_bytes"]
    assert trainable == sorted(trainable, reverse=True)
    assert trainable[-1] == 1024 * 1000 + 1000  # the classifier alone
    assert memory[0] > memory[-1]
    depths = [r.conditions.freeze for r in made.records if r.figure.metric.name == "train_step_ms"]
    assert depths == points
    backward = [r.figure.value for r in made.records if r.figure.metric.name == "macs_backward"]
    assert backward == sorted(backward, reverse=True)
    assert backward[-1] == 1024 * 1000  # the classifier's weight gradient
    cached = [r for r in made.records if r.figure.metric.name == "prefix_cache_bytes"]
    assert [r.conditions.freeze for r in cached] == points[1:]  # nothing is cached where nothing is frozen
    assert cached[-1].figure.value == 4 * 1024


def test_mixed_precision_trains_as_another_precision_and_any_other_is_refused() -> None:
    made = session()
    point = FreezePoint("head", 13, 13)
    made.run([TrainingJob(SMALL, point, precision, 64, 1, 4) for precision in ("amp", "int8-static")])
    (step,) = (r for r in made.records if r.figure.metric.name == "train_step_ms")
    assert step.conditions.precision == "amp"
    assert "autocast to bf16" in step.figure.source
    assert [(f.job.precision, f.outcome) for f in made.failures] == [("int8-static", "failed")]
    # what is counted is of the network, whatever it is trained in
    assert "macs_backward" in {r.figure.metric.name for r in made.records}


def test_a_disk_that_takes_no_model_file_fails_its_configurations_alone(own_home: Path) -> None:
    own_home.mkdir()
    (own_home / "cache").write_text("a file where a folder has to be")
    made = session()
    made.run([InferenceJob(SMALL, "onnxruntime", "fp32", 64, 1)])
    assert [f.outcome for f in made.failures] == ["failed"]
    assert isinstance(made.listener, Ear)
    assert made.listener.steps == made.listener.total
    assert os.listdir(own_home) == ["cache"]
