"""The latencies of a session, at the pace that the machine keeps."""

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
from session_parts import QUICK, SMALL, fake, session

from selector.evidence.record import Record
from selector.profiling.jobs import InferenceJob
from selector.profiling.machine_pace import TOO_FAR
from selector.profiling.machine_state import SLOWER_STATE
from selector.profiling.results import AT_PACE
from selector.profiling.session import Session

# enough windows to speak of the pace; stable, whatever disturbs them
PACED = replace(QUICK, min_windows=8, disturbance=1.0, warmup_tolerance=100.0, tail_budget_s=0.0)


@pytest.fixture(autouse=True)
def _home(home: Path) -> None:
    pass


def test_a_latency_is_given_at_the_pace_that_the_machine_keeps(fakes: None, own_home: Path) -> None:
    """A model that is slowed as arithmetic is, and a reference at which that takes a million times as long as here."""

    def measured(runtime: str) -> tuple[Session, Record]:
        made = session(settings=PACED)
        made.run([fake("resnet18", runtime)])
        (p50,) = (r for r in made.records if r.figure.metric.name == "latency_ms_p50")
        return made, p50

    first, own = measured("paced")
    assert AT_PACE in own.figure.source
    place = first.paces.of(fake("resnet18", "paced")).place
    kept = json.loads(place.read_text())
    kept["reference"]["ms"] = [1e6 * ms for ms in kept["reference"]["ms"]]
    place.write_text(json.dumps(kept))
    second, moved = measured("paced")
    as_timed = re.search(r"as timed ([\d.]+) ms", moved.figure.source)
    assert as_timed is not None
    assert moved.figure.value > 1.2 * float(as_timed[1])
    assert moved.stable is False
    assert TOO_FAR in moved.figure.source
    (told,) = second.paces.as_json()
    assert told["kept"] == str(place)
    # what was measured too far away is measured again; a GPU's latency is what was timed
    assert not second.resume([fake("resnet18", "paced")], second.records).steady
    assert AT_PACE not in measured("paced-gpu")[1].figure.source


def test_a_runtimes_own_gauge_is_what_its_models_are_read_by(fakes: None, own_home: Path) -> None:
    job, other = fake("resnet18", "own-gauge"), fake("resnet18", "paced")
    made = session(settings=PACED)
    made.run([job, other])
    naps, usual = made.paces.of(job), made.paces.of(other)
    assert min(first for first, _ in naps.heard) > 2
    assert min(second for _, second in naps.heard) > 4
    assert {told["read_by"] for told in made.paces.as_json()} == {
        "a nap and a longer one on 1 thread",
        "workloads that compute and move data",
    }
    assert naps.place.exists()
    assert usual.place.exists()
    # each is held against its own reference
    naps.place.unlink()
    assert session(settings=PACED).resume([job, other], made.records).steady == {other}


def test_eager_mode_is_given_at_the_pace_of_its_blocks(own_home: Path) -> None:
    job = InferenceJob(SMALL, "torch-eager", "fp32", 64, 1)
    made = session(settings=PACED)
    made.run([job])
    (p50,) = (r for r in made.records if r.figure.metric.name == "latency_ms_p50")
    assert f"{AT_PACE} (an inverted residual block and a residual block take " in p50.figure.source
    (told,) = made.paces.as_json()
    assert told["threads"] == 1
    assert session(settings=PACED).resume([job], made.records).steady == {job}


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_a_block_in_the_runtime_is_read_beside_its_models_for_the_machines_state(runtime: str, own_home: Path) -> None:
    job = InferenceJob(SMALL, runtime, "fp32", 64, 1)
    made = session(settings=PACED)
    made.run([job])
    (p50,) = (r for r in made.records if r.figure.metric.name == "latency_ms_p50")
    assert re.search(
        rf"{AT_PACE} \(workloads that compute and move data take [\d.]+ and [\d.]+ ms\)", p50.figure.source
    )
    assert re.search(r"; an inverted residual block in \w+( Runtime)? took, at that pace, [\d.]+ ms", p50.figure.source)
    (told,) = made.paces.as_json()
    assert len(told["reference_ms"]) == len(told["session_ms"]) == 2
    (fastest,) = made.states.as_json()
    assert fastest["read_by"].endswith(" on 1 thread")
    assert session(settings=PACED).resume([job], made.records).steady == {job}
    # in a slower state than there has been a figure is not called stable, and is measured again, as are those before
    place = made.states.of(job).place
    kept = json.loads(place.read_text())
    place.write_text(json.dumps({**kept, "fastest_ms": kept["fastest_ms"] / 10}))
    assert not session(settings=PACED).resume([job], made.records).steady
    later = session(settings=PACED)
    later.run([job])
    (p50,) = (r for r in later.records if r.figure.metric.name == "latency_ms_p50")
    assert not p50.stable
    assert SLOWER_STATE in p50.figure.source
    assert not later.resume([job], later.records).steady


def test_figures_at_a_reference_that_is_gone_are_measured_again(fakes: None, own_home: Path) -> None:
    jobs = [fake("resnet18", "paced")]
    made = session(settings=PACED)
    made.run(jobs)
    assert session(settings=PACED).resume(jobs, made.records).steady == set(jobs)
    made.paces.of(jobs[0]).place.unlink()
    assert not session(settings=PACED).resume(jobs, made.records).steady
