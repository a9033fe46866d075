"""The measuring protocol: when a configuration is warm, when its figure is good enough, and what the figure is.

Pure arithmetic on samples; it runs no model and reads no clock. A `Tracker` is fed windows of samples (milliseconds)
and says how many it wants next and when it has enough:

1. *Warm-up* until the last three windows each lie within 10 % of their mean, with a cap. Those three windows are the
   first of the steady state.
2. *Steady state* until the confidence interval of the median, which allows for windows that differ, is narrow enough,
   the two halves of the run agree, and there are enough samples for a bound on the 90th percentile where those are
   cheap; or until the deadline. Between two windows of a configuration lie those of all others (`rounds`), so a spell
   of noise falls on a few windows of each.

A window in which other work or the hypervisor took the processors is left out and another one taken in its place, and
so is one of a slower state of the machine (`states`). Where that does not end, all windows count. Where somebody read
the processor's pace beside each window (`pace`), samples count as they would have been at the middle of those paces. A
figure that never settled, was never left alone, or is of a state that the machine was seldom in, is marked
`stable=False`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import ceil

import numpy as np

from selector.profiling.intervals import (
    P90_SAMPLES,
    lower_rank,
    median_interval_of_windows,
    p90_bound,
)
from selector.profiling.measurement import Measurement, OwnPace
from selector.profiling.pace import ENOUGH, Pace, Sensitivity, at_pace, middle, sensitivity, sound
from selector.profiling.states import States, apart

PROTOCOL_VERSION = "8"
"""Figures of different versions are not compared. Raise it with any change that moves a figure.

1: the first. 2: the C library's allocator keeps freed memory, see `workers.KEEP_FREED_MEMORY`. 3: each model is timed
in the process that loaded it first; disturbed windows are left out; the first inference of a window counts where one
takes long. 4: configurations of all runtimes take turns, in more and shorter windows; the median's interval allows for
windows that differ; the samples of a p90 are collected where they take a second. 5: on a CPU, latencies of six windows
and more are those at the machine's reference pace; training steps, throughput, blocks, energy and what the probe brings
are as timed. 6: in PyTorch's eager mode, that pace is read by blocks of its own (`gauges`);
an ONNX graph has its weights in a file beside it, which makes loads of large models quicker. 7: windows of a slower
state of the machine are left out. 8: what readings of the pace differ by counts once in an interval, not twice;
one width is asked of all medians' intervals, ±3.5 %: before, ±4 %, and ±2 to 3 % as if samples were independent.
"""

DISTURBANCE = 0.03
"""A window is disturbed where other work or the hypervisor took more than this share of those it runs on (`others`).

Two cores, both busy with matrix products, windows of 0.1 s: alone 95 % of windows show less than 1.5 %, and 90 % less
than 0.8 %; beside a process of equal priority every window shows more than 17 % and is half as fast or less; beside one
of the lowest priority (nice 19) 0.8 to 4 %, and 4 % slower.
"""

TARGET = 0.035
"""Half width of a median's interval at 95 %, relative to the median, at which there are samples enough: two runs whose
intervals hold and are as wide as that differ by less than 5 % in 95 of 100 cases. At the run's own pace: at the
machine's reference a stable figure may be told with ±5.3 % (`Settings.farthest`), and two such differ by 7.5 %."""

LONG_S = 0.04
"""Where one inference takes as long as this, the first of a window counts: what caches hold is there again within a few
milliseconds, and an inference that is left out would be a third of the window.

Eager, ONNX Runtime and OpenVINO on two cores, in turns with three other models: where one takes 40 to 450 ms, the first
of a window takes 0.7 % less to 2.3 % more than the rest; where one takes 2 to 10 ms, 14 to 23 % more.
"""


ONE_S = 0.5
"""Where one inference takes as long as this, it is a window by itself: what comes before it is nothing to it, and the
deadline leaves room for the windows that a figure needs."""


