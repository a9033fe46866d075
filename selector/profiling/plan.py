"""Which configurations a grid stands for, and everything that is wrong with it."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from selector.backbones import catalog
from selector.backbones.depth import FreezeDepth
from selector.errors import InvalidInput, unknown_name
from selector.evidence.record import FreezePoint
from selector.hardware.machine import Machine
from selector.hardware.profiles import PRECISIONS, unknown_ids
from selector.profiling import runtimes
from selector.profiling.jobs import InferenceJob, Job, ThroughputJob, TrainingJob
from selector.profiling.runtimes.base import on_cpu, on_gpu

TRAINING_BATCH = 8
TRAINED_IN = ("fp32", "amp")
"""Precisions of training steps. The others are of inference alone."""

TRAINERS = {"cpu": "torch-eager", "gpu": "torch-cuda"}
"""What trains on the device of a runtime."""


@dataclass(frozen=True, slots=True)
class Grid:
    """What to measure: every combination. Empty runtimes: all that are usable here. No freeze depth: no training.

    A runtime is a name, measured in each of `precisions`; or NAME:PRECISION, measured in that one whatever the others
    are.
    """

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
    named = _named(grid, machine)
    # runtimes that nobody named measure what they offer; for those named, `faults` has seen to it
    offers = {name: runtimes.runtime(name).availability(machine).precisions for name in named}
    jobs: list[Job] = []
    for threads in (t or machine.threads for t in grid.threads):
        for name, asked in named.items():
            for backbone, precision, resolution in _points(replace(grid, precisions=tuple(asked))):
                if precision in offers[name]:
                    jobs.append(InferenceJob(backbone, name, precision, resolution, threads))
                    if grid.throughput:
                        jobs.append(ThroughputJob(backbone, name, precision, resolution, threads))
        for trainer, precisions in training_offers(named, machine).items():
            for backbone, precision, resolution in _points(grid):
                total = len(catalog.backbone(backbone).blocks)
                for depth in grid.freezes if precision in precisions else ():
                    point = FreezePoint(depth.name, depth.frozen_blocks(total), total)
                    batch = grid.training_batch
                    jobs.append(TrainingJob(backbone, point, precision, resolution, threads, batch, trainer))
    return jobs


def training_offers(names: Iterable[str], machine: Machine) -> dict[str, tuple[str, ...]]:
    """What trains on the devices of the runtimes `names`, and in which precisions."""
    found = {}
    for device in sorted({runtimes.runtime(name).device for name in names}):
        trainer = runtimes.runtime(TRAINERS[device])
        if trainer.availability(machine).usable:
            gpu = device == "gpu"
            found[trainer.name] = on_gpu(TRAINED_IN, machine).precisions if gpu else on_cpu(TRAINED_IN, machine)
    return found


def usable_runtimes(machine: Machine) -> tuple[str, ...]:
    """The runtimes that are measured on this machine where none is named, in the registry's order."""
    kinds = [runtimes.runtime(name) for name in runtimes.RUNTIMES]
    return tuple(kind.name for kind in kinds if kind.by_default and kind.availability(machine).usable)


def pinned_precision(entry: str) -> tuple[str, str | None]:
    """The name of a grid's runtime and the precision that it is pinned to; None: it is measured in the grid's."""
    name, colon, precision = entry.partition(":")
    return name, precision if colon else None


def _named(grid: Grid, machine: Machine) -> dict[str, dict[str, bool]]:
    """Each runtime of a grid with the precisions that it is measured in, and whether it is pinned to them."""
    named: dict[str, dict[str, bool]] = {}
    for name, precision in map(pinned_precision, grid.runtimes or usable_runtimes(machine)):
        asked = named.setdefault(name, {})
        for each in grid.precisions if precision is None else (precision,):
            asked[each] = asked.get(each, False) or precision is not None
    return named


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
    pins = [precision for _, precision in map(pinned_precision, grid.runtimes) if precision is not None]
    yield from unknown_ids((), dict.fromkeys([*grid.precisions, *pins]))
    grid = replace(grid, precisions=tuple(p for p in grid.precisions if p in PRECISIONS))
    for name, asked in _named(grid, machine).items() if grid.runtimes else ():
        if name not in runtimes.RUNTIMES:
            yield unknown_name("runtime", name, runtimes.RUNTIMES, listing="selector runtimes")
            continue
        offer = runtimes.runtime(name).availability(machine)
        if not offer.usable:
            yield f"runtime {name!r} cannot be used here: {offer.why}"
            continue
        for precision, pinned in asked.items():
            trained = precision == "amp" and grid.freezes and not pinned
            if precision in PRECISIONS and precision not in offer.precisions and not trained:
                yield f"runtime {name!r} offers no {precision!r} here; it offers: {', '.join(offer.precisions)}"
    yield from _unmeasured(grid, machine)
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


def _unmeasured(grid: Grid, machine: Machine) -> Iterator[str]:
    """Precisions that would go unmeasured although the grid names them."""
    names = [name for name in _named(grid, machine) if name in runtimes.RUNTIMES]
    pins = {precision for _, precision in map(pinned_precision, grid.runtimes)}
    training = training_offers(names, machine) if grid.freezes else {}
    trained = {p for precisions in training.values() for p in precisions}
    offered = list(dict.fromkeys(p for n in names for p in runtimes.runtime(n).availability(machine).precisions))
    if not grid.runtimes:
        for precision in grid.precisions:
            if precision not in offered and precision not in trained:
                yield _not_offered(precision, offered)
    elif all(":" in entry for entry in grid.runtimes) and (moot := set(grid.precisions) - pins - trained - {"fp32"}):
        yield f"--precision {', '.join(sorted(moot))} is measured nowhere: each --runtime names a precision of its own"
        return
    if grid.runtimes and "amp" in grid.precisions and training and "amp" not in trained:
        yield f"{' and '.join(training)} cannot train in 'amp' here: the hardware computes in no half-width numbers"
    if training and grid.precisions and not trained & set(grid.precisions) and set(grid.precisions) <= set(offered):
        asked, possible = ", ".join(grid.precisions), " or ".join(sorted(trained, reverse=True))
        yield f"--freeze measures training steps, in {possible} here; --precision {asked} has none of that"


def _not_offered(precision: str, offered: list[str]) -> str:
    hint = "; 'amp' needs hardware that computes in half-width numbers" if precision == "amp" else ""
    return f"no runtime that is measured here by default offers {precision!r}; they offer: {', '.join(offered)}{hint}"
