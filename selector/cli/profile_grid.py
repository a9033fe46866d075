"""What the options of `selector profile` ask for, as a grid, with all faults of them at once."""

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, TypeVar

from selector.errors import InvalidInput

if TYPE_CHECKING:
    from selector.hardware.machine import Machine
    from selector.profiling.plan import Grid

T = TypeVar("T")


def read_grid(
    backbones: list[str] | None,
    all_backbones: bool,
    family: str | None,
    runtime: list[str] | None,
    precision: str,
    freeze: str | None,
    batch_size: int,
    resolution: str | None,
    threads: str | None,
    throughput: bool,
    machine: "Machine",
) -> "Grid":
    """The grid that was asked for. Raises InvalidInput with all that is wrong, the grid's own faults included."""
    from selector.backbones import catalog
    from selector.backbones.depth import FreezeDepth
    from selector.profiling.plan import Grid, faults

    found: list[str] = []
    families = _each(family, catalog.Family, "--family", "resnet, vgg, efficientnet, mobilenet", found)
    sizes = _each(resolution, int, "--resolution", "whole numbers, such as 224 or 192,224", found)
    counts = _each(threads, int, "--threads", "whole numbers, such as 1 or 1,2", found)
    depths: list[FreezeDepth] = []
    for text in _split(freeze):
        try:
            depths.append(FreezeDepth.parse(text))
        except InvalidInput as fault:
            found.append(f"--freeze: {fault}")
    runtimes = None if runtime is None else ",".join(runtime)
    found += _empty(
        {
            "--family": family,
            "--runtime": runtimes,
            "--precision": precision,
            "--freeze": freeze,
            "--resolution": resolution,
            "--threads": threads,
        }
    )
    if backbones and (all_backbones or family):
        found.append(f"name backbones or ask for {'--all' if all_backbones else '--family'}, not both")
    names = backbones or ()
    if not names and (all_backbones or family):
        # a family that does not exist is told above; all stand in, so that "no backbone" is not told beside it
        names = [b.name for f in families or catalog.Family for b in catalog.backbones(f)]
    grid = Grid(
        backbones=_once(names),
        runtimes=_once(_split(runtimes)),
        precisions=read_precisions(precision),
        resolutions=_once(sizes) or (None,),
        threads=_once(counts) or (None,),
        freezes=_once(depths),
        training_batch=batch_size,
        throughput=throughput,
    )
    found += faults(grid, machine)
    if found:
        raise InvalidInput(found)
    return grid


def read_precisions(text: str) -> tuple[str, ...]:
    """The precisions that `--precision` names."""
    return _once(_split(text)) or ("fp32",)


def all_precisions(precision: str, runtime: list[str] | None) -> tuple[str, ...]:
    """The precisions that `--precision` and the runtimes of `--runtime` name."""
    from selector.profiling.plan import pinned_precision

    pinned = [pin for _, pin in map(pinned_precision, _split(",".join(runtime or ()))) if pin]
    return _once([*read_precisions(precision), *pinned])


def grid_of_blocks(grid: "Grid", others: Mapping[str, object]) -> "Grid":
    """The grid for `--by-block`: torch-eager, fp32.

    Raises InvalidInput for what does not go with it, in the grid or among `others`: options with what was given.
    """
    from dataclasses import replace

    found = [
        f"--by-block does not go with {option}"
        for option, given in (
            ("--freeze", grid.freezes),
            ("--throughput", grid.throughput),
            *others.items(),
            ("another --runtime than torch-eager", set(grid.runtimes) - {"torch-eager", "torch-eager:fp32"}),
            ("another --precision than fp32", set(grid.precisions) - {"fp32"}),
        )
        if given
    ]
    if found:
        raise InvalidInput(found)
    return replace(grid, runtimes=("torch-eager",))


def _empty(options: Mapping[str, str | None]) -> list[str]:
    """A sentence for each option that is given and names nothing."""
    return [
        f"{option} names nothing; leave it out, or name some"
        for option, text in options.items()
        if text is not None and not _split(text)
    ]


def _split(text: str | None) -> tuple[str, ...]:
    return tuple(part.strip() for part in (text or "").split(",") if part.strip())


def _once(named: Iterable[T]) -> tuple[T, ...]:
    """In the same order, each once: what is named twice is measured once."""
    return tuple(dict.fromkeys(named))


def _each(text: str | None, read: Callable[[str], T], option: str, allowed: str, faults: list[str]) -> list[T]:
    """The parts of `text` as `read` takes them; what it refuses is added to `faults`."""
    values: list[T] = []
    for part in _split(text):
        try:
            values.append(read(part))
        except ValueError:
            faults.append(f"{option}: {part!r} is not allowed; it takes {allowed}")
    return values
