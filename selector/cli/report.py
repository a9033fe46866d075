"""`selector report`: the answers for several hardware and numbers of images on one page, for stakeholders."""

import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from typer.core import TyperCommand

from selector.cli.options import Output, ProfileFolder, Quiet, Store, one_linear_algebra_thread
from selector.errors import Faults, NoFeasibleCandidate

if TYPE_CHECKING:
    from selector.decision.answer import Answer

SEVERAL = ("--compare", "--data-size")


def spread(arguments: Sequence[str], options: Sequence[str] = SEVERAL) -> list[str]:
    """Repeat an option before each of its values: `--compare edge cpu` becomes `--compare edge --compare cpu`.

    The values end at the next argument that begins with a dash; the first one may be anything, so that a negative
    number reaches its option and is refused there by name.
    """
    found: list[str] = []
    option, first = "", False
    for argument in arguments:
        if argument in options:
            option, first = argument, True
            found.append(argument)
            continue
        if option and not first and argument.startswith("-"):
            option = ""
        if option and not first:
            found.append(option)
        found.append(argument)
        first = False
    return found


class Several(TyperCommand):
    """A command some of whose options take several values after one name."""

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]  # typer vendors click: its Context has no public name
        """Spread the values before the parser sees them."""
        return super().parse_args(ctx, spread(args))


def report(
    compare: Annotated[
        list[str],
        typer.Option("--compare", metavar="HARDWARE...", help="One or more of `selector hardware list`."),
    ],
    data_size: Annotated[
        list[int],
        typer.Option("--data-size", metavar="N...", help="Labelled images in all, one number or more."),
    ],
    classes: Annotated[int | None, typer.Option("--classes", help="Number of classes.")] = None,
    domain: Annotated[str | None, typer.Option("--domain", help="Kind of images, as in `selector recommend`.")] = None,
    lang: Annotated[str, typer.Option("--lang", help="Language of the page: en or zh.")] = "en",
    output: Output = None,
    store: Store = None,
    profile_folder: ProfileFolder = None,
    quiet: Quiet = False,
) -> None:
    """Put the answers for several hardware and numbers of images on one page: --compare edge cpu --data-size 500 5000.

    Writes selector-report.html here, or to -o PATH, and prints where; the page needs no network.
    """
    one_linear_algebra_thread()
    from selector import advisor
    from selector.reporting.output import STDOUT, opened_output
    from selector.reporting.page import MAX_ANSWERS, render_page
    from selector.reporting.words import LANGUAGES

    questions = list(dict.fromkeys(product(compare, data_size)))
    faults = Faults()
    if lang not in LANGUAGES:
        faults.found.append(f"--lang is {lang!r}; it speaks {' and '.join(LANGUAGES)}")
    if len(questions) > MAX_ANSWERS:
        faults.found.append(
            f"{len(questions)} answers are more than the {MAX_ANSWERS} that a page takes; ask for fewer hardware names "
            "or numbers of images at once"
        )
    for hardware, images in questions:
        with faults:
            advisor.check_request(hardware, images, classes=classes, domain=domain, profile_folder=profile_folder)
    faults.tell()

    def answer(hardware: str, images: int) -> "Answer":
        return advisor.recommend(
            hardware, images, classes=classes, domain=domain, store=store, profile_folder=profile_folder
        )

    place = output or Path("selector-report.html" if lang == "en" else f"selector-report.{lang}.html")
    with opened_output(place) as write:  # before the work: an unwritable place loses no work
        answers, unanswered = _answers(questions, answer, quiet=quiet)
        write(render_page(answers, lang=lang, made_at=datetime.now(UTC), unanswered=unanswered))
    if place != STDOUT:
        sys.stdout.write(f"{place.resolve()}\n")


def _answers(
    questions: Sequence[tuple[str, int]], answer: Callable[[str, int], "Answer"], *, quiet: bool
) -> "tuple[list[Answer], list[tuple[str, int]]]":
    """The answers, and the questions whose limits nothing keeps.

    Raises NoFeasibleCandidate where there is no answer at all.
    """
    from rich.console import Console
    from rich.progress import Progress

    answers: list[Answer] = []
    infeasible: dict[tuple[str, int], str] = {}
    with Progress(console=Console(stderr=True), disable=quiet or not sys.stderr.isatty(), transient=True) as progress:
        for hardware, images in progress.track(questions, description="selector report"):
            try:
                answers.append(answer(hardware, images))
            except NoFeasibleCandidate as error:
                infeasible[hardware, images] = f"{hardware}, {images:,} images: {error}"
    if not answers:
        raise NoFeasibleCandidate("\n".join(infeasible.values()))
    for message in infeasible.values():
        sys.stderr.write(f"selector: {message}\n")
    return answers, list(infeasible)
