"""Options that several commands share, declared once so that they read the same everywhere."""

from pathlib import Path
from typing import Annotated

import typer

Debug = Annotated[bool, typer.Option("--debug", help="Show a traceback when something fails.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document with schema_version.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress on stderr.")]
Output = Annotated[Path | None, typer.Option("-o", "--output", help="Write to this file; - is stdout.")]
Store = Annotated[
    str | None,
    typer.Option("--store", envvar="SELECTOR_STORE", help="Evidence store: a file or a postgresql:// URL."),
]
ProfileFolder = Annotated[
    Path | None,
    typer.Option(
        "--hardware-profiles",
        envvar="SELECTOR_HARDWARE_PROFILES",
        help="Folder with hardware profiles of your own.",
    ),
]
