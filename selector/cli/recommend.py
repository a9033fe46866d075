"""`selector recommend`: which backbone to take on a hardware, with so many labelled images."""

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from selector.cli.options import Json, Output, ProfileFolder, Quiet, Store, one_linear_algebra_thread
from selector.errors import Faults, NoFeasibleCandidate, OutputFailed

if TYPE_CHECKING:
    from selector.decision.answer import Answer
    from selector.tuning.info import TuneResult

DEFAULT_BUDGET = "30m"


def recommend(
    hardware: Annotated[str, typer.Option("--hardware", help="A device or class; `selector hardware list`.")],
    data_size: Annotated[int | None, typer.Option("--data-size", help="Labelled images in all.")] = None,
    data: Annotated[
        Path | None,
        typer.Option("--data", help="The images: a folder with a subfolder a class, or a CSV or Parquet file."),
    ] = None,
    budget: Annotated[str | None, typer.Option("--budget", help="With --data: time for everything; 30m.")] = None,
    weights: Annotated[
        Path | None, typer.Option("--weights", help="With --data: folder with pretrained weights by timm id.")
    ] = None,
    random_init: Annotated[
        bool, typer.Option("--random-init", help="With --data: start from random weights, if you must.")
    ] = False,
    save: Annotated[
        Path | None, typer.Option("--save", help="With --data: folder for the model; default: in the study's.")
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="With --data: go on with the last search on them, broken off or not.")
    ] = False,
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

    With --data, the images are searched on for --budget, and what is measured replaces what is expected.

    The page goes to -o PATH; without it to the folder reports/ in the user's data folder, and the answer says where.
    With --json, -o names the JSON document, unless PATH ends in .html: then it names the page.
    """
    if data is None:  # a search's workers have threads of their own
        one_linear_algebra_thread()
    from selector.decision.request import AskedLimits
    from selector.reporting.output import STDOUT, opened_output
    from selector.reporting.page import render_page
    from selector.reporting.words import LANGUAGES

    searching = {"budget": budget, "weights": weights, "random_init": random_init, "save": save, "resume": resume}
    asked: dict[str, Any] = {
        "domain": domain,
        "limits": AskedLimits(max_latency_ms, max_artifact_mb, max_memory_mb, min_accuracy),
        "runtimes": _names(runtime),
        "precisions": _names(precision),
        "backbones": _names(backbones),
        "seed": seed,
        "profile_folder": profile_folder,
    }
    faults = Faults(_faults(data_size, data, classes=classes, **searching))
    if lang not in LANGUAGES:
        faults.found.append(f"--lang is {lang!r}; it speaks {' and '.join(LANGUAGES)}")
    _tell(faults, hardware, data_size, classes, data, budget=budget, weights=weights, save=save, asked=asked)
    document = output if json and output is not None and output.suffix.lower() not in (".html", ".htm") else None
    page = _page_place(
        output if document is None else None, f"recommend-{hardware}-{data_size or _name(data)}.{lang}.html"
    )
    # both places are tried before the work, so that an unwritable one loses none
    with ExitStack() as places:
        places.enter_context(_refusal_said(lang))
        write_page = places.enter_context(opened_output(page))
        write_document = places.enter_context(opened_output(document or STDOUT))
        if json:
            places.enter_context(_refusal_written(write_document, lang, page))
        places.enter_context(_search_shown(write_page, lang, page))
        answer, study = _advice(
            hardware,
            data_size,
            classes,
            data=data,
            tuning=_Tuning(budget, weights, random_init=random_init, save=save, resume=resume, quiet=quiet),
            store=store,
            **asked,
        )
        write_page(render_page([answer], lang=lang, made_at=datetime.now(UTC), study=study))
        if page != STDOUT:
            write_document(_told(answer, study, lang, json=json, quiet=quiet, page=str(page.resolve())))


@contextmanager
def _refusal_said(lang: str) -> Iterator[None]:
    """Where no candidate keeps the limits, that is the answer, and is said in the answer's language."""
    try:
        yield
    except NoFeasibleCandidate as refusal:
        from selector.reporting.cited import told

        raise NoFeasibleCandidate(told(str(refusal), lang)) from refusal


