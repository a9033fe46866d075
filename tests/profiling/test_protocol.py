import numpy as np
import pytest

from selector.profiling.intervals import median_interval
from selector.profiling.protocol import EVERY_P90, LONG_S, Settings, Tracker, settled

SETTINGS = Settings(window_s=0.01, min_windows=6, deadline_s=1.0, warmup_cap_s=0.5, tail_budget_s=0.2)


def feed(tracker: Tracker, times: list[float], *, limit: int = 10_000) -> int:
    """Windows of the given times, over and over, until the tracker has enough; how many it took."""
    source = iter(times * limit)
    count = 0
    while not tracker.finished:
        tracker.add([next(source) for _ in range(tracker.next_window())])
        count += 1
    return count


def test_settled_looks_at_the_last_windows_only() -> None:
    assert settled([50, 10, 10.5, 9.5], count=3, tolerance=0.1)
    assert not settled([10, 10, 13], count=3, tolerance=0.1)
    assert not settled([10, 10], count=3, tolerance=0.1)


def test_a_steady_configuration_stops_early_and_is_stable() -> None:
    tracker = Tracker(SETTINGS)
    feed(tracker, [1.0, 1.01, 0.99])
    figure = tracker.measurement()
    assert figure.stable
    assert figure.reason is None
    assert figure.p50 == 1.0
    assert figure.n >= 64
    assert figure.p90 == 1.01
    assert tracker.timed_s < SETTINGS.deadline_s / 2


def test_the_warm_up_is_left_out() -> None:
    tracker = Tracker(SETTINGS)
    slow = iter([9.0, 7.0, 5.0, 3.0, 2.0])
    while not tracker.finished:
        level = next(slow, 1.0)
        tracker.add([level] * tracker.next_window())
    figure = tracker.measurement()
    assert figure.high == 1.0
    assert figure.warmup_samples > 0


def test_windows_that_differ_are_not_taken_for_so_many_independent_samples() -> None:
    """Each window by itself is steady, at a level of its own: forty samples say no more than four windows do."""
    tracker = Tracker(Settings(window_s=0.01, deadline_s=1.0, tail_budget_s=0.0))
    levels = iter([1.0, 1.08] * 1000)
    while len(tracker.windows) < tracker.settings.min_windows:
        level = next(levels)
        tracker.add([level * x for x in (0.999, 1.0, 1.0, 1.001)])
    assert not tracker.finished
    assert tracker.measurement().reason == "the median's interval is wider than ±3.5%"


@pytest.mark.parametrize("ms", [10.0, 30.0])
def test_two_figures_differ_by_less_than_5_percent_and_need_no_more_windows_than_that_takes(ms: float) -> None:
    """On a noisy machine, where windows differ by 8 % and samples by 4 %, again and again."""
    random, medians, windows = np.random.default_rng(0), [], []
    for _ in range(100):
        tracker = Tracker(Settings(tail_budget_s=0.0), expected_s=ms / 1e3)
        while not tracker.finished:
            level = ms * np.exp(random.normal(0, 0.08))
            tracker.add((level * np.exp(random.normal(0, 0.04, tracker.next_window()))).tolist())
        medians.append(tracker.measurement().p50)
        windows.append(tracker.measurement().windows)
    apart = np.abs(np.log(np.divide.outer(medians, medians)))[np.triu_indices(len(medians), 1)]
    assert np.mean(apart < 0.05) > 0.93
    assert np.median(windows) < 45


def test_a_spell_in_a_third_of_the_windows_is_seen_where_so_many_samples_are_sure() -> None:
    tracker = Tracker(Settings(window_s=0.01, deadline_s=1.0, tail_budget_s=0.0, drift=1.0))
    levels = iter([1.0, 1.0, 1.0, 1.1, 1.0, 1.0, 1.1, 1.0, 1.1] * 100)
    while len(tracker.windows) < tracker.settings.min_windows:
        level = next(levels)
        tracker.add([level * x for x in np.linspace(0.999, 1.001, 10)])
    low, high = median_interval([x for window in tracker.windows for x in window])
    assert high - low < 0.005
    assert tracker.measurement().reason == "the median's interval is wider than ±3.5%"


def test_a_noisy_configuration_runs_to_its_deadline_and_is_marked() -> None:
    tracker = Tracker(SETTINGS)
    feed(tracker, list(np.random.default_rng(0).uniform(1, 3, size=997)))
    figure = tracker.measurement()
    assert not figure.stable
    assert figure.reason
    assert tracker.timed_s >= SETTINGS.deadline_s


def test_a_drifting_configuration_is_not_called_stable() -> None:
    tracker = Tracker(Settings(window_s=0.01, deadline_s=0.5, tail_budget_s=0.0))
    level = 1.0
    while not tracker.finished:
        tracker.add([level] * tracker.next_window())
        level *= 1.03
    assert not tracker.measurement().stable


def test_a_warm_up_that_never_settles_is_capped_and_told() -> None:
    tracker = Tracker(SETTINGS)
    level = 1.0
    while not tracker.finished:
        tracker.add([level] * 8)
        level = 3.0 if level == 1.0 else 1.0
    assert tracker.measurement().reason == "the warm-up never settled"


