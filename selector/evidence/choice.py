"""Which evidence wins for one condition, and which other evidence disagrees with it. Never an average.

Order: `measured` on this very device, then `published` for it, then `estimated`.
Measured: under the machine's present fingerprint first, stable before unstable, then the newest.
Published: the newest version of the runtime, then the newest record. Estimated: the newest.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from selector.evidence.metrics import Metric
from selector.evidence.record import Figure, Provenance, Record

# Two figures conflict where their intervals lie further apart than this. Relative to the chosen value: the same board
# under the same software keeps its p50 within ±10 % for 94–100 % of models (MLPerf edge rounds, five months apart).
RELATIVE_TOLERANCE = 0.10
# Percentages (accuracies) are compared in points: relative, 78 % and 71 % would agree.
POINTS_TOLERANCE = 1.0

_RANK = {Provenance.MEASURED: 0, Provenance.PUBLISHED: 1, Provenance.ESTIMATED: 2}


@dataclass(frozen=True, slots=True)
class Conflict:
    """Other evidence for the same condition that disagrees with the chosen one.

    `gap` is the distance between the two intervals (a figure without one counts as a point): in percentage points
    for percentages, else as a fraction of the chosen value.
    """

    record: Record
    gap: float


@dataclass(frozen=True, slots=True)
class Choice:
    """The record that wins, what disagrees with it (widest gap first), and how many records were weighed."""

    record: Record
    conflicts: tuple[Conflict, ...]
    weighed: int

    @property
    def figure(self) -> Figure:
        """The winning figure."""
        return self.record.figure


def choose(records: Sequence[Record], *, fingerprint: str | None = None) -> Choice | None:
    """The winner among records of one condition; None where there are none.

    `fingerprint` is the present one of the machine that measured (hardware/fingerprint.py), None where that is not
    this machine. Raises ValueError where the records are about different metrics, backbones or devices.
    """
    subjects = {(r.figure.metric.name, r.conditions.backbone, r.conditions.hardware) for r in records}
    if len(subjects) > 1:
        raise ValueError(f"only records of one condition can be weighed, not {sorted(subjects)}")
    if not records:
        return None
    best, *others = sorted(records, key=lambda r: _standing(r, fingerprint), reverse=True)
    conflicts = [Conflict(other, _gap(best.figure, other.figure)) for other in others]
    conflicts = [c for c in conflicts if c.gap > tolerance(best.figure.metric)]
    return Choice(best, tuple(sorted(conflicts, key=lambda c: c.gap, reverse=True)), len(records))


def tolerance(metric: Metric) -> float:
    """The gap beyond which two figures conflict: percentage points for percentages, else a fraction."""
    return POINTS_TOLERANCE if metric.unit == "%" else RELATIVE_TOLERANCE


def _standing(record: Record, fingerprint: str | None) -> tuple[int, bool, bool, tuple[int, ...], datetime, str]:
    """Sorts the winner last. What does not matter for a provenance is equal for all of it."""
    provenance = record.figure.provenance
    measured, published = provenance is Provenance.MEASURED, provenance is Provenance.PUBLISHED
    return (
        -_RANK[provenance],
        measured and fingerprint is not None and record.fingerprint == fingerprint,
        measured and record.stable is not False,
        _version(record.conditions.runtime_version) if published else (),
        record.recorded_at,
        record.figure.source,  # the order that records come in must not decide
    )


def _version(text: str | None) -> tuple[int, ...]:
    """The numbers of a version in order; () where none is stated, which any stated one beats."""
    return tuple(int(number) for number in re.findall(r"\d+", text or ""))


def _gap(chosen: Figure, other: Figure) -> float:
    low, high = _interval(chosen)
    other_low, other_high = _interval(other)
    distance = max(0.0, other_low - high, low - other_high)
    if chosen.metric.unit == "%" or distance == 0:
        return distance
    return distance / abs(chosen.value) if chosen.value else float("inf")


def _interval(figure: Figure) -> tuple[float, float]:
    """The stated interval; a missing bound is the value itself, and the value always lies inside."""
    low = figure.value if figure.low is None else min(figure.low, figure.value)
    high = figure.value if figure.high is None else max(figure.high, figure.value)
    return low, high