@dataclass(frozen=True, slots=True)
class Settings:
    """How thorough a measurement is. Times are seconds of timed work of one configuration."""

    window_s: float = 0.05  # a window is at least about this long …
    min_window: int = 2  # … and holds at least so many samples, see ONE_S
    warmup_windows: int = 3
    warmup_tolerance: float = 0.10  # of the mean of the last `warmup_windows` windows
    warmup_cap_s: float = 10.0
    min_windows: int = 9  # windows of steady state, spread over the rounds
    target: float = TARGET
    farthest: float = 0.04  # half width of what a figure may be unsure by for its pace alone (`machine_pace`)
    drift: float = 0.05  # the medians of the first and the second half, or of two states, may differ by so much
    confidence: float = 0.95
    tail_budget_s: float = 1.0  # samples for the p90 bound are collected where they cost no more than this
    deadline_s: float = 20.0
    disturbance: float = DISTURBANCE
    disturbed_cap_s: float = 5.0  # of disturbed windows, or of those in a slower state, …
    disturbed_cap: int = 3  # … and so many of them; then they count, too


INFERENCE = Settings()

EVERY_P90 = replace(INFERENCE, tail_budget_s=0.75 * INFERENCE.deadline_s)
"""The samples of a p90 of every configuration for which the deadline leaves time: one that takes up to 0.23 s."""

TRAINING = Settings(
    window_s=0.2,
    min_window=1,
    min_windows=6,
    warmup_cap_s=8.0,
    tail_budget_s=0.0,
    deadline_s=15.0,
)

THROUGHPUT = Settings(
    window_s=0.2,
    min_window=1,
    min_windows=6,
    warmup_cap_s=5.0,
    tail_budget_s=0.0,
    deadline_s=10.0,
)


@dataclass(frozen=True, slots=True)
class Window:
    """Samples that were taken right after each other, in milliseconds, and the state of the machine meanwhile."""

    samples: list[float]
    others: float  # the share of its processors that other work took, 0 to 1
    pace: Pace | None  # None: nobody read it


def settled(windows: Sequence[float], *, count: int, tolerance: float) -> bool:
    """Whether the last `count` window means each lie within `tolerance` of their common mean."""
    if len(windows) < count:
        return False
    last = np.asarray(windows[-count:])
    return bool(np.all(np.abs(last - last.mean()) <= tolerance * last.mean()))


@dataclass(frozen=True, slots=True)
class Levelled:
    """What the figure is made of: windows of the steady state, at the middle of their paces."""

    windows: list[list[float]]
    places: list[int]  # of these windows among all that were taken
    states: States  # that the machine was in
    paces: list[Pace] = field(default_factory=list)  # of `windows`; empty: too few were read, these are as timed
    sensitivity: Sensitivity | None = None

    @property
    def given_up(self) -> bool:
        """Whether windows of all states count, since those of the faster one are too few and the rest too many."""
        return bool(self.states.slower) and not self.left_out

    @property
    def left_out(self) -> int:
        """Windows of the steady state that do not count, since the machine was in a slower one."""
        return len(self.states.fast) + len(self.states.slower) - len(self.windows)


