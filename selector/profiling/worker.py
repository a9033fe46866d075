"""The worker process: `python -m selector.profiling.worker`, started by `workers.run_worker` and by nobody else.

It reads one line of JSON that says what to do, and answers with one line per event. After each event it waits for a
line from the parent: so what is finished is stored before the next thing starts, and the parent sleeps while anything
is timed. Libraries may print what they like: their stdout is turned to stderr.
"""

import gc
import json
import os
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from time import perf_counter_ns
from typing import Any, NoReturn

import numpy as np
from numpy.typing import NDArray

from selector.profiling import forks, runtimes
from selector.profiling.agreement import measure_agreement
from selector.profiling.energy import Meter, meter
from selector.profiling.images import ImageSet
from selector.profiling.jobs import InferenceJob, ModelJob, ThroughputJob, TrainingJob, job_from_json
from selector.profiling.memory import mapped_library_pages, peak_rss_of_fork
from selector.profiling.protocol import Measurement, Settings, Tracker
from selector.profiling.results import ColdResult, Rate, to_json
from selector.profiling.runtimes.base import Batch, ModelFile, Runtime
from selector.profiling.throughput import SIZES, next_batch


class Channel:
    """Events to the parent, one line each, each answered by a line."""

    def __init__(self) -> None:
        self._answers = os.fdopen(os.dup(0), "r")
        self._events = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)  # a library's prints must not end up among the events
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)

    def task(self) -> dict[str, Any]:
        """The line that says what to do."""
        task: dict[str, Any] = json.loads(self._answers.readline())
        return task

    def tell(self, event: str, **data: Any) -> None:
        """Send an event and wait until the parent has dealt with it. Ends the process where the parent is gone."""
        self.announce(event, **data)
        if not self._answers.readline():
            os._exit(1)

    def announce(self, event: str, **data: Any) -> None:
        """Send an event that needs no answer."""
        self._events.write(json.dumps({"event": event, **data}) + "\n")
        self._events.flush()


@dataclass(slots=True)
class Entry:
    """One loaded model among those that are timed in turn."""

    id: int
    step: Callable[[], object]
    close: Callable[[], None]
    tracker: Tracker
    joules: list[float | None] = field(default_factory=list)  # of each window, the uncounted inference included

    def take_window(self, meter: Meter) -> None:
        """Time one window, and read the energy before and after it."""
        before = meter.read()
        samples = window(self.step, self.tracker)
        self.joules.append(meter.spent(before, meter.read()))
        self.tracker.add(samples)

    def release(self) -> None:
        """Let go of the model: what runs it holds it, too."""
        self.step = _released
        self.close()

    def measurement(self) -> Measurement:
        """The figure with its energy; None where a steady window's could not be read."""
        first = self.tracker.steady_from or 0
        joules = [j for j in self.joules[first:] if j is not None]
        windows = self.tracker.windows[first:]
        inferences = sum(len(samples) + 1 for samples in windows)
        energy = sum(joules) / inferences * 1e3 if len(joules) == len(windows) else None
        return replace(self.tracker.measurement(), energy_mj=energy)


def main() -> None:
    """Do the task and say when it is done."""
    forks.die_with_parent()
    channel = Channel()
    task = channel.task()
    kinds = {
        "export": export,
        "inference": inference,
        "throughput": throughput,
        "training": training,
        "peaks": peaks,
        "blocks": by_block,
    }
    kinds[task["kind"]](channel, task)
    channel.tell("done")


def export(channel: Channel, task: dict[str, Any]) -> None:
    """Make the files of all recipes that are not there yet, each in a fork."""
    import timm  # noqa: F401 - imported once, before the forks
    import torch.onnx

    from selector.profiling.runtimes.export import Recipe, make

    torch.set_num_threads(task["threads"])
    for item in task["items"]:
        wanted = Recipe(**item["recipe"])

        def work(wanted: Recipe = wanted) -> dict[str, Any]:
            make(wanted)
            return {}

        _in_fork(channel, item["id"], "exported", work, task["patience_s"])


def training(channel: Channel, task: dict[str, Any]) -> None:
    """Measure training steps, each configuration in a fork."""
    import timm  # noqa: F401 - imported once, before the forks
    import torch

    from selector.profiling.training import measure_training

    torch.set_num_threads(task["threads"])
    settings = Settings(**task["settings"])
    libraries = mapped_library_pages()
    for item in task["items"]:
        job = job_from_json(item["job"])
        assert isinstance(job, TrainingJob)

        def work(job: TrainingJob = job) -> dict[str, Any]:
            return to_json(measure_training(job, settings, libraries))

        _in_fork(channel, item["id"], "trained", work, task["patience_s"])


