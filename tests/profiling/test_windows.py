"""What is timed is exactly the call: held with a clock that only the calls move."""

import gc
import weakref
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import pytest

from selector.profiling import lifetime
from selector.profiling.channel import Channel
from selector.profiling.energy import Meter
from selector.profiling.lifetime import Timing, add_window, take_and_count, take_window, timed
from selector.profiling.protocol import LONG_S, Settings, Tracker
from selector.profiling.turns import InProcess, Turn, take_turns


class Clock:
    """A clock that stands still between calls of `busy`. Counts who reads it."""

    def __init__(self) -> None:
        self.now = 1_000_000
        self.reads = 0

    def __call__(self) -> int:
        self.reads += 1
        return self.now

    def busy(self, *ns: int):  # type: ignore[no-untyped-def]
        """A step that takes these times one after another, the last one for ever."""
        times = list(ns)

        def step() -> None:
            self.now += times.pop(0) if len(times) > 1 else times[0]

        return step


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(lifetime, "perf_counter_ns", made)
    return made


@pytest.mark.parametrize("ns", [0, 1, 1_000_000, 999_999_999])
def test_a_known_time_is_reported_to_the_nanosecond(clock: Clock, ns: int) -> None:
    assert take_window(clock.busy(ns), 5, at_least=2, limit_s=100) == [ns / 1e6] * 5


def test_the_first_call_of_a_window_is_not_counted(clock: Clock) -> None:
    assert take_window(clock.busy(50_000_000, 1_000_000), 3, at_least=2, limit_s=1) == [1.0, 1.0, 1.0]


def counted(step: Callable[[], object], tracker: Tracker) -> int:
    """Take a window and give it to the tracker; how many inferences that were."""
    taken = take_and_count(step, tracker, 1)
    tracker.add(taken.samples)
    return taken.inferences


def test_the_first_call_of_a_window_counts_where_it_would_be_a_third_of_it(clock: Clock) -> None:
    assert take_window(clock.busy(3, 1), 2, at_least=2, limit_s=1, first_counts=True) == [3e-6, 1e-6]
    long, short = (Tracker(Settings(window_s=2.5 * LONG_S, tail_budget_s=0.0)) for _ in range(2))
    calls = [counted(clock.busy(int(LONG_S * 1e9)), long) for _ in range(3)]
    assert calls == [3, 3, 3]  # two and an uncounted one, then three: before the first nobody knows how long one takes
    calls = [counted(clock.busy(int(LONG_S * 1e9) - 1), short) for _ in range(3)]
    assert calls == [3, 4, 4]


def test_each_sample_is_between_two_readings_with_nothing_else_there(clock: Clock) -> None:
    take_window(clock.busy(10), 100, at_least=2, limit_s=1)
    assert clock.reads == 2 * 100 + 1  # and one for the window's end


def test_a_window_that_grows_too_long_ends_with_what_it_must_hold(clock: Clock) -> None:
    assert take_window(clock.busy(1, 10**9), 1000, at_least=4, limit_s=2.5) == [1000.0] * 4
    assert len(take_window(clock.busy(10**9), 1000, at_least=2, limit_s=2.5)) == 3


def test_windows_of_a_known_time_make_a_figure_without_an_error(clock: Clock) -> None:
    tracker = Tracker(Settings(window_s=0.01))
    step = clock.busy(40_000_000, 30_000_000, 20_000_000, 10_000_000, 1_000_000)  # slow at first
    while not tracker.finished:
        add_window(step, tracker, 1)
    figure = tracker.measurement()
    assert figure.stable
    assert (figure.p50, figure.low, figure.high, figure.p90) == (1.0, 1.0, 1.0, 1.0)


class Silent(Channel):
    """Tells nobody."""

    def __init__(self) -> None:
        pass

    def announce(self, event: str, **data: object) -> None:
        pass

    tell = announce


@pytest.fixture
def collecting() -> Iterator[None]:
    """A worker stops collecting garbage for good; this process must go on."""
    yield
    gc.unfreeze()
    gc.enable()


def test_a_model_that_is_done_is_let_go_of_while_others_go_on(clock: Clock, collecting: None) -> None:
    model = np.zeros(8)
    gone = weakref.ref(model)
    seen: list[bool] = []
    busy = clock.busy(10_000_000)

    def one(model: object = model) -> None:
        busy()

    def other() -> None:
        busy()
        seen.append(gone() is None)

    quick = Settings(min_windows=3, tail_budget_s=0.0)
    timings = [Timing(step, Tracker(settings), Meter(()), 1) for step, settings in ((one, quick), (other, Settings()))]
    models = [InProcess(partial(timed, timing)) for timing in timings]
    del model, one
    turns = [Turn(i, model, partial(model.__exit__, None, None, None)) for i, model in enumerate(models)]
    take_turns(Silent(), turns, patience_s=1)
    assert all(timing.tracker.finished for timing in timings)
    assert not seen[0]
    assert seen[-1]
