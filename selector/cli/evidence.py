"""`selector evidence`: what the store holds, and figures that move between machines."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from selector.cli.options import Json, Quiet, Store

if TYPE_CHECKING:
    from selector.evidence.record import Record

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

    for name in metric or ():
        registered(name)
    with open_store(store) as opened:
        records = opened.records(hardware=hardware, backbones=backbone, metrics=metric)
    if as_json:
        _print_json({"records": [record.as_json() for record in records]})
    elif records:
        _show_records(records)
    elif not quiet:
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


def _show_records(records: "list[Record]") -> None:
    heads = ("backbone", "hardware", "runtime", "conditions", "metric", "figure", "provenance", "source")
    _print_table(heads, [_cells(record) for record in records])


def _cells(record: "Record") -> tuple[str, ...]:
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
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(*heads, box=box.SIMPLE_HEAD)
    for row in rows:
        table.add_row(*map(Text, row))  # text, so that brackets in a citation are no markup
    console = Console()
    if not console.is_terminal:  # a pipe has no width to keep to: a figure stays one line, for grep
        console = Console(width=10_000)
    console.print(table)


def _print_json(document: dict[str, Any]) -> None:
    import json

    typer.echo(json.dumps({"schema_version": 1, **document}, indent=2, ensure_ascii=False))
