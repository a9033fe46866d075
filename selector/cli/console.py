"""The console that tables are printed on, and tables that keep names whole on a narrow one."""

import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

PIPED_WIDTH = 160
GAP = 2  # blanks between columns

Column = tuple[str, Sequence[str]]
"""Heading, which may be of several lines, and cells."""


def stdout_console(width: int | None = None) -> "Console":
    """Stdout, as wide as its terminal. Where it is a pipe and COLUMNS does not say, `width` or PIPED_WIDTH columns."""
    from rich.console import Console

    class Stdout(Console):
        def on_broken_pipe(self) -> None:
            raise BrokenPipeError  # `… | head`: what that means is known where errors are told

    known = sys.stdout.isatty() or os.environ.get("COLUMNS")
    return Stdout(width=None if known else width or PIPED_WIDTH, highlight=False)


def folded(
    title: str | None, named: Sequence[Column], figures: Sequence[Column], width: int, *, left: Iterable[str] = ()
) -> "Iterator[Table]":
    """A table whose columns fit into `width`; those that find no room follow in a further table of the same rows.

    `named` columns say what a row is about and stand in each. Figures are set to the right, but for the headings
    `left`.
    """
    for number, part in enumerate(_parts(named, figures, width)):
        heading = f"{title}, continued" if title and number else title
        yield _table(heading, named, part, {*left})


def _parts(named: Sequence[Column], figures: Sequence[Column], width: int) -> list[list[Column]]:
    """The figures' columns in their order, cut so that each part fits beside the naming columns."""
    taken = sum(map(_width, named))
    parts: list[list[Column]] = [[]]
    used = taken
    for column in figures:
        if parts[-1] and used + _width(column) - GAP > width:
            parts.append([])
            used = taken
        parts[-1].append(column)
        used += _width(column)
    return parts


def _width(column: Column) -> int:
    """What a column takes, the gap after it included."""
    heading, cells = column
    return max(map(len, (*heading.split("\n"), *cells))) + GAP


def _table(title: str | None, named: Sequence[Column], figures: Sequence[Column], left: set[str]) -> "Table":
    from rich.table import Table
    from rich.text import Text

    table = Table(title=title, title_justify="left", box=None, pad_edge=False, padding=(0, GAP, 0, 0))
    for heading, cells in named:
        number = all(cell.replace(",", "").isdigit() for cell in cells)
        table.add_column(heading, justify="right" if number else "left", overflow="fold", vertical="bottom")
    for heading, _ in figures:
        table.add_column(heading, justify="left" if heading in left else "right", no_wrap=True)
    for row in zip(*(cells for _, cells in (*named, *figures)), strict=True):
        table.add_row(*map(Text, row))  # text, so that brackets are no markup
    return table
