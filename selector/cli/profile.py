"""`selector profile`: measures backbones on this machine."""

import json
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from selector.cli.options import Json, Output, Quiet, Store
from selector.errors import InvalidInput, NotComparable

if TYPE_CHECKING:
    from rich.console import Console

    from selector.evidence.record import Record
    from selector.hardware.machine import Machine, State
    from selector.profiling.jobs import Job
    from selector.profiling.plan import Grid
    from selector.profiling.session import Session

INTERRUPTED = 130  # what a shell reports for a command that Ctrl-C ended
T = TypeVar("T")
BUSY = 0.5  # load average per usable core above which figures are likely to be unstable


def profile(
    backbones: Annotated[list[str] | None, typer.Argument(help="Backbones; `selector catalog` lists them.")] = None,
    all_backbones: Annotated[bool, typer.Option("--all", help="All of the catalog, or of --family.")] = False,
    family: Annotated[
        str | None, typer.Option("--family", help="Of resnet, vgg, efficientnet, mobilenet, with commas between.")
    ] = None,
    runtime: Annotated[
        list[str] | None, typer.Option("--runtime", help="May be repeated. Without it: all that are usable here.")
    ] = None,
    precision: Annotated[str, typer.Option("--precision", help="Precisions, with commas between.")] = "fp32",
    freeze: Annotated[
        str | None,
        typer.Option("--freeze", help="Training steps too, at these depths: none,last-3,80%,head."),
    ] = None,
    batch_size: Annotated[int, typer.Option("--batch-size", help="Images in a training step; latency is of one.")] = 8,
    resolution: Annotated[
        str | None, typer.Option("--resolution", help="Pixels a side, with commas between. Without it: the backbone's.")
    ] = None,
    threads: Annotated[
        str | None, typer.Option("--threads", help="Thread counts, with commas between. Without it: all cores.")
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option("--weights", help="Folder of weights named after the backbones. Without it: random ones."),
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(
            "--images",
            help="Folder of images: int8-static is calibrated on some, lossy precisions are compared with fp32 on "
            "the others. Without it: synthetic ones.",
        ),
    ] = None,
    output: Output = None,
    store: Store = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Measure latency, load time and memory of backbones here, and what training costs at a freeze depth.

    Every finished figure is in the evidence store before the next measurement starts.
    """
    from rich.console import Console

    from selector.evidence.store import open_store
    from selector.hardware.machine import detect, read_state
    from selector.profiling.material import Material
    from selector.profiling.plan import plan
    from selector.profiling.session import Session

    machine = detect()
    grid = _grid(backbones, all_backbones, family, runtime, precision, freeze, batch_size, resolution, threads, machine)
    jobs = plan(grid, machine)
    material = Material(weights, images)
    material.check(grid.backbones)
    console = Console(stderr=True)
    before = read_state()
    if not quiet:
        _warn_if_busy(console, before, machine.threads)
    with ExitStack() as stack:
        write = _writer(stack, output, as_json)
        opened = stack.enter_context(open_store(store))
        progress = stack.enter_context(Progress(console, shown=not quiet))

        def keep(records: Sequence["Record"]) -> None:
            opened.add(records, environments={session.fingerprint: session.environment})
            write(session, before, False)

        session = Session(machine, keep, progress, material=material)
        try:
            session.run(jobs)
        except KeyboardInterrupt:
            raise typer.Exit(_interrupted(progress, console, session)) from None
        finally:
            progress.close()
        write(session, before, True)
    _report(session, console, as_json=as_json or output == Path("-"), quiet=quiet)


class Progress:
    """A bar on stderr. It draws only when it is told something, so that no thread of it runs during a measurement."""

    def __init__(self, console: "Console", *, shown: bool) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
        from rich.progress import Progress as Bar

        self._bar = Bar(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left:"),
            TimeRemainingColumn(),
            console=console,
            auto_refresh=False,
            transient=True,
            disable=not shown,
        )
        self._task = self._bar.add_task("starting", total=None)
        self._done = 0
        self._underway: dict[Job, float] = {}

    def __enter__(self) -> "Progress":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Take the bar away."""
        self._bar.stop()

    def planned(self, steps: int) -> None:
        """So many steps will be taken in all."""
        self._bar.update(self._task, total=steps, refresh=True)

    def at(self, job: "Job", doing: str, progress: float) -> None:
        """`job` is being worked on."""
        self._underway[job] = progress
        self._draw(f"{job.backbone}: {doing}")

    def done(self, steps: int) -> None:
        """So many more steps are done."""
        self._done += steps
        self._draw(None)

    def _draw(self, description: str | None) -> None:
        completed = self._done + sum(self._underway.values())
        self._bar.update(self._task, completed=completed, refresh=True)
        if description is not None:
            self._bar.update(self._task, description=description, refresh=True)


def _grid(
    backbones: list[str] | None,
    all_backbones: bool,
    family: str | None,
    runtime: list[str] | None,
    precision: str,
    freeze: str | None,
    batch_size: int,
    resolution: str | None,
    threads: str | None,
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
    if families and not all_backbones and backbones:
        found.append("--family chooses among --all; name backbones or a family, not both")
    names = list(backbones or ())
    chosen: list[catalog.Family | None] = [*families] or [None]
    if all_backbones or (families and not names):
        names += [b.name for f in chosen for b in catalog.backbones(f) if b.name not in names]
    grid = Grid(
        backbones=tuple(dict.fromkeys(names)),
        runtimes=tuple(dict.fromkeys(name for text in runtime or () for name in _split(text))),
        precisions=_split(precision),
        resolutions=tuple(sizes) or (None,),
        threads=tuple(counts) or (None,),
        freezes=tuple(depths),
        training_batch=batch_size,
    )
    found += faults(grid, machine)
    if found:
        raise InvalidInput(found)
    return grid


def _split(text: str | None) -> tuple[str, ...]:
    return tuple(part.strip() for part in (text or "").split(",") if part.strip())


def _each(text: str | None, read: Callable[[str], T], option: str, allowed: str, faults: list[str]) -> list[T]:
    """The parts of `text` as `read` takes them; what it refuses is added to `faults`."""
    values: list[T] = []
    for part in _split(text):
        try:
            values.append(read(part))
        except ValueError:
            faults.append(f"{option}: {part!r} is not allowed; it takes {allowed}")
    return values


def _writer(stack: ExitStack, output: Path | None, as_json: bool) -> Callable[["Session", "State", bool], None]:
    """Writes the document: to a file after each step, to stdout once at the end. Places are tried now."""
    from selector.reporting.output import STDOUT, opened_output

    to_file = stack.enter_context(opened_output(output)) if output not in (None, STDOUT) else None
    to_stdout = stack.enter_context(opened_output(STDOUT)) if as_json or output == STDOUT else None

    def write(session: "Session", before: "State", complete: bool) -> None:
        if to_file or (to_stdout and complete):
            text = json.dumps(_document(session, before, complete), ensure_ascii=False, indent=2) + "\n"
            if to_file:
                to_file(text)
            if to_stdout and complete:
                to_stdout(text)

    return write


def _document(session: "Session", before: "State", complete: bool) -> dict[str, Any]:
    """The contract's document. `complete` is false in a file that a broken run left."""
    from selector.hardware.machine import read_state

    return {
        "schema_version": 1,
        "complete": complete,
        "records": [record.as_json() for record in session.records],
        "failures": [failure.as_json() for failure in session.failures],
        "environment": session.environment,
        "state": {"before": before.as_json(), "after": read_state().as_json()},
        "timed_s": session.timed_s,
    }


def _warn_if_busy(console: "Console", state: "State", threads: int) -> None:
    if state.load_average is not None and state.load_average[0] > BUSY * threads:
        load = f"{state.load_average[0]:.1f}"
        console.print(f"this machine is busy (load {load} on {threads} cores): figures may be unstable", style="yellow")


def _interrupted(progress: Progress, console: "Console", session: "Session") -> int:
    progress.close()
    console.print(f"interrupted; {len(session.records)} finished figures are in the store")
    return INTERRUPTED


def _report(session: "Session", console: "Console", *, as_json: bool, quiet: bool) -> None:
    """Tables on stdout, failures on stderr. Raises NotComparable where nothing was measured."""
    from selector.profiling.tables import tables

    if not as_json:
        from rich.console import Console

        stdout = Console()
        for table in tables(session.records):
            stdout.print(table)
    for failure in session.failures:
        console.print(f"{failure.job}: {failure.outcome}: {failure.detail}", style="red", markup=False, highlight=False)
    if not any(record.n for record in session.records):
        raise NotComparable(f"nothing was measured; all {len(session.failures)} configurations failed, as said above")
    if not quiet:
        unstable = sum(r.stable is False and r.figure.metric.name.endswith(("p50", "step_ms")) for r in session.records)
        note = f"; {unstable} marked ~ never settled" if unstable else ""
        console.print(f"{len(session.records)} figures are in the evidence store{note}")
