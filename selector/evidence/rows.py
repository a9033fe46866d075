"""A record as one flat row of named values, and back. The store's tables and CSV and Parquet files hold such rows."""

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from selector.evidence.metrics import metric
from selector.evidence.record import Conditions, Figure, FreezePoint, Provenance, Record

LOCAL = "local"

_CONDITIONS = ("runtime", "runtime_version", "precision", "resolution", "batch_size", "threads")
_ORIGIN = ("n", "stable", "fingerprint", "protocol")


def row_of(record: Record, *, device: str) -> dict[str, Any]:
    """The record as a flat row, `local` under the name `device`. Numbers and times are exact."""
    at, figure, freeze = record.conditions, record.figure, record.conditions.freeze
    return {
        "backbone": at.backbone,
        "hardware": device if at.hardware == LOCAL else at.hardware,
        **{name: getattr(at, name) for name in _CONDITIONS},
        "freeze": freeze.name if freeze else None,
        "frozen_blocks": freeze.frozen_blocks if freeze else None,
        "total_blocks": freeze.total_blocks if freeze else None,
        "metric": figure.metric.name,
        "value": _plain(figure.value),
        "low": None if figure.low is None else _plain(figure.low),
        "high": None if figure.high is None else _plain(figure.high),
        "provenance": figure.provenance.value,
        "source": figure.source,
        **{name: getattr(record, name) for name in _ORIGIN},
        "recorded_at": record.recorded_at.astimezone(UTC).isoformat(timespec="microseconds"),
    }


def record_of(row: Mapping[str, Any], *, device: str | None) -> Record:
    """The record of a row, `local` where it is about `device` (None: nowhere).

    Raises UnknownName for a metric that is not registered.
    """
    freeze = row["freeze"] and FreezePoint(row["freeze"], row["frozen_blocks"], row["total_blocks"])
    conditions = Conditions(
        backbone=row["backbone"],
        hardware=LOCAL if row["hardware"] == device else row["hardware"],
        freeze=freeze or None,
        **{name: row[name] for name in _CONDITIONS},
    )
    figure = Figure(
        metric(row["metric"]), row["value"], row["low"], row["high"], Provenance(row["provenance"]), row["source"]
    )
    at = datetime.fromisoformat(row["recorded_at"]).astimezone(UTC)
    return Record(conditions, figure, recorded_at=at, **{name: row[name] for name in _ORIGIN})


def content_id(row: Mapping[str, Any]) -> str:
    """A name made of the row's content: equal rows have one, on every machine."""
    text = json.dumps(dict(row), sort_keys=True, allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _plain(number: float) -> float:
    return float(number) + 0.0  # −0.0 becomes 0.0, as SQLite keeps it: one figure has one content
