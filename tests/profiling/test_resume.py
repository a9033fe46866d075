import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from process_checks import ends
from session_parts import QUICK, Ear, fake, medians

from selector.evidence.record import FreezePoint, Record
from selector.evidence.store import open_store
from selector.hardware.machine import detect
from selector.profiling.jobs import InferenceJob, Job, ThroughputJob, TrainingJob
from selector.profiling.machine_pace import Paces
from selector.profiling.machine_state import MachineStates
from selector.profiling.material import Material
from selector.profiling.measurement import Measurement, OwnPace
from selector.profiling.pace import Sensitivity
from selector.profiling.results import ColdResult, Rate, Scribe, TrainingResult
from selector.profiling.resume import COLD, MAX_AGE, Kept, find_kept
from selector.profiling.runtimes import runtime
from selector.profiling.session import Session, Thoroughness

SCRIBE = Scribe("0123456789ab")
JOB = InferenceJob("resnet18", "onnxruntime", "fp32", 224, 1)
LOSSY_JOB = replace(JOB, precision="int8-static")
TRAINED = TrainingJob("resnet18", FreezePoint("head", 9, 9), "fp32", 224, 1, 8)
FIGURE = Measurement(2.0, 1.9, 2.1, 2.2, 64, 6, 9, True, None)
FIRST = ColdResult(10.0, 5.0, 10**8, 10**7)


def records(
    job: Job, *results: ColdResult | Measurement | Rate | TrainingResult, scribe: Scribe = SCRIBE
) -> list[Record]:
    version = runtime("torch-eager" if isinstance(job, TrainingJob) else job.runtime).version()
    return [record for result in results for record in scribe.records(job, version, result)]


def kept_of(jobs: Sequence[Job], stored: Sequence[Record], scribe: Scribe, **rest: Any) -> Kept:
    return find_kept(jobs, stored, scribe, Paces(detect()), MachineStates(detect()), **rest)


def test_what_is_there_is_kept_part_by_part() -> None:
    assert kept_of([JOB], [], SCRIBE).parts == 0
    first = kept_of([JOB], records(JOB, FIRST), SCRIBE)
    assert first.cold == {JOB}
    assert not first.steady
    both = kept_of([JOB], records(JOB, FIRST, FIGURE), SCRIBE)
    assert both.cold == both.steady == {JOB}
    assert len(both.records) == 4 + 2
    step = records(TRAINED, TrainingResult(FIGURE, 1.0, 10, 10))
    trained = kept_of([TRAINED], step, SCRIBE)
    assert trained.trained == {TRAINED}
    assert set(trained.records) == set(step)
    assert not kept_of([replace(TRAINED, precision="amp")], step, SCRIBE).trained
    assert not kept_of([replace(TRAINED, batch_size=4)], step, SCRIBE).trained


def test_a_latency_without_a_p90_is_measured_again_where_one_is_asked_for() -> None:
    without = records(JOB, replace(FIGURE, p50=40.0, low=39.0, high=41.0, p90=None, n=18))
    assert kept_of([JOB], without, SCRIBE).steady == {JOB}  # its samples would take longer than a second
    assert not kept_of([JOB], without, SCRIBE, tail_budget_s=4.0).steady
    assert kept_of([JOB], records(JOB, FIGURE), SCRIBE, tail_budget_s=3.0).steady == {JOB}


def test_a_p90_of_another_run_than_its_median_is_none() -> None:
    former = records(JOB, replace(FIGURE, p50=40.0, low=39.0, high=41.0, p90=44.0))
    later = [
        replace(r, recorded_at=r.recorded_at + timedelta(minutes=5))
        for r in records(JOB, replace(FIGURE, p50=60.0, low=59.0, high=61.0, p90=None, n=18))
    ]
    kept = kept_of([JOB], [*former, *later], SCRIBE)
    assert [r.figure.value for r in kept.records if "p" in r.figure.metric.name] == [60.0]
    assert not kept_of([JOB], [*former, *later], SCRIBE, tail_budget_s=15.0).steady


def test_figures_of_a_slower_state_are_measured_again_once_a_faster_one_is_known(own_home: Path) -> None:
    none = Sensitivity((0.0, 0.0), ((0.0, 0.0), (0.0, 0.0)))

    def timed(block_ms: float, slowed: float = 1.0) -> Measurement:
        pace = (0.10 * slowed, 0.30 * slowed)
        return replace(FIGURE, pace=OwnPace(pace, none, 2.0, 2.2, reference=(0.10, 0.30), state=(block_ms,)))

    paces, states = Paces(detect()), MachineStates(detect())
    paces.of(JOB).hear((0.10, 0.30, 0.40))
    paces.of(JOB).reference()
    slow, slowed = records(JOB, timed(0.40)), records(JOB, timed(0.31, slowed=1.2))
    assert kept_of([JOB], slow, SCRIBE).steady == {JOB}  # nothing else is known
    assert states.of(JOB).judged(timed(0.24)).stable
    assert kept_of([JOB], slow, SCRIBE).steady == frozenset()
    assert kept_of([JOB], slowed, SCRIBE).steady == {JOB}  # all computing was slower then
    assert kept_of([JOB], records(JOB, timed(0.24)), SCRIBE).steady == {JOB}


