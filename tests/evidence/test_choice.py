import random
from datetime import UTC, datetime, timedelta

import pytest

from selector.evidence.choice import Choice, choose
from selector.evidence.record import Conditions, Provenance, Record

MEASURED, PUBLISHED, ESTIMATED = Provenance
AT = datetime(2026, 1, 1, tzinfo=UTC)


def record(
    provenance: Provenance,
    value: float,
    *,
    days: int = 0,
    version: str | None = None,
    fingerprint: str | None = None,
    stable: bool | None = None,
    half: float | None = None,
    metric: str = "latency_ms_p50",
) -> Record:
    return Record.of(
        metric,
        value,
        Conditions("resnet50", "local", "onnxruntime", version, "fp32", 224, 1, 2),
        provenance=provenance,
        source="x",
        low=None if half is None else value - half,
        high=None if half is None else value + half,
        fingerprint=fingerprint,
        stable=stable,
        recorded_at=AT + timedelta(days=days),
    )


def winner(*best_first: Record, fingerprint: str | None = "now") -> None:
    """The first wins, and without it the second, and so on, in whatever order they come."""
    for i in range(len(best_first)):
        left = list(best_first[i:])
        for seed in range(5):
            random.Random(seed).shuffle(left)
            choice = choose(left, fingerprint=fingerprint)
            assert choice is not None
            assert choice.record == best_first[i]


def test_order_of_evidence() -> None:
    winner(
        record(MEASURED, 1.0, fingerprint="now", stable=True, days=3),
        record(MEASURED, 2.0, fingerprint="now", stable=True, days=1),
        record(MEASURED, 3.0, fingerprint="now", stable=False, days=9),
        record(MEASURED, 4.0, fingerprint="before", stable=True, days=9),
        record(MEASURED, 5.0, fingerprint=None, stable=False, days=9),
        record(PUBLISHED, 6.0, version="22.11", days=1),
        record(PUBLISHED, 7.0, version="2.11", days=9),
        record(PUBLISHED, 8.0, version="2.9", days=9),
        record(PUBLISHED, 9.0, version="master", days=10),
        record(PUBLISHED, 10.0, version=None, days=9),
        record(ESTIMATED, 11.0, days=9),
        record(ESTIMATED, 12.0, days=1),
    )


def test_without_a_present_fingerprint_the_newest_stable_measurement_wins() -> None:
    winner(
        record(MEASURED, 1.0, days=2, fingerprint="a"),
        record(MEASURED, 2.0, days=1, fingerprint=None),
        fingerprint=None,
    )


def conflicts(*records: Record) -> list[tuple[float, float]]:
    choice = choose(records)
    assert choice is not None
    assert choice.weighed == len(records)
    return [(c.record.figure.value, round(c.gap, 3)) for c in choice.conflicts]


def test_conflicts_are_shown_and_never_averaged() -> None:
    best = record(MEASURED, 10.0)
    assert conflicts(best, record(PUBLISHED, 11.0)) == []  # within 10 %
    assert conflicts(best, record(PUBLISHED, 11.5), record(ESTIMATED, 5.0)) == [(5.0, 0.5), (11.5, 0.15)]
    choice = choose([best, record(PUBLISHED, 100.0)])
    assert choice is not None
    assert choice.figure is best.figure


def test_intervals_that_touch_do_not_conflict() -> None:
    assert conflicts(record(MEASURED, 10.0, half=0.5), record(ESTIMATED, 20.0, half=9.0)) == []
    assert conflicts(record(MEASURED, 10.0, half=0.5), record(ESTIMATED, 20.0, half=7.0)) == [(20.0, 0.25)]
    assert conflicts(record(MEASURED, 20.0, half=1.0), record(ESTIMATED, 10.0, half=4.0)) == [(10.0, 0.25)]


def test_accuracies_conflict_by_points() -> None:
    best = record(MEASURED, 80.0, metric="accuracy")
    assert conflicts(best, record(PUBLISHED, 79.2, metric="accuracy")) == []
    assert conflicts(best, record(PUBLISHED, 76.0, metric="accuracy")) == [(76.0, 4.0)]


def test_nothing_to_choose_from() -> None:
    assert choose([]) is None


def test_records_of_two_conditions_are_refused() -> None:
    with pytest.raises(ValueError, match="one condition"):
        choose([record(MEASURED, 1.0), record(MEASURED, 1.0, metric="load_ms")])


def test_one_record_has_no_conflict() -> None:
    only = record(ESTIMATED, 0.0)
    assert choose([only]) == Choice(only, (), 1)