@dataclass(slots=True)
class Tracker:
    """Follows one configuration through warm-up and steady state. Feed it windows until `finished`."""

    settings: Settings = INFERENCE
    expected_s: float | None = None  # what one inference took before the first window, where somebody looked
    pace_powers: tuple[float, ...] | None = None  # of its gauge; None: samples count as they were timed
    windows: list[list[float]] = field(default_factory=list)  # those that count; milliseconds
    steady_from: int | None = None  # index of the first steady window; None while warming up
    warmed: bool = False  # False after the cap was hit
    crowded: bool = False  # the machine is never quiet: disturbed windows count
    _taken: list[Window] = field(default_factory=list)
    _places: list[int] = field(default_factory=list)  # of `windows` among all that were taken
    _levelled: "tuple[object, Levelled] | None" = None  # what it was made of, and the last that was made

    def add(self, samples: Sequence[float], others: float | None = None, pace: Pace | None = None) -> None:
        """Take in one window of samples, in milliseconds. Raises ValueError for an empty one.

        `others` is the share of its processors that other work took meanwhile, 0 to 1, `pace` the processor's beside
        it; None: nobody looked.
        """
        if not samples:
            raise ValueError("a window needs at least one sample")
        self._taken.append(Window(list(samples), others or 0.0, pace))
        if self.crowded or self._taken[-1].others <= self.settings.disturbance:
            self._count(len(self._taken) - 1)
        if not self.crowded and self._hopeless():
            self.crowded, self.windows, self._places = True, [], []
            self.steady_from, self.warmed = None, False
            for place in range(len(self._taken)):
                self._count(place)

    def _count(self, place: int) -> None:
        """Let a window that was taken count."""
        self.windows.append(self._taken[place].samples)
        self._places.append(place)
        if self.steady_from is not None:
            return
        s = self.settings
        # the middle of a window, not its mean: one sample hit by an interrupt must not prolong the warm-up
        if settled([float(np.median(w)) for w in self.windows], count=s.warmup_windows, tolerance=s.warmup_tolerance):
            self.warmed = True
            self.steady_from = len(self.windows) - s.warmup_windows
        elif self._spent_s() >= s.warmup_cap_s:
            self.steady_from = len(self.windows)

    @property
    def finished(self) -> bool:
        """Whether the figure is good enough, or the deadline has passed."""
        if self.steady_from is None:
            return False
        if self.timed_s >= self.settings.deadline_s:
            return len(self.windows) > self.steady_from
        if self._steady().given_up:
            return True
        return self._doubt() is None and self._tail_done()

    @property
    def timed_s(self) -> float:
        """Seconds of all samples so far, warm-up and disturbed windows included."""
        return sum(sum(window.samples) for window in self._taken) / 1e3

    @property
    def quiet_pace(self) -> Pace | None:
        """The pace beside the last window that was taken, where no other work disturbed that."""
        last = self._taken[-1] if self._taken else None
        return last.pace if last and last.others <= self.settings.disturbance else None

    @property
    def steady_places(self) -> list[int]:
        """Which of all windows that were taken, in their order, the figure is made of."""
        return self._steady().places

    def next_window(self) -> int:
        """How many samples the next window should hold.

        Where a p90's samples are collected, as many as bring them together in the fewest windows: each costs an
        inference that does not count.
        """
        s = self.settings
        last = self._last_s()
        if last is None:
            return s.min_window
        if last >= ONE_S:
            return 1
        tail = ceil((P90_SAMPLES - s.min_window) / (s.min_windows - 1)) if self._tail_wanted(last) else 0
        return max(s.min_window, tail, min(1024, ceil(s.window_s / max(last, 1e-9))))

    def expected_window_s(self) -> float:
        """Seconds that the next window takes if its samples take what the last ones did; 0: nothing is known."""
        return (self._last_s() or 0.0) * self.next_window()

    def first_counts(self) -> bool:
        """Whether the first inference of the next window is a sample, see LONG_S."""
        last = self._last_s()
        return last is not None and last >= LONG_S

    def _last_s(self) -> float | None:
        return float(np.median(self._taken[-1].samples)) / 1e3 if self._taken else self.expected_s

    def _tail_wanted(self, inference_s: float) -> bool:
        return inference_s * P90_SAMPLES <= self.settings.tail_budget_s

    def progress(self) -> float:
        """Roughly how far along it is, 0 to 1, for a progress bar."""
        if self.finished:
            return 1.0
        s = self.settings
        by_time = self.timed_s / s.deadline_s
        by_windows = len(self.windows) / (s.min_windows + s.warmup_windows)
        return min(0.95, max(by_time, min(by_windows, 0.9)))

    def measurement(self) -> Measurement:
        """The figure so far. Raises ValueError before the first window of the steady state."""
        steady = self._steady()
        windows, samples = steady.windows, [x for window in steady.windows for x in window]
        if not samples:
            raise ValueError("nothing measured in the steady state yet")
        low, high = median_interval_of_windows(windows, self.settings.confidence)
        of_states = steady.states.doubt(mixed=steady.given_up)
        reasons = [why for why in (self._doubt(), self._crowd(), of_states) if why]
        return Measurement(
            p50=float(np.median(samples)),
            low=low,
            high=high,
            p90=p90_bound(samples),
            n=len(samples),
            windows=len(windows),
            warmup_samples=sum(len(w) for w in self.windows[: self.steady_from]),
            stable=not reasons,
            reason="; ".join(reasons) or None,
            disturbed=len(self._taken) - len(self.windows),
            slower=steady.left_out,
            slower_times=steady.states.times if steady.left_out else None,
            pace=self._own_pace(),
        )

    def _steady(self) -> Levelled:
        """The windows of the steady state, at one pace where that was read beside all of them."""
        made_of = (len(self._taken), self.steady_from, self.crowded)
        if self._levelled is None or self._levelled[0] != made_of:
            self._levelled = (made_of, self._level())
        return self._levelled[1]

    def _level(self) -> Levelled:
        places = [] if self.steady_from is None else self._places[self.steady_from :]
        taken = [self._taken[place].samples for place in places]
        states = self._states(taken, [self._taken[place].pace for place in places])
        counts = list(range(len(taken))) if self._given_up(states, taken) else states.fast
        windows, places = [taken[i] for i in counts], [places[i] for i in counts]
        paces = [pace for place in places if (pace := self._taken[place].pace) is not None]
        if self.pace_powers is None or len(windows) < ENOUGH or len(paces) < len(windows):
            return Levelled(windows, places, states)
        paces = sound([pace[: len(self.pace_powers)] for pace in paces])
        sensitive = sensitivity(windows, paces, self.pace_powers)
        return Levelled(at_pace(windows, paces, middle(paces), sensitive), places, states, paces, sensitive)

    def _states(self, windows: Sequence[Sequence[float]], paces: Sequence[Pace | None]) -> States:
        """The states of steady windows: one, where disturbed windows count or the model does not care."""
        states = apart([float(np.median(window)) for window in windows], paces)
        cares = states.times is not None and states.times > 1 + self.settings.drift
        return states if cares and not self.crowded else States(list(range(len(windows))), [], None)

    def _given_up(self, states: States, windows: Sequence[Sequence[float]]) -> bool:
        """Whether the machine's faster state is not worth waiting for."""
        return len(states.fast) < self.settings.min_windows and self._too_much([windows[i] for i in states.slower])

    def _own_pace(self) -> OwnPace | None:
        steady = self._steady()
        if steady.sensitivity is None:
            return None
        timed = [x for place in steady.places for x in self._taken[place].samples]
        own = middle(steady.paces)
        whole = middle([pace for place in steady.places if (pace := self._taken[place].pace) is not None])
        state = whole[len(own) :]
        return OwnPace(own, steady.sensitivity, float(np.median(timed)), p90_bound(timed), state=state)

    def _spent_s(self) -> float:
        return sum(sum(w) for w in self.windows) / 1e3

    def _hopeless(self) -> bool:
        """Whether the windows that were left alone will not be enough."""
        if len(self.windows) == len(self._taken):
            return False
        late = self.timed_s >= self.settings.deadline_s and not self.finished
        return late or (self._much_disturbed() and not self._settles())

    def _much_disturbed(self) -> bool:
        """Whether too many windows were disturbed to wait for the end of it."""
        return self._too_much([w.samples for w in self._taken if w.others > self.settings.disturbance])

    def _too_much(self, lost: Sequence[Sequence[float]]) -> bool:
        """Whether so many windows are more than a figure may wait for."""
        s = self.settings
        return len(lost) >= s.disturbed_cap and sum(map(sum, lost)) / 1e3 >= s.disturbed_cap_s

    def _settles(self) -> bool:
        """Whether the windows that count will soon be enough by themselves."""
        return self.steady_from is not None and 2 * (len(self.windows) - self.steady_from) >= self.settings.min_windows

    def _crowd(self) -> str | None:
        """What kept the figure from being sound; None where disturbances were few enough to wait for their end."""
        if not self.crowded and not (self._doubt() and self._much_disturbed()):
            return None
        took = float(np.median([w.others for w in self._taken if w.others > self.settings.disturbance]))
        return f"other work or the hypervisor took {took:.0%} of its processors"

    def _doubt(self) -> str | None:
        """Why the figure is not to be trusted yet; None when it is."""
        s = self.settings
        if not self.warmed or self.steady_from is None:
            return "the warm-up never settled"
        steady = self._steady().windows
        if len(steady) < s.min_windows:
            return f"only {len(steady)} of {s.min_windows} windows"
        samples = [x for window in steady for x in window]
        if lower_rank(len(samples), (1 - s.confidence) / 2) < 1:
            return f"{len(samples)} samples are too few for an interval"
        median = float(np.median(samples))
        low, high = median_interval_of_windows(steady, s.confidence)
        if max(high - median, median - low) > s.target * median:
            return f"the median's interval is wider than ±{s.target:.1%}"
        half = len(steady) // 2
        first, second = (float(np.median([x for w in part for x in w])) for part in (steady[:half], steady[half:]))
        if abs(first - second) > s.drift * median:
            return f"the two halves of the run differ by more than {s.drift:.0%}"
        return None

    def _tail_done(self) -> bool:
        """Whether the samples for a p90 bound are there, or too costly to wait for."""
        samples = [x for window in self._steady().windows for x in window]
        return len(samples) >= P90_SAMPLES or not self._tail_wanted(float(np.median(samples)) / 1e3)