def test_what_ran_to_its_deadline_is_not_measured_again_for_a_p90() -> None:
    late = replace(FIGURE, p50=230.0, low=200.0, high=260.0, p90=None, n=42, stable=False, reason="late")
    assert kept_of([JOB], records(JOB, late), SCRIBE, tail_budget_s=15.0).steady == {JOB}


def test_half_of_a_measurement_is_none() -> None:
    whole = records(JOB, FIRST)
    for i in range(len(whole)):
        assert not kept_of([JOB], whole[:i] + whole[i + 1 :], SCRIBE).cold


def test_training_and_inference_in_mixed_precision_are_two_things() -> None:
    mixed, trained = InferenceJob("resnet18", "torch-eager", "amp", 224, 1), replace(TRAINED, precision="amp")
    agreed = replace(FIRST, agreement_top1=99.0, cosine_logits=0.99)
    step = records(trained, TrainingResult(FIGURE, 1.0, 10, 10))
    kept = kept_of([mixed, trained], [*step, *records(mixed, agreed)], SCRIBE)
    assert (kept.cold, kept.steady, kept.trained) == ({mixed}, frozenset(), {trained})
    assert not kept_of([mixed], step, SCRIBE).parts
    assert not kept_of([mixed], records(mixed, FIRST, FIGURE), SCRIBE).cold  # without its agreement


@pytest.mark.parametrize(
    "change",
    [
        {"fingerprint": "ba9876543210"},
        {"protocol": "1"},
        {"conditions": replace(records(JOB, FIGURE)[0].conditions, threads=2)},
        {"conditions": replace(records(JOB, FIGURE)[0].conditions, runtime_version="0.1")},
    ],
)
def test_figures_of_other_conditions_are_measured_again(change: dict[str, object]) -> None:
    others = [replace(record, **change) for record in records(JOB, FIGURE)]  # type: ignore[arg-type]
    assert kept_of([JOB], others, SCRIBE).parts == 0


def test_old_figures_are_measured_again() -> None:
    found = records(JOB, FIGURE)
    at = found[0].recorded_at
    assert kept_of([JOB], found, SCRIBE, now=at + MAX_AGE - timedelta(minutes=1)).steady == {JOB}
    assert kept_of([JOB], found, SCRIBE, now=at + MAX_AGE + timedelta(minutes=1)).parts == 0


def test_figures_of_other_weights_are_measured_again() -> None:
    others = [
        replace(r, figure=replace(r.figure, source=r.figure.source.replace("seeded random weights", "weights of x")))
        for r in records(JOB, FIRST, FIGURE)
    ]
    assert kept_of([JOB], others, SCRIBE).parts == 0


def test_a_lossy_precision_is_kept_with_its_agreement_alone() -> None:
    assert not kept_of([LOSSY_JOB], records(LOSSY_JOB, FIRST), SCRIBE).cold
    agreed = replace(FIRST, agreement_top1=99.0, cosine_logits=0.99)
    kept = kept_of([LOSSY_JOB], records(LOSSY_JOB, agreed), SCRIBE)
    assert kept.cold == {LOSSY_JOB}
    assert len(kept.records) == 6


def images(folder: Path, seed: int) -> Path:
    random = np.random.default_rng(seed)
    folder.mkdir()
    for i in range(5):
        Image.fromarray(random.integers(0, 255, (16, 16, 3), dtype=np.uint8)).save(folder / f"{i}.png")
    return folder


def test_figures_of_another_calibration_are_measured_again(tmp_path: Path) -> None:
    one = Scribe("0123456789ab", Material(images=images(tmp_path / "one", 1)))
    two = Scribe("0123456789ab", Material(images=images(tmp_path / "two", 2)))
    rated = ThroughputJob("resnet18", "onnxruntime", "int8-static", 224, 1)
    agreed = replace(FIRST, agreement_top1=99.0, cosine_logits=0.99)
    stored = [*records(LOSSY_JOB, agreed, FIGURE, scribe=one), *records(rated, Rate(4, FIGURE), scribe=one)]
    jobs: list[Job] = [LOSSY_JOB, rated]
    kept = kept_of(jobs, stored, one)
    assert kept.cold == kept.steady == {LOSSY_JOB}
    assert [(job, size) for job, size, _ in kept.rates] == [(rated, 4)]
    for other in (two, SCRIBE):
        assert kept_of(jobs, stored, other).parts == 0
    # nothing else is calibrated: another folder changes no fp32 figure
    plain = [JOB, replace(rated, precision="fp32")]
    stored = [*records(JOB, FIRST, FIGURE, scribe=one), *records(plain[1], Rate(4, FIGURE), scribe=one)]
    assert kept_of(plain, stored, two).parts == 3


