"""`selector evidence`: what the store holds, and figures that move between machines."""

import os
import sys
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from selector.cli.console import stdout_console
from selector.cli.options import Json, Quiet, Store
from selector.errors import Faults, close_name

if TYPE_CHECKING:
    from collections.abc import Sequence

    from selector.evidence.record import Record

LINE = 10_000  # columns on a pipe, which has no width to keep to: a figure stays one line, for grep
HEADS = ("backbone", "hardware", "runtime", "conditions", "metric", "figure", "provenance", "source")
NAMED = 12  # devices or backbones that are all named where another one is asked for

app = typer.Typer(help="Figures with their provenance: list them, move them between machines.", no_args_is_help=True)

HardwareFilter = Annotated[list[str] | None, typer.Option("--hardware", help="Only this hardware; may be repeated.")]
BackboneFilter = Annotated[list[str] | None, typer.Option("--backbone", help="Only this backbone; may be repeated.")]
MetricFilter = Annotated[list[str] | None, typer.Option("--metric", help="Only this metric; may be repeated.")]
FormatName = Annotated[
    str | None, typer.Option("--format", help="csv, parquet or json; without it the file's suffix says.")
]


@app.command("list")
def list_records(
    hardware: HardwareFilter = None,
    backbone: BackboneFilter = None,
    metric: MetricFilter = None,
    metrics: Annotated[bool, typer.Option("--metrics", help="List the metrics instead: name, unit, meaning.")] = False,
    store: Store = None,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Show the figures in the store, each with its conditions and its source."""
    if metrics:
        _show_metrics(as_json)
        return
    from selector.evidence.metrics import metric as registered
    from selector.evidence.store import open_store

    faults = Faults()
    for name in metric or ():
        with faults:
            registered(name)
    faults.tell()
    hints: list[str] = []
    with open_store(store) as opened:
        records = opened.records(hardware=hardware, backbones=backbone, metrics=metric)
        if not records and not quiet:
            hints = _absent(opened.records(), hardware or (), backbone or ())
    for hint in hints:
        typer.echo(hint, err=True)
    if as_json:
        _print_json({"records": [record.as_json() for record in records]})
    elif records:
        _show_records(records)
    elif not quiet and not hints:
        typer.echo("no figures; `selector profile` measures some, `selector evidence import` brings some", err=True)


@app.command("export")
def export_records(
    output: Annotated[Path, typer.Option("-o", "--output", help="Write to this file; - is stdout (with --format).")],
    format_name: FormatName = None,
    store: Store = None,
    quiet: Quiet = False,
) -> None:
    """Write all figures to a file. This machine's own carry its name instead of "local"."""
    from selector.evidence.exchange import Figures, Format, dump, format_of, write
    from selector.evidence.store import open_store

    form = format_of(output, format_name)
    with open_store(store) as opened:
        records = opened.records()
        environments = opened.environments([r.fingerprint for r in records if r.fingerprint is not None])
        content = dump(Figures(tuple(records), environments), form, device=opened.device)
    write(output, content)
    if not quiet:
        typer.echo(f"figures written to {output}: {len(records)}", err=True)
        if environments and form is not Format.JSON:
            typer.echo(
                f"{form.value} carries fingerprints alone; what they stand for ({len(environments)} known here) "
                "travels in json",
                err=True,
            )


@app.command("import")
def import_records(
    files: Annotated[list[Path], typer.Argument(help="Files that `selector evidence export` wrote, or like them.")],
    format_name: FormatName = None,
    store: Store = None,
    quiet: Quiet = False,
) -> None:
    """Bring figures from files into the store: all of them, or none where a row is bad."""
    from selector.evidence.exchange import load
    from selector.evidence.store import open_store

    figures = load(files, named=format_name)
    with open_store(store) as opened:
        new = opened.add(figures.records, environments=figures.environments)
    if not quiet:
        typer.echo(f"figures imported: {new}, there already: {len(figures.records) - new}", err=True)


def _show_metrics(as_json: bool) -> None:
    from selector.evidence.metrics import METRICS

    if as_json:
        fields = ("name", "unit", "better", "says")
        _print_json({"metrics": [{field: getattr(m, field) for field in fields} for m in METRICS.values()]})
        return
    _print_table(
        ("metric", "unit", "better", "meaning"), [(m.name, m.unit, m.better, m.says) for m in METRICS.values()]
    )


def _absent(records: "Sequence[Record]", hardware: "Sequence[str]", backbones: "Sequence[str]") -> list[str]:
    """A sentence for each name asked for of which the store holds nothing, with the nearest of those that it knows."""
    found = []
    for what, asked, known in (
        ("hardware", hardware, sorted({r.conditions.hardware for r in records})),
        ("backbone", backbones, sorted({r.conditions.backbone for r in records})),
    ):
        listed = f"; there are some of {', '.join(known)}" if 0 < len(known) <= NAMED else ""
        found += [f"no figures of {what} {n!r}{listed}{close_name(n, known)}" for n in asked if n not in known]
    return found


def _show_records(records: "Sequence[Record]") -> None:
    """A line each on a pipe, for grep; on a terminal what figures are about, then the figures, each with its source."""
    from rich.padding import Padding
    from rich.text import Text

    cells = [_cells(record) for record in records]
    if not sys.stdout.isatty() and "COLUMNS" not in os.environ:
        _print_table(HEADS, cells)
        return
    console = stdout_console()
    longest = max(len(metric) for *_, metric, _, _, _ in cells)
    for about, group in groupby(cells, key=lambda cell: cell[:4]):
        console.print(Text(", ".join(part for part in about if part), style="bold"))
        for *_, metric, figure, provenance, source in group:
            console.print(Padding(Text(f"{metric:{longest}}  {figure}  {provenance}"), (0, 0, 0, 2)))
            console.print(Padding(Text(source, style="dim"), (0, 0, 0, 6)))


def _cells(record: "Record") -> tuple[str, ...]:
    """The record in the order of HEADS."""
    at, figure = record.conditions, record.figure
    digits, unit = figure.metric.digits, figure.metric.unit
    interval = ""
    if figure.low is not None and figure.high is not None:
        interval = f" [{figure.low:,.{digits}f}, {figure.high:,.{digits}f}]"
    conditions = [
        at.precision,
        at.resolution and f"{at.resolution} px",
        at.batch_size and f"batch {at.batch_size}",
        at.threads and f"{at.threads} threads",
        at.freeze and f"{at.freeze.name} ({at.freeze.frozen_blocks} of {at.freeze.total_blocks} frozen)",
        "unstable" if record.stable is False else None,
    ]
    return (
        at.backbone,
        at.hardware,
        " ".join(word for word in (at.runtime, at.runtime_version) if word),
        ", ".join(word for word in conditions if word),
        figure.metric.name,
        f"{figure.value:,.{digits}f}{' ' if unit else ''}{unit}{interval}",
        figure.provenance.value,
        figure.source,
    )


def _print_table(heads: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(*heads, box=box.SIMPLE_HEAD)
    for row in rows:
        table.add_row(*map(Text, row))  # text, so that brackets in a citation are no markup
    stdout_console(LINE).print(table)


def _print_json(document: dict[str, Any]) -> None:
    import json

    typer.echo(json.dumps({"schema_version": 1, **document}, indent=2, ensure_ascii=False))
