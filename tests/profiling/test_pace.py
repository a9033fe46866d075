"""What windows would have taken at another pace: on made-up windows whose truth is known."""

import json
from math import exp

import numpy as np
import pytest

from selector.profiling import energy
from selector.profiling.gauges import NUMPY, Gauge
from selector.profiling.lifetime import Timing
from selector.profiling.measurement import Measurement, OwnPace
from selector.profiling.pace import (
    ENOUGH,
    PRIOR_SD,
    Pace,
    at_pace,
    between,
    middle,
    sensitivity,
    sound,
)
from selector.profiling.protocol import Settings, Tracker
from selector.profiling.results import to_json

PRIOR = (0.45, 0.3)
SETTINGS = Settings(window_s=0.01, min_windows=9, deadline_s=1.0, tail_budget_s=0.0)


def paces(count: int, seed: int = 0) -> list[Pace]:
    """Paces that differ by some percent, as on a shared host."""
    found = np.exp(np.random.default_rng(seed).normal(0, 0.06, (count, len(PRIOR)))) * (0.1, 0.3)
    return [tuple(map(float, row)) for row in found]


def slowed(found: list[Pace], powers: tuple[float, float], noise: float = 0.0) -> list[list[float]]:
    """Windows of a model of 10 ms that goes with the pace by these powers."""
    random = np.random.default_rng(1)
    logs = np.log(np.asarray(found) / (0.1, 0.3)) @ np.asarray(powers)
    return [[10 * exp(x + random.normal(0, noise)) for _ in range(5)] for x in logs]


@pytest.mark.parametrize("powers", [(0.0, 0.0), (1.0, 0.0), (0.1, 1.1), PRIOR])
def test_windows_without_noise_say_how_a_model_goes_with_the_pace(powers: tuple[float, float]) -> None:
    """A model that nothing slows stays as it was timed, whatever its runtime is taken for."""
    found = paces(9)
    seen = sensitivity(slowed(found, powers), found, PRIOR)
    assert seen.powers == pytest.approx(powers, abs=0.01)
    assert seen.doubt(found[0], found[1]) < 0.01


def test_windows_that_are_not_sure_leave_a_model_near_what_its_runtime_is_taken_for() -> None:
    found = paces(9)
    seen = sensitivity(slowed(found, (1.5, 0.0), noise=0.2), found, PRIOR)
    assert seen.powers == pytest.approx(PRIOR, abs=2 * PRIOR_SD)
    still = sensitivity(slowed(found, (1.0, 0.0)), [found[0]] * 9, PRIOR)
    assert still.powers == pytest.approx(PRIOR)


def test_a_window_that_something_else_slowed_does_not_matter() -> None:
    found = paces(12)
    windows = slowed(found, (0.6, 0.2), noise=0.002)
    alone = sensitivity(windows, found, PRIOR).powers
    windows[4] = [3 * x for x in windows[4]]
    assert sensitivity(windows, found, PRIOR).powers == pytest.approx(alone, abs=0.1)


def test_a_reading_that_an_interrupt_fell_on_does_not_matter() -> None:
    found = paces(9)
    windows = slowed(found, PRIOR, noise=0.01)
    spoilt = [*found[:4], (3 * found[4][0], 3 * found[4][1]), *found[5:]]
    seen = sensitivity(windows, sound(spoilt), PRIOR)
    assert seen.powers == pytest.approx(PRIOR, abs=0.15)
    level = at_pace(windows, sound(spoilt), (0.1, 0.3), seen)
    assert max(map(max, level)) < 12
    assert sound([found[0]] * 6) == [pytest.approx(found[0])] * 6


def test_samples_of_no_time_go_with_nothing_and_few_windows_say_nothing() -> None:
    found = paces(ENOUGH)
    assert sensitivity([[0.0]] * ENOUGH, found, PRIOR).factor(found[0], found[1]) == 1.0
    with pytest.raises(ValueError, match="say nothing"):
        sensitivity([[1.0]] * (ENOUGH - 1), found[1:], PRIOR)
    with pytest.raises(ValueError, match="at least one"):
        middle([])


def test_at_one_pace_windows_are_alike() -> None:
    found = paces(9)
    windows = slowed(found, (0.8, 0.4))
    level = [x for w in at_pace(windows, found, (0.1, 0.3), sensitivity(windows, found, PRIOR)) for x in w]
    assert level == pytest.approx([10.0] * len(level), rel=1e-3)
    assert between((1.0, 4.0), (4.0, 1.0)) == (2.0, 2.0)


def test_what_windows_differ_by_with_the_pace_costs_no_more_windows() -> None:
    """As timed they are too far apart to be told; at one pace nine are enough."""
    found = paces(9, seed=3)
    windows = slowed(found, (1.0, 0.5), noise=0.001)
    blind, seeing = Tracker(SETTINGS), Tracker(SETTINGS, pace_powers=PRIOR)
    for window, pace in zip(windows, found, strict=True):
        blind.add(window, pace=pace)
        seeing.add(window, pace=pace)
    assert not blind.finished
    assert seeing.finished
    figure = seeing.measurement()
    assert figure.stable
    assert figure.pace is not None
    assert figure.pace.ms == pytest.approx(middle(found))
    assert figure.pace.as_timed == pytest.approx(float(np.median(windows)))
    assert figure.low <= figure.p50 <= figure.high
    assert blind.measurement().pace is None
    assert blind.measurement().p50 == figure.pace.as_timed


def test_a_window_without_a_pace_leaves_all_as_they_were_timed() -> None:
    tracker = Tracker(SETTINGS, pace_powers=PRIOR)
    for number, pace in enumerate(paces(9)):
        tracker.add([1.0, 1.0], pace=pace if number else None)
    assert tracker.measurement().pace is None
    assert tracker.measurement().p50 == 1.0


def test_the_pace_is_read_beside_each_window_where_it_counts() -> None:
    told = iter([(1.0, 4.0), (4.0, 1.0)])

    class Told(Gauge):
        def read(self, threads: int) -> Pace:
            assert threads == 1
            return next(told)

    gauge = Told(NUMPY.workloads, NUMPY.short, NUMPY.library, PRIOR, NUMPY.make, repeats=1)
    tracker = Tracker(SETTINGS, pace_powers=PRIOR)
    Timing(lambda: None, tracker, energy.Meter(()), 1, [gauge]).take_window()
    assert tracker.quiet_pace == (2.0, 2.0)
    # nobody asks for it any more: `told` is at its end
    Timing(lambda: None, Tracker(SETTINGS), energy.Meter(()), 1).take_window()


def test_a_figure_and_its_pace_go_through_a_pipe() -> None:
    found = paces(9)
    sensitive = sensitivity(slowed(found, PRIOR), found, PRIOR)
    own = OwnPace(found[0], sensitive, 10.5, p90_as_timed=None, reference=found[1], state=(0.24,))
    figure = Measurement(10.0, 9.9, 10.1, None, 45, 9, 0, True, None, pace=own)
    assert Measurement.from_json(json.loads(json.dumps(to_json(figure)))) == figure
