"""The fastest state of a machine is kept, and figures of a slower one are not called stable."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from selector.hardware.machine import detect
from selector.profiling.jobs import InferenceJob
from selector.profiling.machine_state import SLOWER_STATE, MachineState, MachineStates
from selector.profiling.measurement import Measurement, OwnPace
from selector.profiling.pace import Sensitivity

MACHINE = detect()
NONE = Sensitivity((0.0, 0.0), ((0.0, 0.0), (0.0, 0.0)))


@pytest.fixture(autouse=True)
def _own_home(own_home: Path) -> None:
    pass


def state() -> MachineState:
    """As a session begins with it."""
    return MachineStates(MACHINE).of(InferenceJob("resnet18", "onnxruntime", "fp32", 224, 2))


def figure(block_ms: float, *, slowed: float = 1.0, stable: bool = True) -> Measurement:
    """One beside which the block took so long, and all computing `slowed` times as long as at the reference."""
    reference = (0.10, 0.30)
    ms = (0.10 * slowed, 0.30 * slowed)
    own = OwnPace(ms, NONE, 10.0, None, reference=reference, state=(block_ms,))
    return Measurement(10.0, 9.9, 10.1, None, 70, 9, 9, stable, None if stable else "late", pace=own)


def test_a_run_in_a_slower_state_alone_is_not_called_stable() -> None:
    assert state().judged(figure(0.24)).stable  # nothing else is known
    assert state().judged(figure(0.29)).stable
    slow = state().judged(figure(0.40))
    assert not slow.stable
    assert slow.reason == f"{SLOWER_STATE} (1.67 times)"
    assert (slow.p50, slow.low, slow.high) == (10.0, 9.9, 10.1)
    assert state().judged(figure(0.40, stable=False)).reason == f"late; {SLOWER_STATE} (1.67 times)"
    # what slows all computing is no state: models go with it by 0.45 and 0.3
    assert state().judged(figure(0.31, slowed=1.2)).stable


def test_the_first_state_is_no_faster_than_it_was() -> None:
    state().judged(figure(0.40, slowed=1.6))
    assert state().fastest() == 0.40


def test_a_faster_state_than_any_before_is_what_later_figures_are_held_against() -> None:
    assert state().judged(figure(0.40)).stable
    made = state()
    assert made.judged(figure(0.24)).stable
    assert made.fastest() == state().fastest() == 0.24
    assert not made.judged(figure(0.40)).stable
    assert not state().judged(figure(0.40)).stable


@pytest.mark.parametrize(
    "unsure",
    [
        figure(0.24, stable=False),
        figure(0.40, slowed=1.6),  # all computing is so slow that this would be 0.28, but nobody saw that
        figure(0.37),  # not a state, but a good moment of one
    ],
)
def test_what_is_unsure_makes_no_faster_state(unsure: Measurement) -> None:
    state().judged(figure(0.40))
    state().judged(unsure)
    assert state().fastest() == 0.40


def test_a_figure_without_a_state_is_as_it_was() -> None:
    plain = figure(0.24)
    assert plain.pace is not None
    for other in (replace(plain, pace=None), replace(plain, pace=replace(plain.pace, state=()))):
        assert state().judged(other) == other
    assert state().as_json() is None
    eager = MachineStates(MACHINE).of(InferenceJob("resnet18", "torch-eager", "fp32", 224, 2))
    assert eager.as_json() is None


@pytest.mark.parametrize("content", ["", "{", "[]", '{"fastest_ms": "x"}', '{"fastest_ms": -1}', '{"fastest_ms": 0.1}'])
def test_a_file_that_holds_nothing_of_use_is_written_anew(content: str) -> None:
    place = state().place
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_text(content)
    assert state().fastest() is None
    assert state().judged(figure(0.24)).stable
    assert json.loads(place.read_text())["fastest_ms"] == 0.24


def test_it_is_known_where_it_cannot_be_kept(own_home: Path) -> None:
    own_home.mkdir(exist_ok=True)
    (own_home / "pace").write_text("a file where the folder should be")
    made = state()
    made.judged(figure(0.24))
    assert not made.judged(figure(0.40)).stable
    told = made.as_json()
    assert told is not None
    assert (told["fastest_ms"], told["kept"]) == (0.24, None)
    assert told["read_by"] == "an inverted residual block in ONNX Runtime on 2 threads"


def test_each_runtime_and_number_of_threads_has_a_state_of_its_own() -> None:
    states = MachineStates(MACHINE)
    jobs = [InferenceJob("resnet18", r, "fp32", 224, t) for r in ("onnxruntime", "openvino") for t in (1, 2)]
    assert len({states.of(job).place for job in jobs}) == 4
    assert states.of(jobs[0]) is states.of(replace(jobs[0], backbone="vgg16", precision="int8-static"))
