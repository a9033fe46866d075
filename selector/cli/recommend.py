"""`selector recommend`: which backbone to take on a hardware, with so many labelled images."""

import re
from contextlib import ExitStack
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

    The page goes to -o PATH; without it to the folder reports/ in the user's data folder, and the answer says where.
    With --json, -o names the JSON document, unless PATH ends in .html: then it names the page.
    """
    from selector import advisor
    from selector.decision.request import AskedLimits
    from selector.reporting.output import STDOUT, opened_output
    from selector.reporting.page import render_page
    from selector.reporting.words import LANGUAGES

    if lang not in LANGUAGES:
        raise InvalidInput(f"--lang is {lang!r}; it speaks {' and '.join(LANGUAGES)}")
    document = output if json and output is not None and output.suffix.lower() not in (".html", ".htm") else None
    page = _page_place(output if document is None else None, f"recommend-{hardware}-{data_size}.{lang}.html")
    # both places are tried before the work, so that an unwritable one loses none
    with ExitStack() as places:
        write_page = places.enter_context(opened_output(page))
        write_document = places.enter_context(opened_output(document or STDOUT))
        answer = advisor.recommend(
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
        write_page(render_page([answer], lang=lang, made_at=datetime.now(UTC)))
        if page != STDOUT:
            write_document(_told(answer, lang, json=json, quiet=quiet, page=str(page.resolve())))


def _told(answer: "Answer", lang: str, *, json: bool, quiet: bool, page: str) -> str:
    """The JSON document, or the answer for people; with --quiet only where the page is."""
    if json:
        from selector.reporting.document import write

        return write(answer, lang, report=page)
    if quiet:
        return f"{page}\n"
    from rich.console import Console

    from selector.reporting.terminal import print_answer

    console = Console(highlight=False)
    with console.capture() as captured:  # keeps the colours that this terminal can show
        print_answer(answer, lang, console, page=page)
    return captured.get()


def _page_place(output: Path | None, name: str) -> Path:
    """Where the page goes. The folder of the default place is made."""
    if output is not None:
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