def inference(channel: Channel, task: dict[str, Any]) -> None:
    """Measure each model's first moments in a fork, then all models in turns in this process."""
    runtime = runtimes.load(task["runtime"])
    runtime.prepare_process(task["threads"])
    settings = Settings(**task["settings"])
    libraries = mapped_library_pages()
    with ExitStack() as stack:
        entries = []
        for item in task["items"]:
            job = job_from_json(item["job"])
            assert isinstance(job, InferenceJob)
            file = ModelFile(**{**item["file"], "path": Path(item["file"]["path"])})

            def work(job: InferenceJob = job, file: ModelFile = file, item: dict[str, Any] = item) -> dict[str, Any]:
                return to_json(measure_cold(runtime, job, file, libraries, item.get("reference")))

            wanted = item["steady"]
            if item["cold"]:
                wanted &= _in_fork(channel, item["id"], "cold", work, task["patience_s"], last=not wanted)
            if wanted:
                entries.append((item["id"], job, file))
        loaded = [entry for at in entries if (entry := _load(channel, stack, runtime, at, settings))]
        take_turns(channel, loaded, meter(runtime.device))


def throughput(channel: Channel, task: dict[str, Any]) -> None:
    """Time batches of each model at sizes that double until nothing is gained; each size is told when it is done."""
    runtime = runtimes.load(task["runtime"])
    runtime.prepare_process(task["threads"])
    settings = Settings(**task["settings"])
    for item in task["items"]:
        job = job_from_json(item["job"])
        assert isinstance(job, ThroughputJob)
        file = ModelFile(**{**item["file"], "path": Path(item["file"]["path"])})
        known = {int(size): time for size, time in item["known"].items()}
        channel.announce("turn", id=item["id"])
        try:
            with runtime(file, precision=job.precision, threads=job.threads) as loaded:
                while (size := next_batch(known)) is not None:
                    tracker = Tracker(settings)
                    step = loaded.bind(noise(job, size))
                    while not tracker.finished:
                        tracker.add(window(step, tracker))
                        # of all sizes that there may be: most models are saturated before
                        progress = min(0.95, (len(known) + tracker.progress()) / len(SIZES))
                        channel.tell("window", id=item["id"], progress=progress)
                    del step  # it holds the model and its batch
                    figure = tracker.measurement()
                    known[size] = figure.p50 / size
                    result = to_json(Rate(size, figure))
                    told = {"result": result, "timed_s": tracker.timed_s}
                    channel.tell("rate", id=item["id"], progress=min(0.95, len(known) / len(SIZES)), **told)
        except Exception as error:  # noqa: BLE001 - a configuration's failure is an outcome to record, whatever it is
            outcome, detail = forks.classify_error(error)
            channel.tell("failed", id=item["id"], outcome=outcome, detail=detail)
            continue
        channel.tell("saturated", id=item["id"])


def peaks(channel: Channel, task: dict[str, Any]) -> None:
    """Measure the ceilings of the processor or of the GPU."""
    from selector.profiling.peaks import measure_gpu_peaks, measure_peaks

    found = measure_gpu_peaks() if task["device"] == "gpu" else measure_peaks(task["threads"])
    channel.tell("peaks", result=asdict(found))


def by_block(channel: Channel, task: dict[str, Any]) -> None:
    """Time the blocks of one backbone."""
    import torch

    from selector.profiling.block_costs import time_blocks

    torch.set_num_threads(task["threads"])
    channel.tell("blocks", result=time_blocks(task["backbone"], task["resolution"]))


