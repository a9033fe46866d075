"""An answer as the page shows it: every text chosen and every figure written, ready for the template."""

import math
from dataclasses import dataclass

from selector.backbones.catalog import Family
from selector.decision.answer import Answer, Statement, Violation
from selector.decision.device import held_as
from selector.evidence.record import Figure, FreezePoint
from selector.hardware.profiles import HardwareProfile
from selector.reporting.candidates_table import Row, Shared, bound_text, payload, table_rows
from selector.reporting.drawing import chart_json, draw_latency_bars, draw_pareto_chart
from selector.reporting.figures import LatencyBars, ParetoChart, latency_bars, pareto_chart
from selector.reporting.numbers import Shown, in_column, percent, rounded, shown
from selector.reporting.sources import Sources, SourceUse, sources
from selector.reporting.words import text

DIMENSIONS = ("params", "speed", "hardware_need", "typical_use")
TOP_SOURCES = 12  # the rest unfolds
RULED_OUT = 12  # backbones; the table of candidates has all of them


@dataclass(frozen=True, slots=True)
class Chart:
    """A figure on the page: the element that it is drawn in, and Plotly's data and layout as JSON."""

    id: str
    json: str
    alternative: str  # what a reader who cannot see it is told


@dataclass(frozen=True, slots=True)
class Fact:
    """One of the large figures beside the answer."""

    label: str
    value: str
    shown: Shown | None  # None: calculated, or not known
    calculated: bool = False


@dataclass(frozen=True, slots=True)
class LimitLine:
    """A limit, and how many candidates it rules out."""

    name: str
    bound: str
    origin: Statement
    excluded: int


@dataclass(frozen=True, slots=True)
class Excess:
    """A limit that is broken, by which figure (None: not known) and which part of it, and its ratio to the bound."""

    limit: str
    shown: Shown | None
    says: str
    times: str


@dataclass(frozen=True, slots=True)
class RuledOut:
    """The best candidate of a backbone that breaks limits."""

    row: Row
    broken: tuple[Excess, ...]


@dataclass(frozen=True, slots=True)
class AnswerView:
    """Everything that the template needs for one answer."""

    id: str
    answer: Answer
    hardware: str  # titles in the page's language
    device: str
    freeze: str
    sure: dict[str, str]  # the gaps of the answer's sentences
    facts: tuple[Fact, ...]
    limits: tuple[LimitLine, ...]
    rows: tuple[Row, ...]
    top_rows: tuple[Row, ...]
    payload: str
    every_depth: bool
    pareto: ParetoChart
    latency: LatencyBars
    pareto_chart: Chart
    latency_chart: Chart
    ruled_out: tuple[RuledOut, ...]
    tied: int
    feasible: int
    warnings: tuple[Statement, ...]
    notes: tuple[Statement, ...]
    sources: Sources
    top_sources: tuple[SourceUse, ...]
    document_sources: tuple[str, ...]  # of the selection table, each once


def title(profile: HardwareProfile, language: str) -> str:
    """The profile's title in the language, its name where it has none."""
    return (profile.title_zh if language == "zh" else profile.title) or profile.name


def freeze_phrase(freeze: FreezePoint, language: str) -> str:
    """What to freeze, in words."""
    name, total = freeze.name, freeze.total_blocks
    if name in ("none", "head"):
        key = f"freeze_{name}"
    elif name.startswith("last-"):
        key = "freeze_last"
    else:
        key = "freeze_percent" if name.endswith("%") else "freeze_number"
    trained = total - freeze.frozen_blocks
    return text(key, language, name=name, frozen=freeze.frozen_blocks, trained=trained, total=total)


def answer_view(
    answer: Answer, number: int, language: str, shared: Shared, *, top_rows: int, every_depth: bool = True
) -> AnswerView:
    """The view of the page's answer `number`, counted from 1; its elements' ids begin with `a1-` and so on.

    `shared` collects what the tables of the page have in common; `top_rows` stand in the HTML itself.
    """
    chosen = answer.recommendation.candidate
    device = title(answer.reference, language)
    rows = table_rows(answer, language, every_depth=every_depth)
    pareto, latency = pareto_chart(answer, device), latency_bars(answer, device)
    found = sources(answer)
    prefix = f"a{number}"
    warnings = tuple(note for note in answer.notes if note.key.startswith("warning"))
    return AnswerView(
        id=prefix,
        answer=answer,
        hardware=title(answer.profile, language),
        device=device,
        freeze=freeze_phrase(chosen.freeze, language),
        sure=_gaps(answer, language),
        facts=_facts(answer, language),
        limits=_limits(answer, language),
        rows=rows,
        top_rows=tuple(row for row in rows if row.representative)[:top_rows],
        payload=payload(rows, found.uses[TOP_SOURCES:], shared, language),
        every_depth=every_depth,
        pareto=pareto,
        latency=latency,
        pareto_chart=Chart(
            f"{prefix}-pareto",
            chart_json(draw_pareto_chart(pareto, language)),
            text("chart_alt_pareto", language, n=len(pareto.points), device=device),
        ),
        latency_chart=Chart(
            f"{prefix}-latency",
            chart_json(draw_latency_bars(latency, language)),
            text("chart_alt_latency", language, n=len(latency.bars), device=device),
        ),
        ruled_out=_ruled_out(rows, language),
        tied=sum(c.tied for c in answer.candidates),
        feasible=sum(c.feasible for c in answer.candidates),
        warnings=warnings,
        notes=tuple(note for note in answer.notes if note not in warnings),
        sources=found,
        top_sources=found.uses[:TOP_SOURCES],
        document_sources=tuple(dict.fromkeys(cell.source for cell in answer.document_table)),
    )