@contextmanager
def _refusal_written(write: Callable[[str], None], lang: str, page: Path) -> Iterator[None]:
    """Where no candidate keeps the limits, the document that says why is written before the refusal goes on."""
    try:
        yield
    except NoFeasibleCandidate as refusal:
        from selector.reporting.document import write_refusal

        study: TuneResult | None = getattr(refusal, "study", None)  # of one that comes after a search
        write(write_refusal(refusal, lang, report=str(page.resolve()) if study else None, study=study))
        raise


@contextmanager
def _search_shown(write: Callable[[str], None], lang: str, page: Path) -> Iterator[None]:
    """Where nothing keeps the limits after a search, the page shows the search before the refusal goes on."""
    from selector.findings import SearchedInVain

    try:
        yield
    except SearchedInVain as refusal:
        from selector.reporting.output import STDOUT
        from selector.reporting.page import render_page
        from selector.reporting.view import title

        unanswered = [(title(refusal.found.profile, lang), refusal.found.request.data_size)]
        write(render_page([], lang=lang, made_at=datetime.now(UTC), unanswered=unanswered, study=refusal.study))
        if page != STDOUT:
            typer.echo(f"page of the search: {page.resolve()}", err=True)
        raise


@dataclass(frozen=True, slots=True)
class _Tuning:
    """How the images are searched on."""

    budget: str | None
    weights: Path | None
    random_init: bool
    save: Path | None
    resume: bool
    quiet: bool


def _advice(
    hardware: str, data_size: int | None, classes: int | None, *, data: Path | None, tuning: _Tuning, **asked: Any
) -> "tuple[Answer, TuneResult | None]":
    """The answer: from the evidence alone, or from a search on the images."""
    from selector import advisor

    if data is None:
        assert data_size is not None
        return advisor.recommend(hardware, data_size, classes=classes, **asked), None
    from selector.cli.tune import command, parse_budget, spent_s, with_progress

    budget_s = parse_budget(tuning.budget or DEFAULT_BUDGET)
    advice = with_progress(
        lambda tell: advisor.recommend_on_images(
            hardware,
            data,
            budget_s=budget_s,
            spent_s=spent_s(),
            weights=tuning.weights,
            random_init=tuning.random_init,
            save=tuning.save,
            resume=tuning.resume,
            command=command(),
            on_progress=tell,
            **asked,
        ),
        tuning.quiet,
    )
    return advice.answer, advice.study


def _faults(data_size: int | None, data: Path | None, *, classes: int | None, **tuning: object) -> list[str]:
    """What of the options does not go together."""
    if data is None:
        faults = [f"--{name.replace('_', '-')} needs --data" for name, value in tuning.items() if value]
        if data_size is None:
            faults.append("give --data-size N for an answer from what is known, or --data DIR to search on your images")
        return faults
    given = {"--data-size": data_size, "--classes": classes}
    return [
        f"{option} is counted in the images of --data: leave it out" for option, n in given.items() if n is not None
    ]


def _tell(
    faults: Faults,
    hardware: str,
    data_size: int | None,
    classes: int | None,
    data: Path | None,
    *,
    budget: str | None,
    weights: Path | None,
    save: Path | None,
    asked: dict[str, Any],
) -> None:
    """Where the options do not go together or have faults, tell what else is wrong with the request beside them."""
    from selector import advisor
    from selector.cli.tune import parse_budget

    budget_s = parse_budget(DEFAULT_BUDGET)
    with faults:
        budget_s = parse_budget(budget or DEFAULT_BUDGET)
    if not faults.found:
        return
    with faults:
        if data is not None:
            advisor.check_on_images(hardware, data, budget_s=budget_s, weights=weights, save=save, **asked)
        else:
            images = 2 if data_size is None else data_size  # any number that is no fault
            advisor.check_request(hardware, images, classes=None if data_size is None else classes, **asked)
    faults.tell()


def _name(data: Path | None) -> str:
    return data.resolve().stem if data else ""


def _told(answer: "Answer", study: "TuneResult | None", lang: str, *, json: bool, quiet: bool, page: str) -> str:
    """The JSON document, or the answer for people; with --quiet only where the page is."""
    if json:
        from selector.reporting.document import write

        return write(answer, lang, report=page, study=study)
    if quiet:
        return f"{page}\n"
    from rich.console import Console

    from selector.reporting.terminal import print_answer

    console = Console(highlight=False)
    with console.capture() as captured:  # keeps the colours that this terminal can show
        print_answer(answer, lang, console, page=page, model=str(study.winner.folder) if study else None)
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
