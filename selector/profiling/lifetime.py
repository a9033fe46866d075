"""One model's life in a process: loaded, run for the first time, then timed window by window."""

import gc
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from time import perf_counter_ns
from typing import Any, NoReturn, Self

import numpy as np
from numpy.typing import NDArray

from selector.profiling import others
from selector.profiling.energy import Meter, meter
from selector.profiling.gauges import Gauge
from selector.profiling.jobs import InferenceJob, ModelJob, job_from_json
from selector.profiling.measurement import Measurement
from selector.profiling.memory import give_back_freed_memory, peak_rss_of_fork
from selector.profiling.pace import Pace, between
from selector.profiling.protocol import Settings, Tracker
from selector.profiling.results import ColdResult, to_json
from selector.profiling.runtimes.base import Batch, ModelFile, Runtime


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is wanted of one model."""

    job: InferenceJob
    file: ModelFile
    cold: bool  # its first moments
    steady: bool  # its windows

    @classmethod
    def of(cls, item: dict[str, Any]) -> Self:
        """As the parent's task tells it."""
        job = job_from_json(item["job"])
        assert isinstance(job, InferenceJob)
        return cls(job, model_file(item), item["cold"], item["steady"])


def model_file(item: dict[str, Any]) -> ModelFile:
    """The file of a task's item."""
    return ModelFile(**{**item["file"], "path": Path(item["file"]["path"])})


def life(
    runtime: type[Runtime], wanted: Wanted, settings: Settings, libraries: NDArray[np.int64]
) -> Iterator[dict[str, Any]]:
    """Load a model that nobody has loaded in this process; then an event each time that one is asked for.

    The first is "cold" with its first moments or, where they are not wanted, "loaded". The next are of one window each:
    "window" with how far it is, and at last "measured"; or, where no windows are wanted, "released" once the model is
    let go of. What the runtime builds from the file once and for all is built before anything is timed. `libraries` are
    the pages that the process which imported the runtime holds: they belong to the peak of memory.
    """
    job, file = wanted.job, wanted.file
    built = runtime.build(file, job.precision)
    size = sum(map(_read_through, (built.path,) if built else file.files)) if wanted.cold else 0
    start = perf_counter_ns()
    with runtime(file, precision=job.precision, threads=job.threads) as loaded:
        after_load = perf_counter_ns()
        batch = noise(job, job.batch_size)
        before = perf_counter_ns()
        step = loaded.bind(batch)  # a GPU's copy of the image and the recording of its graph belong to the first
        try:
            step()
            after = perf_counter_ns()
            step()  # some runtimes settle their buffers at the second call
            second_s = (perf_counter_ns() - after) / 1e9
            cold = ColdResult(
                (after_load - start) / 1e6,
                (after - before) / 1e6,
                peak_rss_of_fork(libraries),
                size,
                build_ms=built.build_ms if built else None,
            )
            if not runtime.side_by_side:
                give_back_freed_memory()  # the model waits beside others, and has used more to load than it keeps
            yield {"event": "cold", "result": to_json(cold)} if wanted.cold else {"event": "loaded"}
            if wanted.steady:
                on_cpu = runtime.device == "cpu"
                tracker = Tracker(settings, second_s, runtime.gauge.powers if on_cpu else None)
                gauges = [gauge for gauge in (runtime.gauge, runtime.state_gauge) if gauge and on_cpu]
                yield from timed(Timing(step, tracker, meter(runtime.device), job.threads, gauges))
        finally:
            del step  # it holds the model, which is let go of now
    if not wanted.steady:
        yield {"event": "released"}


