"""`selector estimate`: latency of backbones on hardware that is not here."""

import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from selector.cli.options import Json, Output, ProfileFolder, Quiet, Store
from selector.errors import Faults, InvalidInput, NotComparable, UnknownName

if TYPE_CHECKING:
    from collections.abc import Sequence

    from selector.evidence.record import Record

PIPED_WIDTH = 160  # columns of the table where there is no terminal that says


def estimate(
    backbones: Annotated[list[str] | None, typer.Argument(help="Backbones; `selector catalog` lists them.")] = None,
    hardware: Annotated[str, typer.Option("--hardware", help="A device or class; `selector hardware list`.")] = "",
    all_backbones: Annotated[bool, typer.Option("--all", help="All of the catalog.")] = False,
    runtime: Annotated[
        list[str] | None,
        typer.Option("--runtime", help="With commas between, or repeated. Without it: all that the hardware offers."),
    ] = None,
    precision: Annotated[
        list[str] | None,
        typer.Option("--precision", help="With commas between, or repeated. Without it: all of each runtime."),
    ] = None,
    resolution: Annotated[
        int | None, typer.Option("--resolution", min=1, help="Pixels a side. Without it: the backbone's own.")
    ] = None,
    batch: Annotated[int, typer.Option("--batch", min=1, help="Images computed at once.")] = 1,
    output: Output = None,
    store: Store = None,
    hardware_profiles: ProfileFolder = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Latency of backbones on a device: measured or published where there is a figure, estimated where there is none.

    An estimate states an 80 % interval and what it rests on. For a class, on its first reference device.
    """
    # the matrices are small: starting threads takes longer than they save, several times so on a busy machine
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from selector.estimation.answers import estimates
    from selector.hardware.loading import profile, reference_device
    from selector.hardware.profiles import unknown_ids
    from selector.reporting.output import opened_output

    faults = Faults()
    offered: tuple[str, ...] = ()
    with faults:
        names = _backbones(backbones or [], all_backbones)
    with faults:
        found = reference_device(profile(_named(hardware), hardware_profiles), hardware_profiles)
        offered = tuple(offer.name for offer in found.runtimes)
    runtimes, precisions = _split(runtime), _split(precision)
    faults.found += unknown_ids(runtimes, precisions, offered=offered)
    faults.tell()
    with opened_output(output or Path("-")) as write:
        records, silent = estimates(
            found,
            names,
            _stored(store, found.name),
            runtimes=runtimes,
            precisions=precisions,
            resolution=resolution,
            batch_size=batch,
        )
        if not quiet:
            if found.name != hardware:
                typer.echo(f"{hardware}: stated on its first reference device, {found.name}", err=True)
            for line in silent:
                typer.echo(line, err=True)
        if not records:
            raise NotComparable(silent or f"nothing can be said of {', '.join(names)} on {found.name}")
        write(document(records) if as_json else _table(records, to_terminal=output is None))


def document(records: "Sequence[Record]") -> str:
    """The command's JSON document."""
    entries = [record.as_json() for record in records]
    return json.dumps({"schema_version": 1, "records": entries}, ensure_ascii=False, indent=2) + "\n"


def _split(texts: list[str] | None) -> tuple[str, ...]:
    """The names in all texts, which may hold several with commas between."""
    return tuple(dict.fromkeys(name.strip() for text in texts or () for name in text.split(",") if name.strip()))


def _named(hardware: str) -> str:
    if not hardware:
        raise InvalidInput("name the hardware with --hardware; `selector hardware list` lists devices and classes")
    return hardware


def _backbones(asked: "Sequence[str]", everything: bool) -> tuple[str, ...]:
    from selector.backbones.layers import networks

    if everything:
        if asked:
            raise InvalidInput("name backbones or ask for --all, not both")
        from selector.backbones.catalog import names

        return names()
    if not asked:
        raise InvalidInput("name at least one backbone, or ask for --all; `selector catalog` lists them")
    known = networks()
    faults = [str(UnknownName("backbone", n, known, listing="selector catalog")) for n in asked if n not in known]
    if faults:
        raise InvalidInput(faults)
    return tuple(asked)


def _stored(store: str | None, hardware: str) -> "list[Record]":
    from selector.evidence.store import open_store

    with open_store(store) as opened:
        return opened.records(hardware=hardware)


def _table(records: "Sequence[Record]", *, to_terminal: bool) -> str:
    from io import StringIO

    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(
        "Backbone", "px", "Batch", "Runtime", "Precision", "p50, ms", "80 % interval", "Provenance", box=box.SIMPLE_HEAD
    )
    for r in sorted(records, key=_order):
        c, f = r.conditions, r.figure
        interval = "" if f.low is None or f.high is None else f"{f.low:.3g} to {f.high:.3g}"
        cells: list[Any] = [c.backbone, c.resolution, c.batch_size, c.runtime, c.precision, f"{f.value:.3g}", interval]
        table.add_row(*(Text(str(cell)) for cell in (*cells, f.provenance.value)))
    sources = sorted(
        {
            f"{r.conditions.runtime} {r.conditions.precision}: {r.figure.source}"
            for r in records
            if r.figure.provenance == "estimated"
        }
    )
    text = StringIO()
    terminal = to_terminal and sys.stdout.isatty()
    console = Console(file=text, width=None if terminal else PIPED_WIDTH, force_terminal=terminal)
    console.print(table)
    for source in sources:
        console.print(Text(source))
    return text.getvalue()


def _order(record: "Record") -> tuple[str, str, float]:
    c = record.conditions
    return (c.runtime or "", c.precision or "", record.figure.value)
