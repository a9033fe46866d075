"""A figure with its provenance, and a record: a figure with the conditions under which it holds.

Nothing in the product shows a number that is not one of these two.
"""

from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from selector.evidence.metrics import Metric, metric


class Provenance(StrEnum):
    """Where a figure comes from, best first."""

    MEASURED = "measured"  # here, with a fingerprint
    PUBLISHED = "published"  # with its citation
    ESTIMATED = "estimated"  # with the estimator and an interval


@dataclass(frozen=True, slots=True)
class Figure:
    """A value with its interval, unit and origin.

    `low` and `high` bound an 80 % interval for estimates and the confidence interval of the median for
    measurements; both are None where the source states none. `source` is the citation, the estimator with its
    assumptions, or the measurement's protocol and fingerprint.
    """

    metric: Metric
    value: float
    low: float | None
    high: float | None
    provenance: Provenance
    source: str

    def as_json(self) -> dict[str, Any]:
        """The contract's {value, low, high, unit, provenance, source}."""
        return {
            "value": self.value,
            "low": self.low,
            "high": self.high,
            "unit": self.metric.unit,
            "provenance": self.provenance.value,
            "source": self.source,
        }


@dataclass(frozen=True, slots=True)
class FreezePoint:
    """A freeze depth resolved on one backbone: how many of its blocks are frozen, counted from the input."""

    name: str
    frozen_blocks: int
    total_blocks: int


@dataclass(frozen=True, slots=True)
class Conditions:
    """What a figure is about. None means that the figure does not depend on it, or that the source does not say."""

    backbone: str
    hardware: str  # a hardware profile's name; "local" never leaves a machine: exports carry the device's own name
    runtime: str | None = None
    runtime_version: str | None = None
    precision: str | None = None
    resolution: int | None = None
    batch_size: int | None = None
    threads: int | None = None
    freeze: FreezePoint | None = None


@dataclass(frozen=True, slots=True)
class Record:
    """One figure under its conditions, as it is kept in the store and moves between machines."""

    conditions: Conditions
    figure: Figure
    n: int | None = None  # samples behind a measurement
    stable: bool | None = None  # False: it never settled, or is not of the usual machine; it is kept and marked
    fingerprint: str | None = None  # of the measuring environment; see hardware/fingerprint.py
    protocol: str | None = None  # version of the measuring protocol
    recorded_at: datetime = field(default_factory=lambda: datetime.now(UTC))

    @classmethod
    def of(
        cls,
        metric_name: str,
        value: float,
        conditions: Conditions,
        *,
        provenance: Provenance,
        source: str,
        low: float | None = None,
        high: float | None = None,
        **rest: Any,
    ) -> "Record":
        """A record of the registered metric `metric_name`. Raises UnknownName for another one."""
        return cls(conditions, Figure(metric(metric_name), value, low, high, provenance, source), **rest)

    def as_json(self) -> dict[str, Any]:
        """The contract's record: conditions, figure and origin in one flat object, `freeze` as an object or None."""
        at, freeze = self.conditions, self.conditions.freeze
        return {
            "backbone": at.backbone,
            "hardware": at.hardware,
            "runtime": at.runtime,
            "runtime_version": at.runtime_version,
            "precision": at.precision,
            "resolution": at.resolution,
            "batch_size": at.batch_size,
            "threads": at.threads,
            "freeze": freeze
            and {"name": freeze.name, "frozen_blocks": freeze.frozen_blocks, "total_blocks": freeze.total_blocks},
            "metric": self.figure.metric.name,
            **self.figure.as_json(),
            "n": self.n,
            "stable": self.stable,
            "fingerprint": self.fingerprint,
            "protocol": self.protocol,
            "recorded_at": self.recorded_at.isoformat(),
        }
