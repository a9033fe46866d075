"""The console that tables are printed on."""

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

PIPED_WIDTH = 160


def stdout_console() -> "Console":
    """Stdout, as wide as its terminal. Where it is a pipe and COLUMNS does not say, PIPED_WIDTH columns."""
    from rich.console import Console

    known = sys.stdout.isatty() or os.environ.get("COLUMNS")
    return Console(width=None if known else PIPED_WIDTH)
