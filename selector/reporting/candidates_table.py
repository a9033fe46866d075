"""The page's table of candidates: rows that a script sorts and filters, each figure and text held once."""

import json
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field

from selector.decision.answer import Answer, Candidate, Violation
from selector.decision.device import held_as
from selector.evidence.record import Figure
from selector.reporting.cited import cited, say_cited
from selector.reporting.figures import representatives
from selector.reporting.numbers import Shown, in_column, rounded
from selector.reporting.sources import SourceUse
from selector.reporting.words import text

FIGURES = ("accuracy", "latency", "artifact", "memory", "train_seconds")
DETAILS = (*FIGURES, "latency_p90")  # the last has no column: it stands with a row's sources
COLUMNS = (
    "rank",
    "backbone",
    "freeze",
    "runs",
    "accuracy",
    "latency",
    "odds",
    "regret",
    *FIGURES[2:],
    "params",
    "macs",
)

FEASIBLE, PARETO, TIED, RECOMMENDED, REPRESENTATIVE = (1 << bit for bit in range(5))


@dataclass(frozen=True, slots=True)
class Row:
    """One candidate as the table shows it. `flags` joins FEASIBLE, PARETO, TIED, RECOMMENDED, REPRESENTATIVE."""

    rank: int  # in the answer's order, from 1
    candidate: Candidate
    figures: tuple[Shown | None, ...]  # in the order of DETAILS
    params: str
    macs: str
    odds: str
    regret: str
    flags: int
    violations: tuple[str, ...]
    conflicts: tuple[str, ...]

    @property
    def feasible(self) -> bool:
        """Whether every limit is kept."""
        return bool(self.flags & FEASIBLE)

    @property
    def pareto(self) -> bool:
        """Whether nothing feasible beats it on both latency and accuracy."""
        return bool(self.flags & PARETO)

    @property
    def tied(self) -> bool:
        """Whether the evidence cannot tell it from the best."""
        return bool(self.flags & TIED)

    @property
    def recommended(self) -> bool:
        """Whether it is the answer."""
        return bool(self.flags & RECOMMENDED)

    @property
    def representative(self) -> bool:
        """Whether this is its backbone's best freeze depth on its runtime."""
        return bool(self.flags & REPRESENTATIVE)


@dataclass(slots=True)
class _Once:
    """Values by their number; a value that comes again gets its former number."""

    values: list[object] = field(default_factory=list)
    numbers: dict[Hashable, int] = field(default_factory=dict)

    def number(self, value: Hashable) -> int:
        if value not in self.numbers:
            self.numbers[value] = len(self.values)
            self.values.append(value)
        return self.numbers[value]


@dataclass(slots=True)
class Shared:
    """What the tables of a page share, each held once: texts, backbones, runtimes and figures.

    Latencies repeat over freeze depths and numbers of images, sizes over runtimes, sources over hardware: so
    that rows are a tenth of what they would be in full, and six answers fit in one file.
    """

    texts: _Once = field(default_factory=_Once)
    backbones: _Once = field(default_factory=_Once)
    executions: _Once = field(default_factory=_Once)
    figures: _Once = field(default_factory=_Once)

    def as_json(self) -> str:
        """For `script.js`: figures are [value, text, interval, provenance, number of the source's text]."""
        return script_json(
            {name: getattr(self, name).values for name in ("texts", "backbones", "executions", "figures")}
        )


def table_rows(answer: Answer, language: str, *, every_depth: bool = True) -> tuple[Row, ...]:
    """The rows in the answer's order, best first; without `every_depth` only the best depth of each."""
    best = {id(c) for c in representatives(answer)}
    chosen = answer.recommendation.candidate
    return tuple(
        _row(rank, c, language, best=id(c) in best, chosen=c == chosen)
        for rank, c in enumerate(answer.candidates, 1)
        if every_depth or id(c) in best
    )


def _row(rank: int, c: Candidate, language: str, *, best: bool, chosen: bool) -> Row:
    flags = c.feasible * FEASIBLE | c.pareto * PARETO | c.tied * TIED | chosen * RECOMMENDED | best * REPRESENTATIVE
    return Row(
        rank,
        c,
        tuple(in_column(f) if f else None for f in _figures(c)),
        params=rounded(c.params / 1e6),
        macs=rounded(c.macs / 1e9),
        odds=_odds(c.probability_best),
        regret="" if c.expected_regret is None else f"{c.expected_regret:.2f}",
        flags=flags,
        violations=tuple(violation_text(v, language) for v in c.violations),
        conflicts=tuple(say_cited(s, language) for s in c.conflicts),
    )


def _odds(probability: float | None) -> str:
    if probability is None:
        return ""
    return "< 0.1" if 0 < probability < 0.001 else f"{100 * probability:.1f}"


def bound_text(name: str, bound: float, sense: str, language: str) -> str:
    """ "at most 300 ms"."""
    unit = {"latency_ms": "ms", "artifact_mb": "MB", "memory_mb": "MB", "accuracy": "%"}.get(name, "")
    return text("limit_at_least" if sense == "at least" else "limit_at_most", language, bound=f"{bound:,g} {unit}")


def violation_text(violation: Violation, language: str) -> str:
    """Which limit is broken, by which figure (its 90th percentile, its upper end), or that the figure is unknown."""
    limit, figure = violation.limit, violation.figure
    name = text(f"limit_{limit.name}", language)
    bound = bound_text(limit.name, limit.bound, limit.sense, language)
    if figure is None:
        return text("table_violation_unknown", language, limit=name, bound=bound)
    return text(
        f"table_violation_{held_as(figure, limit.name)}",
        language,
        limit=name,
        figure=in_column(figure).text,
        bound=bound,
    )


def _figures(c: Candidate) -> tuple[Figure | None, ...]:
    """The candidate's figures in the order of DETAILS."""
    return c.accuracy, c.latency, c.artifact, c.memory, c.train_seconds, c.latency_p90


def payload(rows: tuple[Row, ...], sources: Sequence[SourceUse], shared: Shared, language: str) -> str:
    """The rows and further sources as JSON for `script.js`, by the numbers of what is `shared`; -1 for no figure."""
    texts = shared.texts
    packed = [
        [
            row.rank,
            shared.backbones.number((c.backbone, c.family.value, row.params, row.macs, c.freeze.total_blocks)),
            shared.executions.number((c.runtime, c.precision, c.resolution)),
            texts.number(c.freeze.name),
            c.freeze.frozen_blocks,
            [_packed(f, s, shared, language) for f, s in zip(_figures(c), row.figures, strict=True)],
            row.odds,
            row.regret,
            row.flags,
            [texts.number(v) for v in row.violations],
            [texts.number(v) for v in row.conflicts],
        ]
        for row in rows
        for c in (row.candidate,)
    ]
    further = [[use.provenance.value, texts.number(cited(use.source, language)), use.figures] for use in sources]
    return script_json({"rows": packed, "sources": further})


def _packed(figure: Figure | None, shown: Shown | None, shared: Shared, language: str) -> int:
    if figure is None or shown is None:
        return -1
    source = shared.texts.number(cited(shown.source, language))
    value = float(f"{figure.value:.5g}")
    return shared.figures.number((value, shown.value, shown.interval, shown.provenance[0], source))


def script_json(value: object) -> str:
    """JSON that can stand inside a script element: nothing in it closes the element."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