def test_a_disturbed_window_is_left_out_and_counted() -> None:
    tracker = Tracker(SETTINGS)
    taken = 0
    while not tracker.finished:
        taken += 1
        disturbed = taken in (2, 5)
        tracker.add([3.0 if disturbed else 1.0] * tracker.next_window(), 0.4 if disturbed else 0.01)
    figure = tracker.measurement()
    assert (figure.high, figure.disturbed) == (1.0, 2)
    assert figure.stable
    assert figure.reason is None
    assert figure.windows + 2 == taken
    assert tracker.steady_places == [place for place in range(taken) if place not in (1, 4)]


def test_on_a_machine_that_is_never_left_alone_all_windows_count_and_the_figure_says_so() -> None:
    tracker = Tracker(Settings(window_s=0.01, deadline_s=2.0, disturbed_cap_s=0.5))
    while not tracker.finished:
        tracker.add([2.0] * tracker.next_window(), 0.12)
    figure = tracker.measurement()
    assert figure.p50 == 2.0
    assert not figure.stable
    assert figure.reason == "other work or the hypervisor took 12% of its processors"
    assert figure.disturbed == 0
    assert tracker.timed_s < 1.0  # it does not wait for the deadline


def test_one_disturbed_window_of_a_slow_model_is_left_out_like_any() -> None:
    tracker = Tracker(Settings())
    taken = 0
    while not tracker.finished:
        taken += 1
        tracker.add([3000.0] * tracker.next_window(), 0.4 if taken == 1 else 0.0)
    figure = tracker.measurement()
    assert figure.disturbed == 1
    assert "took" not in (figure.reason or "")  # 20 s are too short for nine windows of it, and that is all


def test_a_slow_model_on_a_machine_that_is_never_left_alone_ends_with_its_deadline() -> None:
    tracker = Tracker(Settings())
    while not tracker.finished:
        tracker.add([9000.0] * tracker.next_window(), 0.4)
        assert tracker.timed_s < 60
    assert "took 40% of its processors" in (tracker.measurement().reason or "")
    alone = Tracker(Settings())
    while not alone.finished:
        alone.add([9000.0] * alone.next_window(), 0.0)
    assert "took" not in (alone.measurement().reason or "")


def test_a_long_disturbance_is_waited_for_once_there_are_windows_without_it() -> None:
    tracker = Tracker(Settings(window_s=0.01, deadline_s=20.0, disturbed_cap_s=0.5))
    taken = 0
    while not tracker.finished:
        taken += 1
        disturbed = 5 < taken < 30
        tracker.add([30.0 if disturbed else 10.0] * tracker.next_window(), 0.5 if disturbed else 0.0)
    figure = tracker.measurement()
    assert figure.stable
    assert (figure.p50, figure.disturbed) == (10.0, 24)


def test_nobody_looked_is_no_disturbance() -> None:
    tracker = Tracker(SETTINGS)
    tracker.add([1.0], None)
    assert tracker.windows == [[1.0]]


@pytest.mark.parametrize("ms", [2.0, 10.0, 15.0])
def test_the_samples_of_a_p90_come_in_the_fewest_windows(ms: float) -> None:
    tracker = Tracker()
    assert feed(tracker, [ms]) == tracker.settings.min_windows
    assert tracker.measurement().n >= 64


def test_every_p90_is_one_of_each_configuration_that_the_deadline_allows() -> None:
    for ms, p90 in ((40.0, True), (230.0, True), (400.0, False)):
        tracker = Tracker(EVERY_P90)
        feed(tracker, [ms])
        assert (tracker.measurement().p90 is not None) == p90
        assert tracker.timed_s <= EVERY_P90.deadline_s
    usual = Tracker()
    feed(usual, [40.0])
    assert usual.measurement().p90 is None


def test_what_an_inference_took_before_the_first_window_says_how_large_that_is() -> None:
    assert Tracker().next_window() == Tracker().settings.min_window
    assert Tracker(expected_s=0.005).next_window() == 10
    assert Tracker(expected_s=0.02).next_window() == 3
    assert [Tracker(expected_s=s).first_counts() for s in (None, LONG_S / 2, LONG_S)] == [False, False, True]


def test_slow_configurations_need_no_64_samples() -> None:
    tracker = Tracker(Settings(deadline_s=20, tail_budget_s=3.0))
    feed(tracker, [400.0])
    figure = tracker.measurement()
    assert figure.stable
    assert figure.p90 is None
    assert figure.n < 64


def test_a_model_of_two_seconds_has_its_windows_before_the_deadline() -> None:
    tracker = Tracker()
    feed(tracker, [2000.0])
    assert tracker.measurement().stable
    assert tracker.measurement().windows == tracker.settings.min_windows


def test_nothing_is_made_of_nothing() -> None:
    with pytest.raises(ValueError, match="at least one"):
        Tracker().add([])
    with pytest.raises(ValueError, match="nothing measured"):
        Tracker().measurement()
