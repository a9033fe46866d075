"""The answer in a terminal: a sentence, the first candidates, why, the limits, what to measure next, and the page."""

from collections.abc import Iterable

from rich.console import Console, Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from selector.decision.answer import Answer, Candidate, Values
from selector.evidence.record import Figure
from selector.hardware.profiles import HardwareProfile
from selector.reporting.numbers import rounded
from selector.reporting.words import say, text

SHOWN = 8
MB = 1_000_000


def print_answer(
    answer: Answer, language: str, console: Console, *, page: str | None, model: str | None = None
) -> None:
    """Write the answer for people to `console`; `page` is the path of the page, None where none was written.

    `model` is the folder of a model that was trained on the way.
    """
    console.print(render(answer, language, page=page, model=model), soft_wrap=False)


def render(answer: Answer, language: str, *, page: str | None, model: str | None = None) -> RenderableType:
    """The answer as something that rich prints."""
    parts: list[RenderableType] = [Text(headline(answer, language), style="bold"), Text(expectation(answer, language))]
    parts += _section(text("terminal.why", language), (say(w, language) for w in answer.recommendation.why))
    parts += ["", top_table(answer, language)]
    parts += _section(text("terminal.limits", language), _limits(answer, language))
    parts += _section(text("terminal.policy", language), [say(answer.policy.says, language)])
    parts += _section(text("terminal.notes", language), (say(note, language) for note in answer.notes))
    parts += _section(text("terminal.next", language), [])
    for step in answer.next_measurements:
        parts.append(_item(say(step.what, language)))
        parts.append(Padding(Text(step.command, style="cyan"), (0, 0, 0, 4)))
    if model is not None:
        parts += ["", Text(text("terminal.model", language, path=model), style="bold")]
    if page is not None:
        parts += ["", Text(text("terminal.page", language, path=page), style="bold")]
    return Group(*parts)


def headline(answer: Answer, language: str) -> str:
    """What to take, in a sentence."""
    chosen = answer.recommendation.candidate
    return text(
        "terminal.headline",
        language,
        hardware=_title(answer.profile, language),
        data_size=answer.request.data_size,
        backbone=chosen.backbone,
        freeze=_freeze(chosen, language),
        runtime=chosen.runtime,
        precision=chosen.precision,
        resolution=chosen.resolution,
    )


def expectation(answer: Answer, language: str) -> str:
    """What to expect of it, in a sentence or two."""
    chosen = answer.recommendation.candidate
    latency = chosen.latency
    sentence = text(
        "terminal.expect",
        language,
        accuracy=rounded(chosen.accuracy.value),
        accuracy_interval=_interval(chosen.accuracy, language),
        latency=f"{rounded(latency.value)} ms" if latency else text("terminal.latency_unknown", language),
        latency_interval=_interval(latency, language),
        device=_title(answer.reference, language),
        artifact=rounded(chosen.artifact.value / MB),
    )
    if chosen.train_seconds is None:
        return sentence
    time = _time(chosen.train_seconds.value, language)
    return f"{sentence} {text('terminal.training', language, time=time)}"


def top_table(answer: Answer, language: str) -> Table:
    """The first feasible candidates, each backbone at its best depth, runtime and precision."""
    feasible = [c for c in answer.candidates if c.feasible]
    first: dict[str, Candidate] = {}
    for c in feasible:
        first.setdefault(c.backbone, c)
    shown = list(first.values())[:SHOWN]
    table = Table(
        title=text(
            "terminal.candidates",
            language,
            n=len(shown),
            total=len(feasible),
            infeasible=len(answer.candidates) - len(feasible),
        ),
        title_justify="left",
        box=None,
        pad_edge=False,
        padding=(0, 1, 0, 0),  # 80 columns hold it whole
    )
    for name in ("backbone", "freeze", "runtime"):
        table.add_column(text(f"terminal.column_{name}", language), no_wrap=True)
    for name in ("accuracy", "latency", "artifact", "odds", "tied"):
        table.add_column(text(f"terminal.column_{name}", language), justify="right", no_wrap=True)
    for c in shown:
        table.add_row(
            f"{c.backbone}@{c.resolution}",
            c.freeze.name,
            f"{c.runtime} {c.precision}",
            rounded(c.accuracy.value),
            f"{rounded(c.latency.value)} {c.latency.provenance.value[0].upper()}" if c.latency else "–",
            rounded(c.artifact.value / MB),
            rounded(100 * (c.probability_best or 0.0)),
            text("terminal.tied", language) if c.tied else "",
            style="bold" if c is answer.recommendation.candidate else None,
        )
    return table


def _section(title: str, sentences: Iterable[str]) -> list[RenderableType]:
    return ["", Text(title, style="bold"), *(_item(sentence) for sentence in sentences)]


def _item(sentence: str) -> RenderableType:
    return Padding(Text(f"• {sentence}"), (0, 0, 0, 2))


def _limits(answer: Answer, language: str) -> list[str]:
    if not answer.request.limits:
        return [text("terminal.no_limits", language)]
    by_origin: dict[str, list[str]] = {}
    for limit in answer.request.limits:
        sense = text(f"terminal.{limit.sense.replace(' ', '_')}", language)
        bound = text("terminal.limit", language, name=limit.name, sense=sense, bound=f"{limit.bound:g}")
        by_origin.setdefault(say(limit.origin, language), []).append(bound)
    comma = text("separator", language)
    return [text("terminal.limits_of", language, limits=comma.join(b), origin=o) for o, b in by_origin.items()]


def _interval(figure: Figure | None, language: str) -> str:
    if figure is None or figure.low is None or figure.high is None:
        return ""
    return text("terminal.interval", language, low=rounded(figure.low), high=rounded(figure.high))


def _title(profile: HardwareProfile, language: str) -> str:
    return profile.title_zh if language == "zh" else profile.title


def _freeze(candidate: Candidate, language: str) -> str:
    freeze = candidate.freeze
    values: Values = {
        "name": freeze.name,
        "frozen": freeze.frozen_blocks,
        "trained": freeze.total_blocks - freeze.frozen_blocks,
        "total": freeze.total_blocks,
    }
    kind = "last" if freeze.name.startswith("last-") else "percent" if freeze.name.endswith("%") else freeze.name
    return text(f"freeze_{kind}", language, **values)


def _time(seconds: float, language: str) -> str:
    for unit, size in (("hours", 3600.0), ("minutes", 60.0)):
        if seconds >= size:
            return text(f"terminal.{unit}", language, n=rounded(seconds / size))
    return text("terminal.seconds", language, n=rounded(seconds))