def run(jobs: Sequence[Job], stored: Sequence[Record]) -> Session:
    made = Session(detect(), lambda records: None, Ear(), Thoroughness(QUICK, QUICK, QUICK, 100.0))
    made.resume(jobs, stored)
    made.run(jobs)
    return made


def test_only_what_is_missing_is_measured(fakes: None, own_home: Path) -> None:
    jobs = [fake("resnet18", "busy-wait"), fake("resnet50", "nothing")]
    first = run(jobs, [])
    missing = [
        r for r in first.records if r.figure.metric.name == "latency_ms_p50" and r.conditions.runtime == "nothing"
    ]
    missing += [r for r in first.records if r.figure.metric.name in COLD and r.conditions.runtime == "busy-wait"]
    again = run(jobs, [r for r in first.records if r not in missing])
    old = set(map(id, first.records))
    new = [r for r in again.records if id(r) not in old]
    assert Counter(r.figure.metric.name for r in new if "p90" not in r.figure.metric.name) == Counter(
        [r.figure.metric.name for r in missing]
    )
    assert isinstance(again.listener, Ear)
    assert again.listener.steps == again.listener.total == 2 + 2  # files, a latency, first moments


def test_nothing_is_started_where_nothing_is_missing(
    fakes: None, own_home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = [fake("resnet18", "busy-wait")]
    first = run(jobs, [])
    monkeypatch.setattr("selector.profiling.session.run_worker", lambda task: pytest.fail("a worker was started"))
    assert run(jobs, first.records).records == first.records


RUN = """
import sys
sys.path[:0] = sys.argv[1].split(":")
import psutil, test_resume as t
from selector.profiling import runtimes
runtimes.RUNTIMES["busy-wait"] = "fake_runtimes:BusyWait"
t.broken_run(open(sys.argv[2], "a", buffering=1))
"""
NAMES = ("resnet18", "resnet26", "resnet34", "resnet50", "resnet101", "vgg11", "vgg16", "efficientnet_b0")


def broken_run(log: object) -> None:
    """In a process that will be killed: measure, keep, and write down what is safe, after it is."""
    import psutil

    jobs: list[Job] = [fake(name, "busy-wait") for name in NAMES]
    with open_store() as store:

        def keep(found: Sequence[Record]) -> None:
            store.add(found)
            for record in found:
                print("kept", record.conditions.backbone, record.figure.metric.name, record.figure.value, file=log)  # type: ignore[call-overload]
            for worker in psutil.Process().children(recursive=True):
                print("worker", worker.pid, file=log)  # type: ignore[call-overload]

        made = Session(detect(), keep, Ear(), Thoroughness(QUICK, QUICK, QUICK, 100.0))
        made.resume(jobs, store.records())
        print("started", file=log)  # type: ignore[call-overload]
        made.run(jobs)


def test_ten_kills_at_random_moments_lose_nothing_and_leave_nothing_half(
    fakes: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SELECTOR_HOME", str(tmp_path / "home"))
    moments = random.Random(7)
    log = tmp_path / "log"
    log.touch()
    arguments = [sys.executable, "-c", RUN, str(Path(__file__).parent), str(log)]
    for kill in range(1, 12):
        process = subprocess.Popen(arguments, stderr=subprocess.PIPE)
        deadline = time.monotonic() + 60
        while log.read_text().count("started") < kill and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        try:
            # the eleventh is let go on to its end
            process.communicate(timeout=moments.uniform(0.0, 1.0) if kill <= 10 else 100)
        except subprocess.TimeoutExpired:
            os.kill(process.pid, signal.SIGKILL)
            process.communicate()
        lines = log.read_text().splitlines()
        written = {(n, m, float(v)) for n, m, v in (line.split()[1:] for line in lines if line.startswith("kept"))}
        with open_store() as store:
            stored = store.records()
        held = [(r.conditions.backbone, r.figure.metric.name, r.figure.value) for r in stored]
        assert written <= set(held), "a finished measurement was lost"
        assert len({(name, metric) for name, metric, _ in held}) == len(held), "one is there twice"
        for name in NAMES:
            own = {metric for other, metric, _ in held if other == name}
            assert own & COLD in (set(), COLD), "one is there by half"
        assert all(ends(int(line.split()[1])) for line in lines if line.startswith("worker"))
    assert process.returncode == 0
    assert set(medians(stored)) == set(NAMES)
    assert len(held) >= 5 * len(NAMES)
    assert lines.count("started") == 11
