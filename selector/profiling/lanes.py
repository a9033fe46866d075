"""Which jobs one worker process measures, and which are measured in turns together."""

from collections.abc import Iterator, Sequence
from math import ceil
from typing import TypeVar

from selector.profiling import runtimes
from selector.profiling.files import model_recipe
from selector.profiling.jobs import InferenceJob, ThroughputJob, TrainingJob
from selector.profiling.material import Material
from selector.profiling.runtimes.graph_files import bytes_of

SET_SIZE = 64
"""Most models that are timed in turns, of all runtimes together.

With a window of 0.05 to 0.5 s each, a round of so many takes about ten seconds and a measurement at least nine rounds:
longer than the spells of some seconds in which other machines of the same host slow this one down, so that one falls on
one or two windows of a model and not on most of them. More would make rounds longer and gain nothing; each is a process
that has its runtime loaded.
"""

SET_MEMORY = 0.85
"""Largest share of the free memory that the models of one set may take: all are loaded at once."""

OWN_BYTES = 20 << 20
"""What a model at 224 px costs beside its weights, counted like its file: the process that it has to itself and, in
proportion to its pixels, its activations."""

LANE_BYTES = 200 << 20
"""What a worker that has imported its runtime is taken to need: a choice, not a measured figure."""

GPU_SET_SIZE = 12
"""Most models that are loaded on a GPU at once: nobody counts its memory, and its lanes do not alternate."""

WAITING, LOADING = 2.0, 4.5
"""What a model takes while it waits for its turn, and while it is loaded, as multiples of its files and OWN_BYTES.

VGG-11, whose file had 507 MB with the weights in it (beside the graph they take less while it is loaded): 1042 MB and
2245 MB in ONNX Runtime, 548 MB and 1730 MB in OpenVINO, less in PyTorch, which maps the file; MobileNetV3-Small, 10 MB:
53 and 97 MB, 28 and 141 MB (two threads, freed memory given back before the wait).
"""

J = TypeVar("J", InferenceJob, ThroughputJob, TrainingJob)


def lanes(jobs: Sequence[J]) -> list[list[J]]:
    """The jobs that one process can measure: of one runtime and one thread count."""
    found: dict[tuple[str, int], list[J]] = {}
    for job in jobs:
        found.setdefault((job.runtime, job.threads), []).append(job)
    return list(found.values())


def halls(jobs: Sequence[InferenceJob]) -> list[list[InferenceJob]]:
    """The jobs whose runtimes may take turns: all on the CPU, and each lane of a GPU by itself.

    A GPU that waits for the CPU's turns lowers its clocks, and raises them in the windows that are timed.
    """
    found: dict[tuple[str, int] | None, list[InferenceJob]] = {}
    for lane in lanes(jobs):
        job = lane[0]
        alone = runtimes.runtime(job.runtime).device == "gpu"
        found.setdefault((job.runtime, job.threads) if alone else None, []).extend(lane)
    return list(found.values())


def sets(jobs: Sequence[InferenceJob], material: Material, room: float) -> Iterator[list[InferenceJob]]:
    """Cut jobs into sets of about the same size whose models take `room` bytes at most, or are of one job.

    One lane after the other, so that as few sets as possible span several: each lane of a set starts a process, which
    imports its runtime.
    """
    ordered = [job for lane in lanes(jobs) for job in lane]
    if not ordered:
        return
    size = SET_SIZE if runtimes.runtime(ordered[0].runtime).device == "cpu" else GPU_SET_SIZE
    most = ceil(len(ordered) / ceil(len(ordered) / size))
    current: list[InferenceJob] = []
    for job in ordered:
        if current and (len(current) >= most or _taken([*current, job], material) > room):
            yield current
            current = []
        current.append(job)
    yield current


def _taken(jobs: Sequence[InferenceJob], material: Material) -> float:
    """Bytes that the models of these jobs take at most: all wait but the largest, which is being loaded."""
    sizes = [bytes_of(model_recipe(job, material).path) + OWN_BYTES * job.resolution**2 / 224**2 for job in jobs]
    return WAITING * sum(sizes) + (LOADING - WAITING) * max(sizes) + LANE_BYTES * len(lanes(jobs))
