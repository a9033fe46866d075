"""The worker process: `python -m selector.profiling.worker`, started by `workers.run_worker` and by nobody else.

It reads one line of JSON that says what to do, and answers with one line per event. After each event it waits for a
line from the parent: so what is finished is stored before the next thing starts, and the parent sleeps while anything
is timed. Libraries may print what they like: their stdout is turned to stderr.
"""

from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any

from selector.profiling import forks, runtimes
from selector.profiling.channel import Channel
from selector.profiling.jobs import ThroughputJob, TrainingJob, job_from_json
from selector.profiling.lifetime import add_window, model_file, noise
from selector.profiling.memory import mapped_library_pages
from selector.profiling.protocol import Settings, Tracker
from selector.profiling.results import Rate, to_json
from selector.profiling.throughput import SIZES, next_batch
from selector.profiling.turns import fail, inference


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

    from selector.profiling.runtimes.export import Recipe, making

    torch.set_num_threads(task["threads"])
    for item in task["items"]:
        wanted = Recipe(**item["recipe"])

        def work(wanted: Recipe = wanted) -> Iterator[dict[str, Any]]:
            yield from ({"progress": done} for done in making(wanted))
            yield {}

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

        def work(job: TrainingJob = job) -> Iterator[dict[str, Any]]:
            yield to_json(measure_training(job, settings, libraries))

        _in_fork(channel, item["id"], "trained", work, task["patience_s"])


def throughput(channel: Channel, task: dict[str, Any]) -> None:
    """Time batches of each model at sizes that double until nothing is gained; each size is told when it is done."""
    runtime = runtimes.load(task["runtime"])
    runtime.prepare_process(task["threads"])
    settings = Settings(**task["settings"])
    for item in task["items"]:
        job = job_from_json(item["job"])
        assert isinstance(job, ThroughputJob)
        file = model_file(item)
        known = {int(size): time for size, time in item["known"].items()}
        channel.announce("turn", id=item["id"])
        try:
            with runtime(file, precision=job.precision, threads=job.threads) as loaded:
                while (size := next_batch(known)) is not None:
                    tracker = Tracker(settings)
                    step = loaded.bind(noise(job, size))
                    while not tracker.finished:
                        add_window(step, tracker, job.threads)
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
            fail(channel, item["id"], forks.Outcome(outcome, {}, detail))
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


def _in_fork(
    channel: Channel, id_: int, event: str, work: Callable[[], Iterator[dict[str, Any]]], patience_s: float
) -> None:
    """Run `work` in a fork and tell the parent its result as `event`, or its failure; and its steps, if it has any."""
    channel.announce("turn", id=id_)
    outcome = forks.in_steps(work, patience_s=patience_s, told=lambda p: channel.announce("turn", id=id_, progress=p))
    if outcome.kind == "done":
        channel.tell(event, id=id_, result=outcome.result, last=True)
    else:
        fail(channel, id_, outcome)


if __name__ == "__main__":
    main()