def measure_cold(
    runtime: type[Runtime],
    job: InferenceJob,
    file: ModelFile,
    libraries: NDArray[np.int64],
    reference: dict[str, str] | None = None,
) -> ColdResult:
    """Load a model that nobody has loaded in this process, and run it for the first time.

    What the runtime builds from the file once and for all is built before. `libraries` are the pages that the process
    which imported the runtime holds: they belong to the peak. With a `reference`, the file of fp32's "logits" and the
    folder of its "images", the model's agreement with it is measured last.
    """
    built = runtime.build(file, job.precision)
    size = _read_through(built.path if built else file.path)
    start = perf_counter_ns()
    with runtime(file, precision=job.precision, threads=job.threads) as loaded:
        after_load = perf_counter_ns()
        batch = noise(job, job.batch_size)
        before = perf_counter_ns()
        step = loaded.bind(batch)  # a GPU's copy of the image and the recording of its graph belong to the first
        step()
        after = perf_counter_ns()
        step()  # some runtimes settle their buffers at the second call
        peak = peak_rss_of_fork(libraries)
        agreed = reference and measure_agreement(
            loaded, ImageSet("agreement", reference["images"]), Path(reference["logits"])
        )
    return ColdResult(
        (after_load - start) / 1e6,
        (after - before) / 1e6,
        peak,
        size,
        build_ms=built.build_ms if built else None,
        agreement_top1=agreed.top1 if agreed else None,
        cosine_logits=agreed.cosine if agreed else None,
    )


def take_turns(channel: Channel, entries: list[Entry], meter: Meter) -> None:
    """Time all models window by window in turns, each until its figure is good enough.

    In turns, so that a spell of noise on the machine falls on all and not on one, and each is seen at several times.
    """
    active = list(entries)
    gc.collect()
    gc.freeze()
    gc.disable()  # a collection inside a window is Python's, not the model's
    while active:
        for entry in list(active):
            channel.announce("turn", id=entry.id)
            try:
                entry.take_window(meter)
            except Exception as error:  # noqa: BLE001 - a configuration's failure is an outcome to record, whatever it is
                outcome, detail = forks.classify_error(error)
                channel.tell("failed", id=entry.id, outcome=outcome, detail=detail)
                active.remove(entry)
                entry.release()
                continue
            if entry.tracker.finished:
                timed_s = entry.tracker.timed_s
                channel.tell("measured", id=entry.id, result=to_json(entry.measurement()), timed_s=timed_s)
                active.remove(entry)
                entry.release()
            else:
                channel.tell("window", id=entry.id, progress=entry.tracker.progress())


def _released() -> NoReturn:
    raise RuntimeError("this model was let go of")


def window(step: Callable[[], object], tracker: Tracker) -> list[float]:
    """A window as large as `tracker` wants it, in milliseconds."""
    settings = tracker.settings
    return take_window(step, tracker.next_window(), at_least=settings.min_window, limit_s=4 * settings.window_s)


def take_window(step: Callable[[], object], samples: int, *, at_least: int, limit_s: float) -> list[float]:
    """Milliseconds of each of `samples` calls, after one uncounted: the caches hold another model's weights.

    Once `limit_s` seconds have passed it stops at `at_least`, so that a sudden slowness does not stretch the window.
    """
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


def _load(
    channel: Channel,
    stack: ExitStack,
    runtime: type[Runtime],
    at: tuple[int, InferenceJob, ModelFile],
    settings: Settings,
) -> Entry | None:
    """Load one model for the turns; None where it fails, which the parent is told."""
    id_, job, file = at
    channel.announce("turn", id=id_)
    own = stack.enter_context(ExitStack())
    try:
        loaded = own.enter_context(runtime(file, precision=job.precision, threads=job.threads))
        return Entry(id_, loaded.bind(noise(job, job.batch_size)), own.close, Tracker(settings))
    except Exception as error:  # noqa: BLE001 - a configuration's failure is an outcome to record, whatever it is
        outcome, detail = forks.classify_error(error)
        channel.tell("failed", id=id_, outcome=outcome, detail=detail)
        return None


def _in_fork(
    channel: Channel,
    id_: int,
    event: str,
    work: Callable[[], dict[str, Any]],
    patience_s: float,
    *,
    last: bool = True,
) -> bool:
    """Run `work` in a fork and tell the parent its result as `event`, or its failure. Whether it succeeded.

    `last`: nothing more will come of this item.
    """
    channel.announce("turn", id=id_)
    outcome = forks.in_fork(work, patience_s=patience_s)
    if outcome.kind == "done":
        channel.tell(event, id=id_, result=outcome.result, last=last)
        return True
    channel.tell("failed", id=id_, outcome=outcome.kind, detail=outcome.detail)
    return False


def _read_through(path: Path) -> int:
    """Read a file once, so that it is in the page cache for every load alike. Its size in bytes."""
    size = 0
    with path.open("rb") as file:
        while part := file.read(1 << 20):
            size += len(part)
    return size


if __name__ == "__main__":
    main()
