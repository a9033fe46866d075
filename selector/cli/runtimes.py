"""`selector runtimes`: which runtimes can be used on this machine, and what the others lack."""

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

import typer

from selector.cli.console import stdout_console
from selector.cli.options import Json

if TYPE_CHECKING:
    from selector.hardware.machine import Machine


@dataclass(frozen=True, slots=True)
class Row:
    """One runtime as this machine finds it."""

    name: str
    usable: bool
    version: str | None  # of its library; None: not installed
    precisions: tuple[str, ...]  # that can be used here
    elsewhere: tuple[str, ...]  # that it knows and this machine cannot use
    by_default: bool  # measured where no runtime is named
    why: str | None  # it cannot be used, and what to install


def runtimes(as_json: Json = False) -> None:
    """Show which runtimes and precisions can be used here, and why the others cannot and what to install."""
    from selector.hardware.machine import detect

    found = rows(detect())
    if as_json:
        typer.echo(json.dumps({"schema_version": 1, "runtimes": [asdict(row) for row in found]}, indent=2))
        return
    _print(found)


def rows(machine: "Machine") -> list[Row]:
    """All runtimes of the registry, in its order. No runtime's library is imported."""
    from importlib.metadata import PackageNotFoundError

    from selector.profiling.runtimes import RUNTIMES, runtime

    found = []
    for name in RUNTIMES:
        kind = runtime(name)
        offer = kind.availability(machine)
        try:
            version: str | None = kind.version()
        except PackageNotFoundError:
            version = None
        elsewhere = tuple(p for p in kind.precisions if p not in offer.precisions)
        found.append(Row(name, offer.usable, version, offer.precisions, elsewhere, kind.by_default, offer.why))
    return found


def _print(found: list[Row]) -> None:
    from rich import box
    from rich.table import Table

    console = stdout_console()
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for heading in ("runtime", "version", "precisions here", "not on this machine"):
        table.add_column(heading, overflow="fold")
    for row in found:
        if row.usable:
            name = row.name if row.by_default else f"{row.name} *"
            table.add_row(name, row.version, ", ".join(row.precisions), ", ".join(row.elsewhere))
    console.print(table)
    if not all(row.by_default for row in found if row.usable):
        console.print("* measured only where `--runtime` names it", highlight=False)
    missing = [row for row in found if not row.usable]
    if missing:
        console.print("Not usable here:")
    for row in missing:
        console.print(f"  {row.name}: {row.why}", highlight=False, markup=False, soft_wrap=True)
