"""`selector profile`: measures backbones on this machine."""

import json
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from selector.cli.console import folded, stdout_console
from selector.cli.options import Json, Output, Quiet, Store
from selector.cli.profile_blocks import by_block
from selector.cli.profile_grid import all_precisions, grid_of_blocks, read_grid
from selector.cli.profile_progress import Progress, Reading
from selector.errors import Faults, NotComparable

if TYPE_CHECKING:
    from rich.console import Console

    from selector.evidence.record import Record
    from selector.hardware.machine import State
    from selector.profiling.session import Session

INTERRUPTED = 130  # what a shell reports for a command that Ctrl-C ended
BUSY = 0.5  # load average per usable core above which figures are likely to be unstable


def profile(
    context: typer.Context,
    backbones: Annotated[list[str] | None, typer.Argument(help="Backbones; `selector catalog` lists them.")] = None,
    all_backbones: Annotated[bool, typer.Option("--all", help="All of the catalog, or of --family.")] = False,
    family: Annotated[
        str | None, typer.Option("--family", help="Of resnet, vgg, efficientnet, mobilenet, with commas between.")
    ] = None,
    runtime: Annotated[
        list[str] | None,
        typer.Option(
            "--runtime",
            help="Runtimes, with commas between; NAME:PRECISION for one that is measured in a precision of its own. "
            "Without it: all that are usable here.",
        ),
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
    throughput: Annotated[
        bool,
        typer.Option(
            "--throughput", help="Time per image in batches too, at sizes that double until nothing is gained."
        ),
    ] = False,
    p90: Annotated[
        bool,
        typer.Option(
            "--p90",
            help="A bound on the 90th percentile of every model that takes up to 0.23 s, for which limits on latency "
            "are held against it. Without it: of those whose 64 samples take a second.",
        ),
    ] = False,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Continue a broken run: what the store holds from the last 24 hours, of the same machine, software, "
            "weights and images, is not measured again.",
        ),
    ] = False,
    blocks: Annotated[
        bool,
        typer.Option(
            "--by-block",
            help="Instead: MACs, activations and time of each block of one backbone in torch-eager. "
            "-o FILE.html draws them; nothing goes to the store.",
        ),
    ] = False,
    output: Output = None,
    store: Store = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Measure latency, load time and memory of backbones here, and what training costs at a freeze depth.

    Every finished figure is in the evidence store before the next measurement starts. `selector profile show` shows
    what it holds.
    """
    from rich.console import Console

    from selector.backbones.catalog import names
    from selector.evidence.store import open_store
    from selector.hardware.machine import detect, read_state
    from selector.profiling.material import Material
    from selector.profiling.plan import plan
    from selector.profiling.protocol import EVERY_P90, INFERENCE
    from selector.profiling.session import Session, Thoroughness

    machine, console = detect(), Console(stderr=True)
    material = Material(weights, images)
    faults, named = Faults(), tuple(backbones or ())
    with faults:
        grid = read_grid(
            backbones,
            all_backbones,
            family,
            runtime,
            precision,
            freeze,
            batch_size,
            resolution,
            threads,
            throughput,
            machine,
        )
        named = grid.backbones
    with faults, Reading(console, shown=not quiet) as reading:
        known = [name for name in named if name in names()]  # others are told of already
        material.check(known, all_precisions(precision, runtime), reading.told)
    faults.tell()
    if blocks:
        others = {"--weights": weights, "--images": images, "--resume": resume, "--p90": p90}
        others |= {"--batch-size": _named(context, "batch_size"), "--store": _named(context, "store")}
        grid = grid_of_blocks(grid, others)
        by_block(grid, machine, output, as_json=as_json)
        return
    jobs = plan(grid, machine)
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
            progress.finished(records)

        thoroughness = Thoroughness(EVERY_P90 if p90 else INFERENCE)
        session = Session(machine, keep, progress, thoroughness, material)
        progress.failures = session.failures
        if resume:
            session.resume(jobs, opened.records(hardware="local", fingerprint=session.fingerprint))
            if not quiet:
                _tell_resumed(console, session)
                progress.finished(session.kept.records)
        try:
            session.run(jobs)
        except KeyboardInterrupt:
            raise typer.Exit(_interrupted(progress, console, session)) from None
        finally:
            progress.close()
        write(session, before, True)
    after = read_state()
    slowed = after.slowed_since(before)
    if slowed and not quiet:
        console.print(f"{slowed}: figures may be those of a slowed machine", style="yellow", highlight=False)
    wall_s = (after.at - before.at).total_seconds()
    _report(session, len(jobs), wall_s, console, as_json=as_json or output == Path("-"), quiet=quiet)


def _named(context: typer.Context, option: str) -> bool:
    """Whether an option stands in the command itself, and not only in the environment or its default."""
    source = context.get_parameter_source(option)
    return source is not None and source.name == "COMMANDLINE"


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
    from selector.profiling.energy import availability
    from selector.profiling.jobs import without_moot
    from selector.profiling.runtimes import runtime

    after = read_state()
    devices = sorted({runtime(name).device for r in session.records if (name := r.conditions.runtime)})
    return {
        "schema_version": 1,
        "complete": complete,
        "records": [record.as_json() for record in session.records],
        "failures": [failure.as_json() for failure in without_moot(session.failures)],
        "environment": session.environment,
        # clocks and throttling; never read while something is timed
        "state": {"before": before.as_json(), "after": after.as_json()},
        "wall_s": (after.at - before.at).total_seconds(),
        "paces": session.paces.as_json(),  # that latencies on the CPU are given at, and the machine's own
        "states": session.states.as_json(),  # the fastest that this machine is known in, by runtime
        "timed_s": session.timed_s,  # of that, inside timed inferences and training steps
        "energy": {device: availability(device) for device in devices},
        # records of a broken run that --resume took over: they are among `records`
        "resumed": {"measurements": session.kept.parts, "records": len(session.kept.records)},
    }


def _warn_if_busy(console: "Console", state: "State", threads: int) -> None:
    if state.load_average is not None and state.load_average[0] > BUSY * threads:
        load = f"{state.load_average[0]:.1f}"
        console.print(f"this machine is busy (load {load} on {threads} cores): figures may be unstable", style="yellow")


def _tell_resumed(console: "Console", session: "Session") -> None:
    kept = session.kept
    parts = [
        f"{len(found)} of {what}"
        for found, what in (
            (kept.cold, "load and memory"),
            (kept.steady, "latency"),
            (kept.rates, "throughput"),
            (kept.trained, "training steps"),
        )
        if found
    ]
    told = f"not measured again: {', '.join(parts)}" if parts else "the store holds nothing of this run to go on from"
    console.print(f"resuming; {told}", highlight=False)


def _interrupted(progress: Progress, console: "Console", session: "Session") -> int:
    progress.close()
    told = f"interrupted; {len(session.records)} finished figures are in the store"
    console.print(f"{told}; the same command with --resume goes on from there", highlight=False)
    return INTERRUPTED


def _report(session: "Session", asked: int, wall_s: float, console: "Console", *, as_json: bool, quiet: bool) -> None:
    """Tables on stdout, failures on stderr. Raises NotComparable where nothing of `asked` configurations was measured.

    Some that failed are told and are no failure of the command: what was measured stands.
    """
    from selector.profiling.jobs import without_moot
    from selector.profiling.tables import tables

    if not as_json:
        stdout = stdout_console()
        for table in tables(session.records):
            stdout.print(*folded(table.title, table.named, table.figures, stdout.width), "")
    for failure in without_moot(session.failures):
        console.print(f"{failure.job}: {failure.outcome}: {failure.detail}", style="red", markup=False, highlight=False)
    if not any(record.n for record in session.records):
        raise NotComparable(f"nothing was measured; configurations that failed, as said above: {asked} of {asked}")
    if not quiet:
        unstable = sum(r.stable is False and r.figure.metric.name.endswith(("p50", "step_ms")) for r in session.records)
        note = f"; {unstable} marked ~ are unstable, and sources say why" if unstable else ""
        if session.timed_s:
            note += f"; {wall_s:.0f} s, {1 - session.timed_s / wall_s:.0%} of it outside timed work"
        if failed := len({failure.job for failure in session.failures if failure.whole}):
            note += f"; configurations that failed, as said above: {failed} of {asked}"
        console.print(f"{len(session.records)} figures are in the evidence store{note}")
        if at_pace := pace_note(session.paces.as_json()):
            console.print(at_pace, markup=False, highlight=False, soft_wrap=True)
        if of_state := slower_note(session.records, session.states.as_json()):
            console.print(of_state, markup=False, highlight=False, soft_wrap=True)


def slower_note(records: Sequence["Record"], states: Sequence[dict[str, Any]]) -> str | None:
    """That the machine was in a slower state than before, and what to do where that lasts; None where it was not."""
    from selector.profiling.machine_state import SLOWER_STATE

    slower = sum(SLOWER_STATE in r.figure.source for r in records if r.figure.metric.name == "latency_ms_p50")
    places = [state["kept"] for state in states if state["kept"]]
    if not slower or not places:
        return None
    return (
        f"{slower} latencies are of a slower state of the machine than it has been in, so they are unstable; measure "
        f"again later, or, if it will not come back, remove {' and '.join(places)}"
    )


def pace_note(paces: Sequence[dict[str, Any]]) -> str | None:
    """What pace latencies on the CPU are given at, and how far from it the machine was; None where nobody read it."""
    read = [pace for pace in paces if pace["session_ms"]]
    if not read:
        return None
    told = [
        f"{pace['read_by']} take "
        + " and ".join(f"{a / b:.2f}" for a, b in zip(pace["session_ms"], pace["reference_ms"], strict=True))
        + f" times as long now as then (reference of {pace['reference_at'][:10]}, {_where(pace['kept'])})"
        for pace in read
    ]
    return (
        f"latencies on the CPU are given at this machine's reference pace: {'; '.join(told)}. Sources tell the medians "
        "as timed; who removes such a file and measures all again takes another reference"
    )


def _where(kept: str | None) -> str:
    return f"in {kept}" if kept else "not kept"
