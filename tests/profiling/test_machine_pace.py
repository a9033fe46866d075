"""Figures of different hours at one pace: the reference is taken once and stays."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from selector.hardware.machine import detect
from selector.profiling.gauges import NUMPY
from selector.profiling.jobs import InferenceJob
from selector.profiling.machine_pace import ASTRAY, MachinePace, Paces, Reference
from selector.profiling.measurement import Measurement, OwnPace
from selector.profiling.pace import Pace, Sensitivity
from selector.profiling.protocol import INFERENCE, Tracker

MACHINE = detect()
USUAL = Sensitivity((1.0, 0.5), ((0.0081, 0.0), (0.0, 0.0081)))


@pytest.fixture(autouse=True)
def _own_home(own_home: Path) -> None:
    pass


def heard(pace: Pace, readings: int = 9) -> MachinePace:
    made = MachinePace(MACHINE, NUMPY, 1)
    for _ in range(readings):
        made.hear(pace)
    return made


def figure(ms: float, pace: Pace, sensitive: Sensitivity = USUAL) -> Measurement:
    own = OwnPace(pace, sensitive, as_timed=ms, p90_as_timed=1.2 * ms)
    return Measurement(ms, 0.99 * ms, 1.01 * ms, 1.2 * ms, 70, 9, 0, True, None, pace=own)


def test_a_slow_hour_and_a_fast_one_come_to_one_figure() -> None:
    first = heard((0.10, 0.30)).at_reference(figure(10.0, (0.10, 0.30)), INFERENCE)
    assert first.p50 == 10.0  # the first session's pace is the machine's from now on
    slow = heard((0.105, 0.30))
    second = slow.at_reference(figure(10.5, (0.105, 0.30)), INFERENCE)
    assert second.p50 == pytest.approx(10.0)
    assert second.p90 is not None
    assert 12.0 < second.p90 < 12.6  # a bound: what the factor may be wrong by counts against it
    assert second.pace is not None
    assert (second.pace.as_timed, second.pace.reference) == (10.5, (0.10, 0.30))
    assert second.stable
    assert second.high - second.low > 0.2  # what the sensitivity may be wrong by
    told = slow.as_json()
    assert told is not None
    assert (told["kept"], told["reference_ms"], told["session_ms"]) == (str(slow.place), (0.10, 0.30), (0.105, 0.30))


def test_a_reference_is_of_the_machines_faster_state() -> None:
    made = heard((0.15, 0.30), readings=10)
    for _ in range(4):
        made.hear((0.10, 0.30, 0.7))  # what comes behind is another gauge's
    found = made.reference()
    assert found is not None
    assert (found.ms, found.readings) == ((0.10, 0.30), 14)
    odd = heard((0.15, 0.20), readings=4)
    for _ in range(4):
        odd.hear((0.10, 0.30))  # in each state a workload is faster
    assert odd.as_json() is None
    again = odd.reference()
    assert again is not None


def test_too_far_from_the_reference_a_figure_is_not_called_stable() -> None:
    heard((0.10, 0.30)).reference()
    far = heard((0.14, 0.45)).at_reference(figure(10.0, (0.14, 0.45)), INFERENCE)
    assert not far.stable
    assert far.reason == "the machine was too far from its reference pace (1.40 and 1.50 times it)"
    unsettled = replace(figure(10.0, (0.14, 0.45)), stable=False, reason="the warm-up never settled")
    both = heard((0.14, 0.45)).at_reference(unsettled, INFERENCE).reason
    assert both == f"the warm-up never settled; {far.reason}"


def test_what_windows_are_not_sure_of_widens_the_interval() -> None:
    heard((0.10, 0.30)).reference()
    unsure = Sensitivity((1.0, 0.5), ((0.04, 0.0), (0.0, 0.04)))
    widths = []
    for sensitive in (USUAL, unsure):
        found = heard((0.11, 0.30)).at_reference(figure(10.0, (0.11, 0.30), sensitive), INFERENCE)
        widths.append(found.high - found.low)
    assert widths[1] > widths[0]


@pytest.mark.parametrize(
    ("moves", "unsharp", "hour"),
    [(0.02, 0.02, 0.03), (0.02, 0.15, 0.0), (0.15, 0.02, 0.03), (0.15, 0.15, 0.03)],
    ids=["calm", "readings-differ", "pace-moves", "both"],
)
def test_intervals_hold_and_are_no_wider_than_that_needs(moves: float, unsharp: float, hour: float) -> None:
    """Models of 10 ms at the reference, each in an hour of its own; the pace moves, and readings are not sharp.

    Where readings differ by more than the pace moves, all are of one hour: slopes are then too flat (`sensitivity`).
    """
    reference, random, medians, held, widths = (0.10, 0.30), np.random.default_rng(0), [], 0, []
    heard(reference).reference()
    for _ in range(150):
        powers, from_here = random.normal(NUMPY.powers, 0.1), random.normal(0, hour, 2)
        tracker = Tracker(replace(INFERENCE, tail_budget_s=0.0), pace_powers=NUMPY.powers)
        while not tracker.finished:
            away = from_here + random.normal(0, moves, 2)
            level = 10.0 * math.exp(float(away @ powers) + random.normal(0, 0.005))
            read = np.exp(away + random.normal(0, unsharp, 2)) * reference
            samples = level * np.exp(random.normal(0, 0.01, tracker.next_window()))
            tracker.add(samples.tolist(), pace=tuple(map(float, read)))
        found = MachinePace(MACHINE, NUMPY, 1).at_reference(tracker.measurement(), INFERENCE)
        medians.append(found.p50)
        held += found.low <= 10.0 <= found.high
        widths.append((found.high - found.low) / 2)
    assert held >= 0.9 * 150  # 95 % of single intervals, some less of those that are looked at after each window
    assert 1.0 < np.median(widths) / np.std(medians) < 3.0


def test_where_no_window_was_left_alone_a_session_stays_with_the_pace_of_its_first_figure() -> None:
    made = MachinePace(MACHINE, NUMPY, 1)
    assert made.at_reference(figure(10.0, (0.10, 0.30)), INFERENCE).p50 == 10.0
    assert made.at_reference(figure(10.5, (0.105, 0.30)), INFERENCE).p50 == pytest.approx(10.0)
    assert not made.place.exists()
    told = made.as_json()
    assert told is not None
    assert (told["session_ms"], told["kept"]) == (None, None)


def test_a_kept_reference_serves_where_the_machine_is_never_left_alone() -> None:
    heard((0.10, 0.30)).reference()
    found = MachinePace(MACHINE, NUMPY, 1).at_reference(figure(10.5, (0.105, 0.30)), INFERENCE)
    assert found.p50 == pytest.approx(10.0)


def test_of_two_sessions_that_begin_together_the_first_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    late = heard((0.20, 0.30))
    kept, looks = MachinePace._kept, iter([True])  # once before the other one has written

    def late_look(self: MachinePace) -> Reference | None:
        if self is late and next(looks, False):
            heard((0.10, 0.30)).reference()
            return None
        return kept(self)

    monkeypatch.setattr(MachinePace, "_kept", late_look)
    found = late.reference()
    assert found is not None
    assert found.ms == (0.10, 0.30)


def test_the_interval_holds_what_it_says() -> None:
    """Models of the runtime's kind, paces as they are read and another hour's own reasons: nineteen of twenty hold."""
    random = np.random.default_rng(2)
    heard((0.10, 0.30)).reference()
    held, rounds = 0, 400
    for _ in range(rounds):
        pace = (0.10 * float(np.exp(random.normal(0, 0.06))), 0.30 * float(np.exp(random.normal(0, 0.06))))
        known = Sensitivity((0.45, 0.3), ((0.01, 0.0), (0.0, 0.01)))
        powers = np.array(known.powers) + random.normal(0, 0.1 * ASTRAY, 2)
        away = np.log(pace) - np.log((0.10, 0.30))
        timed = 10 * float(np.exp(powers @ away + random.normal(0, 0.005)))  # ±1 % at 95 %
        found = heard(pace).at_reference(figure(timed, pace, known), INFERENCE)
        held += found.low <= 10 <= found.high
    assert 0.92 <= held / rounds <= 0.99


def test_a_session_stays_with_the_reference_that_it_began_with() -> None:
    made = MachinePace(MACHINE, NUMPY, 1)
    assert made.reference() is None
    assert made.as_json() is None
    made.hear(None)
    assert made.reference() is None
    made.hear((0.1, 0.3))
    assert made.as_json() is None  # telling of it is no reason to fix it
    assert made.at_reference(figure(10.0, (0.1, 0.3)), INFERENCE).p50 == 10.0
    made.hear((9.0, 9.0))
    fixed = made.reference()
    assert fixed is not None
    assert fixed.ms == (0.1, 0.3)


@pytest.mark.parametrize(
    "ms", ["[]", "[0.1]", "[0.3, NaN]", "[0.1, 0]", "[0.1, -1]", "null", '"ab"', "[0.1, 0.3, 0.2]"]
)
def test_a_file_that_makes_no_pace_is_replaced(ms: str) -> None:
    made = heard((0.1, 0.3))
    made.reference()
    kept = json.loads(made.place.read_text())
    kept["reference"]["ms"] = json.loads(ms)
    made.place.write_text(json.dumps(kept))
    again = heard((0.2, 0.3)).reference()
    assert again is not None
    assert again.ms == (0.2, 0.3)


@pytest.mark.parametrize("text", ["", "{}", '{"of": 1}', "null", '{"of": null, "reference": null}'])
def test_a_file_that_is_no_reference_is_replaced(text: str) -> None:
    made = heard((0.1, 0.3))
    made.place.parent.mkdir(parents=True)
    made.place.write_text(text)
    assert made.reference() is not None
    assert json.loads(made.place.read_text())["reference"]["ms"] == [0.1, 0.3]


def test_where_nothing_can_be_kept_the_session_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("SELECTOR_HOME", str(tmp_path / "file"))
    reference = heard((0.1, 0.3)).reference()
    assert reference is not None
    assert not reference.kept


def test_another_machine_has_a_reference_of_its_own() -> None:
    other = MachinePace(replace(MACHINE, cpu_model="another"), NUMPY, 1)
    assert other.place != heard((0.1, 0.3)).place


def test_a_figure_whose_pace_nobody_read_stays_as_it_is() -> None:
    heard((0.1, 0.3)).reference()
    unread = replace(figure(10.0, (0.1, 0.3)), pace=None)
    assert heard((0.2, 0.6)).at_reference(unread, INFERENCE) == unread


def test_each_gauge_has_a_reference_of_its_own() -> None:
    """PyTorch's blocks run on the threads of its models, so those count; numpy's workloads run on one whatever."""

    def job(runtime: str, threads: int) -> InferenceJob:
        return InferenceJob("resnet18", runtime, "fp32", 224, threads)

    paces = Paces(MACHINE)
    served = [paces.of(job("onnxruntime", 1)), paces.of(job("openvino", 2)), paces.of(job("torch-compile", 2))]
    eager = [paces.of(job("torch-eager", 1)), paces.of(job("torch-eager", 2)), paces.of(job("torch-eager-nhwc", 2))]
    assert len({pace.place for pace in served}) == 1
    assert served[0].place == MachinePace(MACHINE, NUMPY, 2).place
    assert len({pace.place for pace in [*eager, served[0]]}) == 3
    assert eager[1] is eager[2]
    served[0].hear((0.1, 0.3))
    assert paces.as_json() == []  # no figure was given at it yet
    eager[1].hear((1.0, 0.6))
    eager[1].reference()
    (told,) = paces.as_json()
    assert (told["reference_ms"], told["threads"]) == ((1.0, 0.6), 2)
    assert Paces(MACHINE).of(job("torch-eager", 2)).kept() == (1.0, 0.6)
    assert Paces(MACHINE).of(job("torch-eager", 1)).kept() is None
