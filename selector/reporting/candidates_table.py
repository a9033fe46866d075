"""The page's table of candidates: rows that a script sorts and filters, each figure and text held once."""

import json
from collections.abc import Hashable
from dataclasses import dataclass, field

from selector.backbones.catalog import Family
from selector.decision.answer import Answer, Candidate, Violation
from selector.evidence.record import Figure
from selector.reporting.figures import representatives
from selector.reporting.numbers import Shown, in_column, rounded
from selector.reporting.words import say, text

FIGURES = ("accuracy", "latency", "artifact", "memory", "train_seconds")

FEASIBLE, PARETO, TIED, RECOMMENDED, REPRESENTATIVE = (1 << bit for bit in range(5))


@dataclass(frozen=True, slots=True)
class Row:
    """One candidate as the table shows it. `flags` joins FEASIBLE, PARETO, TIED, RECOMMENDED, REPRESENTATIVE."""

    rank: int  # in the answer's order, from 1
    candidate: Candidate
    figures: tuple[Shown | None, ...]  # in the order of FIGURES
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

    def number(self, value: Hashable, shown: object = None) -> int:
        if value not in self.numbers:
            self.numbers[value] = len(self.values)
            self.values.append(value if shown is None else shown)
        return self.numbers[value]


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
    figures = (c.accuracy, c.latency, c.artifact, c.memory, c.train_seconds)
    return Row(
        rank,
        c,
        tuple(in_column(f) if f else None for f in figures),
        params=rounded(c.params / 1e6),
        macs=rounded(c.macs / 1e9),
        odds=_odds(c.probability_best),
        regret="" if c.expected_regret is None else f"{c.expected_regret:.2f}",
        flags=flags,
        violations=tuple(violation_text(v, language) for v in c.violations),
        conflicts=tuple(say(s, language) for s in c.conflicts),
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
    """Which limit is broken, by which figure, or that the figure is unknown."""
    limit, figure = violation.limit, violation.figure
    name = text(f"limit_{limit.name}", language)
    bound = bound_text(limit.name, limit.bound, limit.sense, language)
    if figure is None:
        return text("table_violation_unknown", language, limit=name, bound=bound)
    return text("table_violation", language, limit=name, figure=in_column(figure).text, bound=bound)


def payload(rows: tuple[Row, ...]) -> str:
    """The rows as JSON for `script.js`, safe inside a script element.

    `figures` holds [value, text, interval, provenance, text's number of the source]; a row names its texts and
    figures by their numbers, -1 for none. Latencies repeat over freeze depths and sizes over runtimes, so that
    this is a tenth of the plain rows.
    """
    texts, figures = _Once(), _Once()
    families = tuple(Family)
    packed = []
    for row in rows:
        c = row.candidate
        originals = (c.accuracy, c.latency, c.artifact, c.memory, c.train_seconds)
        packed.append(
            [
                row.rank,
                texts.number(c.backbone),
                families.index(c.family),
                texts.number(c.freeze.name),
                c.freeze.frozen_blocks,
                c.freeze.total_blocks,
                texts.number(c.runtime),
                texts.number(c.precision),
                c.resolution,
                row.params,
                row.macs,
                [_packed(f, s, texts, figures) for f, s in zip(originals, row.figures, strict=True)],
                -1 if c.probability_best is None else round(c.probability_best, 6),
                row.odds,
                row.regret,
                row.flags,
                [texts.number(v) for v in row.violations],
                [texts.number(v) for v in row.conflicts],
            ]
        )
    return script_json({"families": list(families), "texts": texts.values, "figures": figures.values, "rows": packed})


def _packed(figure: Figure | None, shown: Shown | None, texts: _Once, figures: _Once) -> int:
    if figure is None or shown is None:
        return -1
    source = texts.number(shown.source)
    packed = (float(f"{figure.value:.6g}"), shown.value, shown.interval, shown.provenance, source)
    return figures.number(packed, list(packed))


def script_json(value: object) -> str:
    """JSON that can stand inside a script element: nothing in it closes the element."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
