"""`selector estimate`: latency of backbones on hardware that is not here."""

import json
import os
import re
import sys
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from selector.cli.console import PIPED_WIDTH, folded
from selector.cli.options import Json, Output, ProfileFolder, Quiet, Store
from selector.errors import Faults, InvalidInput, NotComparable, UnknownName

if TYPE_CHECKING:
    from collections.abc import Sequence

    from selector.cli.console import Column
    from selector.evidence.record import Record
    from selector.hardware.profiles import HardwareProfile

ALL_COLUMNS = 120  # from so many on, runtime and precision stand in the table
LEFT = ("Provenance",)


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
        int | None, typer.Option("--resolution", help="Pixels a side, up to 2048. Without it: the backbone's own.")
    ] = None,
    batch: Annotated[
        int, typer.Option("--batch", help="Images computed at once; up to what figures are known of.")
    ] = 1,
    output: Output = None,
    store: Store = None,
    hardware_profiles: ProfileFolder = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Latency of backbones on a device: measured or published where there is a figure, estimated where there is none.

    An estimate states an 80 % interval and what it rests on. For a class, on its first reference device. -o FILE.json
    writes JSON without --json too.
    """
    # the matrices are small: starting threads takes longer than they save, several times so on a busy machine
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    from selector.estimation.answers import beyond_figures, estimates
    from selector.hardware.loading import profile, reference_device
    from selector.hardware.profiles import unknown_ids
    from selector.reporting.output import opened_output

    faults = Faults()
    found: HardwareProfile | None = None
    offered: tuple[str, ...] = ()
    measured: list[Record] = []
    with faults:
        names = _backbones(backbones or [], all_backbones)
    with faults:
        found = reference_device(profile(_named(hardware), hardware_profiles), hardware_profiles)
        offered = tuple(offer.name for offer in found.runtimes)
        measured = _stored(store, found.name)
    runtimes, precisions = _split(runtime), _split(precision)
    faults.found += unknown_ids(runtimes, precisions, offered=offered)
    faults.found += beyond_figures(resolution, batch, found, measured)
    faults.tell()
    assert found is not None, "a fault was told where there is none"
    with opened_output(output or Path("-")) as write:
        records, silent = estimates(
            found,
            names,
            measured,
            runtimes=runtimes,
            precisions=precisions,
            resolution=resolution,
            batch_size=batch,
        )
        if not records:
            raise NotComparable("\n".join(silent) or f"nothing can be said of {', '.join(names)} on {found.name}")
        if not quiet:
            if found.name != hardware:
                typer.echo(f"{hardware}: stated on its first reference device, {found.name}", err=True)
            for line in silent:
                typer.echo(line, err=True)
        json_wanted = as_json or (output is not None and output.suffix.lower() == ".json")
        write(document(records) if json_wanted else _table(records, to_terminal=output is None))


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
    """One table where there is room for all; on a narrow terminal one for each runtime and precision."""
    from io import StringIO

    from rich.console import Console
    from rich.text import Text

    terminal = to_terminal and (sys.stdout.isatty() or os.environ.get("COLUMNS"))
    text = StringIO()
    console = Console(
        file=text,
        width=None if terminal else PIPED_WIDTH,
        force_terminal=to_terminal and sys.stdout.isatty(),
        highlight=False,
    )
    ordered = sorted(records, key=_order)
    if console.width >= ALL_COLUMNS:
        console.print(*folded(None, *_columns(ordered, with_offer=True), console.width, left=LEFT), "")
    else:
        for offer, group in groupby(ordered, key=_offer):
            title = f"{offer}, batch {records[0].conditions.batch_size}"
            columns = _columns(list(group), with_offer=False)
            console.print(*folded(title, *columns, console.width, left=LEFT), "")
    for offer, group in groupby((r for r in ordered if r.figure.provenance == "estimated"), key=_offer):
        console.print(Text(f"{offer}: {rests_on([r.figure.source for r in group])}"))
    return text.getvalue()


def _offer(record: "Record") -> str:
    return f"{record.conditions.runtime} {record.conditions.precision}"


def rests_on(sources: "Sequence[str]") -> str:
    """What several estimates rest on, in a sentence: what all have in common, then what holds for some of them.

    Remarks that differ in the percentage that they begin with are one remark with a range.
    """
    remarks: dict[str, list[int | None]] = {}
    for source in sources:
        for part in source.split("; "):
            share = re.match(r"\d+(?=%)", part)
            remarks.setdefault(part[share.end() :] if share else part, []).append(int(share[0]) if share else None)
    told = []
    for remark, shares in sorted(remarks.items(), key=lambda item: -len(item[1])):
        known = [share for share in shares if share is not None]
        span = f"{min(known)} to {max(known)}" if known and min(known) < max(known) else f"{known[0]}" if known else ""
        some = "" if len(shares) == len(sources) else f"for {len(shares)} of {len(sources)}, "
        told.append(f"{some}{span}{remark}")
    return "; ".join(told)


def _columns(records: "Sequence[Record]", *, with_offer: bool) -> "tuple[list[Column], list[Column]]":
    """What each row is about, and its figures."""
    from selector.reporting.numbers import rounded

    at = [r.conditions for r in records]
    named = [("Backbone", [c.backbone for c in at]), ("px", [str(c.resolution) for c in at])]
    if with_offer:
        named += [("Runtime", [str(c.runtime) for c in at]), ("Precision", [str(c.precision) for c in at])]
    intervals = [
        "" if f.low is None or f.high is None else f"{rounded(f.low)} to {rounded(f.high)}"
        for f in (r.figure for r in records)
    ]
    figures: list[Column] = [
        ("p50, ms", [rounded(r.figure.value) for r in records]),
        ("80 % interval", intervals),
        ("Provenance", [r.figure.provenance.value for r in records]),
    ]
    if with_offer:
        figures.append(("Batch", [str(c.batch_size) for c in at]))
    return list(named), figures


def _order(record: "Record") -> tuple[str, str, float]:
    c = record.conditions
    return (c.runtime or "", c.precision or "", record.figure.value)
