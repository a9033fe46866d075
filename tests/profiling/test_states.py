"""The states of a machine, told apart by what windows took."""

from dataclasses import replace

import numpy as np
import pytest

from selector.profiling.protocol import Settings, Tracker
from selector.profiling.states import apart, faster_paces, faster_state

SETTINGS = Settings(window_s=0.01, min_windows=6, deadline_s=2.0, disturbed_cap_s=0.5, tail_budget_s=0.0)


@pytest.mark.parametrize(
    ("middles", "fast"),
    [
        ([14.4, 6.7, 14.5, 6.8, 6.6, 14.3], [1, 3, 4]),
        ([10.0, 10.1, 13.0, 10.2, 13.1, 17.0], [0, 1, 3]),  # three states: the fastest
        ([10.0, 10.0, 20.0, 20.0], [0, 1, 2, 3]),  # two windows are luck
        ([10.0] * 8 + [20.0], list(range(9))),  # a single slow one was hit by something
        ([10.0, 11.0, 12.0, 13.0, 14.0, 15.0, 16.0], [0, 1, 2, 3, 4, 5, 6]),  # something lies between any two
        ([0.00005, 0.00005, 0.00005, 0.0001], [0, 1, 2, 3]),  # a clock's steps
        ([0.0, 0.0, 0.0, 0.0], [0, 1, 2, 3]),
        ([5.0], [0]),
        ([], []),
    ],
)
def test_a_state_ends_where_nothing_lies_for_a_while(middles: list[float], fast: list[int]) -> None:
    assert faster_state(middles) == fast


def test_a_state_shows_in_readings_of_the_pace_too() -> None:
    near, far = (1.05, 0.72), (1.63, 0.84)
    paces = [near, far, near, far, near, far]
    assert faster_paces(paces) == [0, 2, 4]
    assert faster_paces([near, near, far, near, (5.3, 0.72)]) == [0, 1, 2, 3, 4]  # an interrupt is no state
    assert faster_paces([(1.0, 2.0)] * 3 + [(2.0, 1.0)] * 3) == [0, 1, 2, 3, 4, 5]  # they do not agree
    assert len(faster_paces([near] * 3 + [far] * 47)) == 50  # a cold processor's first moments
    # a model that does not care is measured in one of them all the same, and not called slow
    states = apart([100.0, 101.0, 99.0, 100.0, 100.0, 100.0], paces)
    assert (states.fast, states.slower, states.times) == ([0, 2, 4], [1, 3, 5], 1.0)
    assert apart([100.0, 160.0, 99.0, 100.0, 161.0], [None] * 5).fast == [0, 2, 3]
    assert apart([0.0, 0.0, 0.0, 1.0, 1.0], [None] * 5).times is None
    assert apart([], []).times is None
    # where the readings would leave too little of the faster windows, these alone count
    assert apart([10.0, 10.1, 10.2, 20.0, 20.0, 20.0], [far, far, far, near, near, near]).fast == [0, 1, 2]


def test_noise_is_no_state() -> None:
    """Moments of one state that differ by 4 %, more than those of a quiet machine do: one run in fifty at most."""
    random = np.random.default_rng(0)
    parted = sum(len(faster_state(list(random.normal(10, 0.4, 9)))) < 9 for _ in range(1000))
    assert parted <= 20


def tracked(levels: list[float], settings: Settings = SETTINGS) -> Tracker:
    tracker, at = Tracker(settings), 0
    while not tracker.finished:
        level = levels[at % len(levels)]
        tracker.add([level * x for x in np.linspace(0.999, 1.001, tracker.next_window())])
        at += 1
    return tracker


def test_windows_of_a_slower_state_are_left_out_told_and_made_up_for() -> None:
    tracker = tracked([1.0, 1.0, 1.0, 2.1, 2.1])
    figure = tracker.measurement()
    assert figure.stable
    assert figure.p50 == pytest.approx(1.0, rel=0.001)
    assert figure.high < 1.01
    assert figure.slower >= 1
    assert figure.slower_times == pytest.approx(2.1, rel=0.01)
    assert figure.windows >= SETTINGS.min_windows
    assert len(tracker.steady_places) == figure.windows
    assert all(place % 5 < 3 for place in tracker.steady_places)
    assert figure.n == sum(len(tracker.windows[place]) for place in tracker.steady_places)


def test_the_figure_of_a_state_that_is_rare_is_not_called_stable() -> None:
    figure = tracked([2.1] * 3 + [1.0] * 3 + [2.1, 2.1, 2.1, 1.0] * 50).measurement()
    assert figure.p50 == pytest.approx(1.0, rel=0.001)
    assert not figure.stable
    assert figure.reason is not None
    assert figure.reason.endswith(" windows took 2.10 times as long as the rest")


def test_a_state_that_does_not_come_back_is_not_waited_for() -> None:
    tracker = tracked([1.0] * 5 + [2.1] * 1000, replace(SETTINGS, min_windows=12))
    figure = tracker.measurement()
    assert tracker.timed_s < 1.0
    assert figure.p50 == pytest.approx(2.1, rel=0.001)
    assert figure.slower == 0
    assert figure.slower_times is None
    assert figure.reason is not None
    assert "took 2.10 times as long as the rest" in figure.reason


def test_a_slow_model_gives_a_slower_state_up_before_its_deadline() -> None:
    """Six windows are of the faster state, and nine are wanted: the machine changed for good in the middle."""
    tracker = tracked([200.0] * 6 + [400.0] * 1000, Settings())
    assert tracker.timed_s < 8.5
    figure = tracker.measurement()
    assert not figure.stable
    assert figure.slower == 0


def test_a_model_that_does_not_care_is_measured_in_all_states() -> None:
    tracker, at = Tracker(SETTINGS, pace_powers=(0.45,)), 0
    while not tracker.finished:
        tracker.add([10.0, 10.0, 10.001], pace=(1.0 if at % 2 else 1.6,))
        at += 1
    figure = tracker.measurement()
    assert figure.slower == 0
    assert figure.windows == SETTINGS.min_windows


def test_where_disturbed_windows_count_they_are_no_state() -> None:
    tracker = Tracker(replace(SETTINGS, disturbed_cap_s=0.2))
    at = 0
    while not tracker.finished:
        tracker.add([(2.0 if at % 4 else 1.0)] * tracker.next_window(), 0.3)
        at += 1
    figure = tracker.measurement()
    assert (figure.slower, figure.disturbed) == (0, 0)
    assert figure.reason is not None
    assert "other work or the hypervisor" in figure.reason


def test_the_p90_is_of_the_same_windows_as_the_median() -> None:
    tracker = tracked([1.0, 1.0, 1.0, 2.1, 2.1], replace(SETTINGS, tail_budget_s=0.2))
    figure = tracker.measurement()
    assert figure.n >= 64
    assert figure.p90 is not None
    assert figure.p90 < 1.01
