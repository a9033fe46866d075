"""Where an answer's figures come from: each source with how many figures rest on it, and a hash over all."""

import hashlib
from collections import Counter
from dataclasses import dataclass

from selector.decision.answer import Answer, Candidate
from selector.evidence.record import Figure, Provenance


@dataclass(frozen=True, slots=True)
class SourceUse:
    """One source, and how many different figures of the answer rest on it."""

    provenance: Provenance
    source: str
    figures: int


@dataclass(frozen=True, slots=True)
class Sources:
    """Every source of an answer: measured before published before estimated, most used first."""

    uses: tuple[SourceUse, ...]
    fingerprint: str  # the same figures from the same sources give the same one

    @property
    def total(self) -> int:
        """How many different figures there are."""
        return sum(use.figures for use in self.uses)

    def figures(self, provenance: str) -> int:
        """How many different figures have this provenance."""
        return sum(use.figures for use in self.uses if use.provenance == provenance)


def sources(answer: Answer) -> Sources:
    """Count the different figures behind an answer's candidates.

    A figure that several candidates share (a file's size at every freeze depth) counts once.
    """
    different = {(c.backbone, f.metric.name, f) for c in answer.candidates for f in figures_of(c)}
    counts = Counter((f.provenance, f.source) for _, _, f in different)
    order = tuple(Provenance)
    uses = sorted(
        (SourceUse(provenance, source, n) for (provenance, source), n in counts.items()),
        key=lambda use: (order.index(use.provenance), -use.figures, use.source),
    )
    lines = sorted(
        f"{backbone}\t{name}\t{f.value:.9g}\t{f.low}\t{f.high}\t{f.provenance}\t{f.source}"
        for backbone, name, f in different
    )
    return Sources(tuple(uses), hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16])


def figures_of(candidate: Candidate) -> tuple[Figure, ...]:
    """The candidate's known figures."""
    c = candidate
    return tuple(
        f for f in (c.accuracy, c.latency, c.artifact, c.memory, c.train_seconds, c.latency_p90) if f is not None
    )