@dataclass(slots=True)
class Timing:
    """What is timed, and what its windows brought so far."""

    step: Callable[[], object]
    tracker: Tracker
    meter: Meter
    threads: int
    gauges: Sequence[Gauge] = ()  # that the pace is read by, and then the machine's state; empty: nobody reads it
    spent: list[tuple[float | None, int]] = field(default_factory=list)  # of each window: joules, inferences

    def take_window(self) -> None:
        """Time one window, and read the energy before and after it, and around that the pace where it counts."""
        first_pace = self._read_pace()
        before = self.meter.read()
        taken = take_and_count(self.step, self.tracker, self.threads)
        self.spent.append((self.meter.spent(before, self.meter.read()), taken.inferences))
        self.tracker.add(taken.samples, taken.others, between(first_pace, self._read_pace()) or None)

    def _read_pace(self) -> Pace:
        return tuple(ms for gauge in self.gauges for ms in gauge.read(self.threads))

    def release(self) -> None:
        """Let go of the model, which the step holds."""
        self.step = _released

    def measurement(self) -> Measurement:
        """The figure with its energy; None where a steady window's could not be read."""
        spent = [self.spent[place] for place in self.tracker.steady_places]
        joules = [j for j, _ in spent if j is not None]
        energy = sum(joules) / sum(n for _, n in spent) * 1e3 if len(joules) == len(spent) else None
        return replace(self.tracker.measurement(), energy_mj=energy)


def timed(timing: Timing) -> Iterator[dict[str, Any]]:
    """Take a window each time that an event is asked for, until the figure is good enough: the last is "measured"."""
    gc.collect()
    gc.freeze()
    gc.disable()  # a collection inside a window is Python's, not the model's
    try:
        while True:
            timing.take_window()
            if timing.tracker.finished:
                break
            yield {"event": "window", "progress": timing.tracker.progress(), "pace": timing.tracker.quiet_pace}
        told = {"result": to_json(timing.measurement()), "timed_s": timing.tracker.timed_s}
        yield {"event": "measured", **told, "pace": timing.tracker.quiet_pace}
    finally:
        timing.release()


def add_window(step: Callable[[], object], tracker: Tracker, threads: int) -> None:
    """Take a window as `tracker` wants it and give it to it. `threads` are those that an inference runs on."""
    taken = take_and_count(step, tracker, threads)
    tracker.add(taken.samples, taken.others)


@dataclass(frozen=True, slots=True)
class Taken:
    """A window as it was taken."""

    samples: list[float]  # milliseconds
    others: float | None  # the share of its processors that other work took; None: nobody tells
    inferences: int  # uncounted ones included


def take_and_count(step: Callable[[], object], tracker: Tracker, threads: int) -> Taken:
    """Take a window as `tracker` wants it. `threads` are those that an inference runs on."""
    settings, first_counts = tracker.settings, tracker.first_counts()
    before = others.read()
    samples = take_window(
        step,
        tracker.next_window(),
        at_least=settings.min_window,
        limit_s=max(4 * settings.window_s, 2 * tracker.expected_window_s()),
        first_counts=first_counts,
    )
    return Taken(samples, others.share(before, others.read(), threads), len(samples) + (not first_counts))


def take_window(
    step: Callable[[], object], samples: int, *, at_least: int, limit_s: float, first_counts: bool = False
) -> list[float]:
    """Milliseconds of each of `samples` calls, after one uncounted: the caches hold another model's weights.

    `first_counts`: without the uncounted one. Once `limit_s` seconds have passed it stops at `at_least`, so that a
    sudden slowness does not stretch the window.
    """
    if not first_counts:
        step()
    times: list[int] = []
    end = perf_counter_ns() + int(limit_s * 1e9)
    while len(times) < samples:
        start = perf_counter_ns()
        step()
        now = perf_counter_ns()
        times.append(now - start)
        if now > end and len(times) >= at_least:
            break
    return [t / 1e6 for t in times]


def noise(job: ModelJob, batch_size: int) -> Batch:
    """A batch of seeded noise in the job's resolution, [batch_size, 3, resolution, resolution]."""
    shape = (batch_size, 3, job.resolution, job.resolution)
    return np.random.default_rng(0).standard_normal(shape, dtype=np.float32)


def _released() -> NoReturn:
    raise RuntimeError("this model was let go of")


def _read_through(path: Path) -> int:
    """Read a file once, so that it is in the page cache for every load alike. Its size in bytes."""
    size = 0
    with path.open("rb") as file:
        while part := file.read(1 << 20):
            size += len(part)
    return size
