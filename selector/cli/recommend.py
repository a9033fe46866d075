"""`selector recommend`: which backbone to take on a hardware, with so many labelled images."""

import re
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from selector.cli.options import Json, Output, ProfileFolder, Quiet, Store
from selector.errors import InvalidInput, OutputFailed

if TYPE_CHECKING:
    from selector.decision.answer import Answer


def recommend(
    hardware: Annotated[str, typer.Option("--hardware", help="A device or class; `selector hardware list`.")],
    data_size: Annotated[int, typer.Option("--data-size", help="Labelled images in all.")],
    classes: Annotated[int | None, typer.Option("--classes", help="Number of classes.")] = None,
    domain: Annotated[
        str | None,
        typer.Option("--domain", help="fine-grained, industrial, medical, natural, remote-sensing or texture images."),
    ] = None,
    max_latency_ms: Annotated[float | None, typer.Option("--max-latency-ms", help="Of one inference.")] = None,
    max_artifact_mb: Annotated[float | None, typer.Option("--max-artifact-mb", help="Of the model file.")] = None,
    max_memory_mb: Annotated[float | None, typer.Option("--max-memory-mb", help="Of the process.")] = None,
    min_accuracy: Annotated[float | None, typer.Option("--min-accuracy", help="Expected, in percent.")] = None,
    runtime: Annotated[str | None, typer.Option("--runtime", help="Only these, with commas between.")] = None,
    precision: Annotated[str | None, typer.Option("--precision", help="Only these, with commas between.")] = None,
    backbones: Annotated[str | None, typer.Option("--backbones", help="Only these, with commas between.")] = None,
    lang: Annotated[str, typer.Option("--lang", help="Language of the answer: en or zh.")] = "en",
    seed: Annotated[int, typer.Option("--seed", help="Seed of the draws.")] = 0,
    json: Json = False,
    output: Output = None,
    store: Store = None,
    profile_folder: ProfileFolder = None,
    quiet: Quiet = False,
) -> None:
    """Recommend a backbone, how deep to freeze it and where to run it, with the evidence behind every figure.

    Writes the page to -o PATH; without it to the folder reports/ in the user's data folder, and says where. With
    --json a page is written only where -o asks for one.
    """
    from selector import advisor
    from selector.decision.request import AskedLimits
    from selector.reporting.words import LANGUAGES

    if lang not in LANGUAGES:
        raise InvalidInput(f"--lang is {lang!r}; it speaks {' and '.join(LANGUAGES)}")
    page = _page_place(output, json, f"recommend-{hardware}-{data_size}.{lang}.html")
    if page == Path("-") and json:
        raise InvalidInput("--json and -o - both want stdout; give the page a file with -o PATH")

    def answer() -> "Answer":
        return advisor.recommend(
            hardware,
            data_size,
            classes=classes,
            domain=domain,
            limits=AskedLimits(max_latency_ms, max_artifact_mb, max_memory_mb, min_accuracy),
            runtimes=_names(runtime),
            precisions=_names(precision),
            backbones=_names(backbones),
            seed=seed,
            store=store,
            profile_folder=profile_folder,
        )

    if page is None:
        _show(answer(), lang, json=json, quiet=quiet, page=None)
        return
    from selector.reporting.output import opened_output
    from selector.reporting.page import render_page

    with opened_output(page) as write:  # before the work: an unwritable place loses no work
        made = answer()
        write(render_page([made], lang=lang, made_at=datetime.now(UTC)))
    if page != Path("-"):
        _show(made, lang, json=json, quiet=quiet, page=str(page.resolve()))


def _show(answer: "Answer", lang: str, *, json: bool, quiet: bool, page: str | None) -> None:
    """The JSON document, or the answer for people; with --quiet only where the page is."""
    try:
        if json:
            from selector.reporting.document import write

            sys.stdout.write(write(answer, lang, report=page))
        elif quiet:
            sys.stdout.write(f"{page}\n" if page else "")
        else:
            from rich.console import Console

            from selector.reporting.terminal import print_answer

            print_answer(answer, lang, Console(highlight=False), page=page)
        sys.stdout.flush()  # a full disk shows itself here, not at the interpreter's end
    except BrokenPipeError:
        raise  # the reader left; `main` knows what that means
    except OSError as error:
        raise OutputFailed(f"cannot write to stdout: {error.strerror or error}") from error


def _page_place(output: Path | None, json: bool, name: str) -> Path | None:
    """Where the page goes; None: nowhere. The folder of the default place is made."""
    if output is not None or json:
        return output
    from selector.resources import home

    folder = home() / "reports"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputFailed(
            f"cannot make {folder} for the page: {error.strerror or error}; name another place with -o PATH"
        ) from error
    return folder / re.sub(r"[^\w.-]", "-", name)  # a name that is no hardware must not leave the folder


def _names(text: str | None) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip()) if text else ()
