"""Options that several commands share, declared once so that they read the same everywhere."""

import os
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


def one_linear_algebra_thread() -> None:
    """Keep NumPy's OpenBLAS at one thread, unless the user has said how many; call it before NumPy is imported.

    An answer solves many small systems: more threads gain nothing on an idle machine, and on a busy one they wait
    for each other by spinning, which takes an answer from one second to four.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
