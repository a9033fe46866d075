"""Which configurations a grid stands for, and everything that is wrong with it."""

from collections.abc import Iterator
from dataclasses import dataclass

from selector.backbones import catalog
from selector.backbones.depth import FreezeDepth
from selector.errors import InvalidInput, unknown_name
from selector.evidence.record import FreezePoint
from selector.hardware.machine import Machine
from selector.profiling import runtimes
from selector.profiling.jobs import InferenceJob, Job, ThroughputJob, TrainingJob

TRAINING_BATCH = 8


@dataclass(frozen=True, slots=True)
class Grid:
    """What to measure: every combination. Empty runtimes: all that are usable here. No freeze depth: no training."""

    backbones: tuple[str, ...]
    runtimes: tuple[str, ...] = ()
    precisions: tuple[str, ...] = ("fp32",)
    resolutions: tuple[int | None, ...] = (None,)  # None: the backbone's own
    threads: tuple[int | None, ...] = (None,)  # None: as many as can run at once
    freezes: tuple[FreezeDepth, ...] = ()
    training_batch: int = TRAINING_BATCH
    throughput: bool = False  # the time an image takes in batches, too


def plan(grid: Grid, machine: Machine) -> list[Job]:
    """The jobs of a grid. Raises InvalidInput with all faults at once."""
    found = list(faults(grid, machine))
    if found:
        raise InvalidInput(found)
    names = grid.runtimes or usable_runtimes(machine)
    # runtimes that nobody named measure what they offer; for those named, `faults` has seen to it
    offers = {name: runtimes.runtime(name).availability(machine).precisions for name in names}
    jobs: list[Job] = []
    for threads in (t or machine.threads for t in grid.threads):
        for name in names:
            for backbone, precision, resolution in _points(grid):
                if precision in offers[name]:
                    jobs.append(InferenceJob(backbone, name, precision, resolution, threads))
                    if grid.throughput:
                        jobs.append(ThroughputJob(backbone, name, precision, resolution, threads))
        for backbone, precision, resolution in _points(grid):
            total = len(catalog.backbone(backbone).blocks)
            for depth in grid.freezes:
                point = FreezePoint(depth.name, depth.frozen_blocks(total), total)
                jobs.append(TrainingJob(backbone, point, precision, resolution, threads, grid.training_batch))
    return jobs


def usable_runtimes(machine: Machine) -> tuple[str, ...]:
    """The runtimes that are measured on this machine where none is named, in the registry's order."""
    kinds = [runtimes.runtime(name) for name in runtimes.RUNTIMES]
    return tuple(kind.name for kind in kinds if kind.by_default and kind.availability(machine).usable)


def _points(grid: Grid) -> Iterator[tuple[str, str, int]]:
    for backbone in grid.backbones:
        for precision in grid.precisions:
            for resolution in grid.resolutions:
                yield backbone, precision, resolution or catalog.backbone(backbone).resolution


def faults(grid: Grid, machine: Machine) -> Iterator[str]:
    """Everything that is wrong with a grid on `machine`, a sentence each."""
    known = catalog.names()
    if not grid.backbones:
        yield "no backbone to measure: name some, or use --all or --family"
    for name in grid.backbones:
        if name not in known:
            yield unknown_name("backbone", name, known, listing="selector catalog")
    for name in grid.runtimes:
        if name not in runtimes.RUNTIMES:
            yield unknown_name("runtime", name, runtimes.RUNTIMES, listing="selector runtimes")
            continue
        offer = runtimes.runtime(name).availability(machine)
        if not offer.usable:
            yield f"runtime {name!r} cannot be used here: {offer.why}"
            continue
        for precision in grid.precisions:
            if precision not in offer.precisions:
                yield f"runtime {name!r} offers no {precision!r} here; it offers: {', '.join(offer.precisions)}"
    for resolution in grid.resolutions:
        if resolution is not None and not 32 <= resolution <= 2048:
            yield f"resolution {resolution} is not between 32 and 2048 pixels"
    for threads in grid.threads:
        if threads is not None and not 1 <= threads <= (machine.usable_cpus or threads):
            yield f"{threads} threads cannot run at once here; allowed: 1 to {machine.usable_cpus}"
    if grid.training_batch < 2:
        yield f"batch size {grid.training_batch} cannot be trained: BatchNorm needs at least 2 images"
    for name in grid.backbones:
        for depth in grid.freezes:
            if name in known:
                try:
                    depth.frozen_blocks(len(catalog.backbone(name).blocks))
                except InvalidInput as fault:
                    yield f"{name}: {fault}"