def _gaps(answer: Answer, language: str) -> dict[str, str]:
    """What fills the gaps of the answer's sentences."""
    chosen = answer.recommendation.candidate

    def interval(figure: Figure | None) -> str:
        found = shown(figure).interval if figure else ""
        return text("answer_interval", language, interval=found) if found else ""

    return {
        "accuracy": shown(chosen.accuracy).text,
        "accuracy_interval": interval(chosen.accuracy),
        "latency": shown(chosen.latency).text if chosen.latency else "",
        "latency_interval": interval(chosen.latency),
        "odds": percent(chosen.probability_best),
        "regret": "" if chosen.expected_regret is None else f"{chosen.expected_regret:.2f}",
    }


def _facts(answer: Answer, language: str) -> tuple[Fact, ...]:
    chosen = answer.recommendation.candidate
    unknown = text("fact_unknown", language)

    def fact(name: str, figure: Figure | None) -> Fact:
        found = shown(figure) if figure else None
        return Fact(text(f"fact_{name}", language), found.text if found else unknown, found)

    facts = [
        fact("accuracy", chosen.accuracy),
        fact("latency", chosen.latency),
        fact("artifact", chosen.artifact),
        fact("memory", chosen.memory),
        fact("train_seconds", chosen.train_seconds),
    ]
    if chosen.probability_best is not None:
        facts.append(Fact(text("fact_odds", language), percent(chosen.probability_best), None, calculated=True))
    if chosen.expected_regret is not None:
        value = f"{chosen.expected_regret:.2f} {text('fact_regret_unit', language)}"
        facts.append(Fact(text("fact_regret", language), value, None, calculated=True))
    return tuple(facts)


def _limits(answer: Answer, language: str) -> tuple[LimitLine, ...]:
    return tuple(
        LimitLine(
            text(f"limit_{limit.name}", language),
            bound_text(limit.name, limit.bound, limit.sense, language),
            limit.origin,
            sum(any(v.limit == limit for v in c.violations) for c in answer.candidates),
        )
        for limit in answer.request.limits
    )


def _ruled_out(rows: tuple[Row, ...], language: str) -> tuple[RuledOut, ...]:
    """What the limits cost: the most accurate backbones of which no candidate keeps them, each in its fastest form."""
    kept = {row.candidate.backbone for row in rows if row.feasible}
    best: dict[str, Row] = {}
    for row in sorted(rows, key=_accurate_then_fast):
        if row.candidate.backbone not in kept:
            best.setdefault(row.candidate.backbone, row)
    return tuple(
        RuledOut(row, tuple(_excess(v, language) for v in row.candidate.violations))
        for row in list(best.values())[:RULED_OUT]
    )


def _accurate_then_fast(row: Row) -> tuple[float, float]:
    latency = row.candidate.latency
    return -row.candidate.accuracy.value, latency.value if latency else math.inf


def _excess(violation: Violation, language: str) -> Excess:
    limit, figure = violation.limit, violation.figure
    return Excess(
        f"{text(f'limit_{limit.name}', language)} {bound_text(limit.name, limit.bound, limit.sense, language)}",
        in_column(figure) if figure else None,
        text(f"ruled_figure_{held_as(figure, limit.name)}", language, figure=in_column(figure).text) if figure else "",
        _times(violation),
    )


def _times(violation: Violation) -> str:
    """The figure as a multiple of the bound, both in the figure's column unit."""
    if violation.figure is None or violation.limit.bound == 0:
        return ""
    per_unit = 1e6 if violation.figure.metric.unit == "B" else 1.0
    return f"× {rounded(violation.figure.value / per_unit / violation.limit.bound)}"


def family_titles(language: str) -> dict[str, str]:
    """Every family's name as people write it."""
    return {family.value: text(f"family_{family}", language) for family in Family}
