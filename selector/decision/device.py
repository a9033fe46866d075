"""What is known of one device: measured and published figures, and the estimate for what has neither.

`evidence.choice` says which figure wins; those that disagree with it stand beside it as conflicts.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import cache

from selector.backbones.layers import layers
from selector.decision.answer import Statement
from selector.estimation.estimator import latency_estimator
from selector.estimation.latency import LatencyEstimator, LatencyQuery
from selector.evidence.choice import Choice, choose
from selector.evidence.metrics import ARTIFACT, LATENCY_P50, LATENCY_P90, MEMORY_RSS, TIME_PER_SAMPLE
from selector.evidence.record import Conditions, Figure, Provenance, Record
from selector.hardware.profiles import HardwareProfile, PublishedFigure

SHOWN_CONFLICTS = 2
UNDATED = datetime(1970, 1, 1, tzinfo=UTC)  # profiles do not date their figures; the runtime's version orders them


@dataclass(frozen=True, slots=True)
class Configuration:
    """What is executed on the device, at batch 1."""

    backbone: str
    resolution: int
    runtime: str
    precision: str


@dataclass(frozen=True, slots=True)
class Latency:
    """The p50 that wins, the p90 bound of the same origin where there is one, and what disagrees with it."""

    p50: Figure
    p90: Figure | None = None
    conflicts: tuple[Statement, ...] = ()


class DeviceEvidence:
    """Figures of one device by configuration, and an estimator for what has none.

    `records` are those of the store for this device; `fingerprint` is this machine's present one where the device is
    this machine.
    """

    def __init__(
        self, profile: HardwareProfile, records: Iterable[Record] = (), *, fingerprint: str | None = None
    ) -> None:
        self.profile = profile
        measured = tuple(records)
        known: dict[tuple[str, Configuration], list[Record]] = defaultdict(list)
        for record in (*(as_record(profile.name, p) for p in profile.published), *measured):
            configuration = _configuration(record)
            if configuration is not None and _shown(record):
                known[record.figure.metric.name, configuration].append(record)
        self._chosen: dict[tuple[str, Configuration], Choice] = {}
        for key, of_key in known.items():
            choice = choose(_most_threads(of_key), fingerprint=fingerprint)
            if choice is not None:
                self._chosen[key] = choice
        self._estimator: LatencyEstimator = latency_estimator(profile, measured)

    def configurations(self) -> frozenset[Configuration]:
        """Every configuration with a known latency at batch 1."""
        return frozenset(configuration for name, configuration in self._chosen if name == LATENCY_P50.name)

    def knows(self, runtime: str, precision: str) -> bool:
        """Whether the device has any figure of this runtime and precision, to show or to estimate from."""
        timed = (LATENCY_P50.name, TIME_PER_SAMPLE.name)
        return any(name in timed and (c.runtime, c.precision) == (runtime, precision) for name, c in self._chosen)

    def latency(self, configuration: Configuration) -> Latency | None:
        """The best evidence for the latency: measured, else published, else estimated; None without any."""
        known = self.known_latency(configuration)
        if known is not None:
            return known
        query = LatencyQuery(
            configuration.backbone, configuration.resolution, configuration.runtime, configuration.precision
        )
        estimate = self._estimator.estimate(query)
        return Latency(estimate) if estimate is not None else None

    def known_latency(self, configuration: Configuration) -> Latency | None:
        """The measured, else published latency; None where there is neither."""
        choice = self._chosen.get((LATENCY_P50.name, configuration))
        if choice is None:
            return None
        bound = self._chosen.get((LATENCY_P90.name, configuration))
        return Latency(_cited(choice.record), _same_origin(bound, choice), _conflicts(choice))

    def memory(self, configuration: Configuration) -> Figure | None:
        """Peak resident memory as measured or published; never estimated."""
        choice = self._chosen.get((MEMORY_RSS.name, configuration))
        return _cited(choice.record) if choice else None

    def per_sample(self, configuration: Configuration) -> Figure | None:
        """Time per image within a big batch, where that is what was published."""
        choice = self._chosen.get((TIME_PER_SAMPLE.name, configuration))
        return _cited(choice.record) if choice else None


def as_record(hardware: str, published: PublishedFigure) -> Record:
    """A profile's published figure as a record, to be weighed with those of the store."""
    conditions = Conditions(
        published.backbone,
        hardware,
        published.runtime,
        published.runtime_version,
        published.precision,
        published.resolution,
        published.batch_size,
        published.threads,
    )
    return Record.of(
        published.metric,
        published.value,
        conditions,
        provenance=Provenance.PUBLISHED,
        source=published.source,
        recorded_at=UNDATED,
    )


def _configuration(record: Record) -> Configuration | None:
    """What the record's figure is an execution of; None where it is no figure of an execution."""
    c = record.conditions
    if c.runtime is None or c.precision is None or c.resolution is None:
        return None
    return Configuration(c.backbone, c.resolution, c.runtime, c.precision)


def _shown(record: Record) -> bool:
    """Latency and memory at batch 1, time per sample above it. Estimates are made anew from what is known now."""
    if record.figure.provenance is Provenance.ESTIMATED:
        return False
    batch = record.conditions.batch_size or 1
    if record.figure.metric == TIME_PER_SAMPLE:
        return batch > 1
    return record.figure.metric in (LATENCY_P50, LATENCY_P90, MEMORY_RSS) and batch == 1


def _most_threads(records: list[Record]) -> list[Record]:
    """Of measurements with several thread counts those with the most, as it would be deployed; others stay."""
    most = max((r.conditions.threads or 0 for r in records if r.figure.provenance is Provenance.MEASURED), default=0)
    return [r for r in records if r.figure.provenance is not Provenance.MEASURED or (r.conditions.threads or 0) == most]


def _cited(record: Record) -> Figure:
    """The record's figure with its conditions in its source."""
    c = record.conditions
    parts = [record.figure.source, f"{c.runtime} {c.runtime_version or ''}".strip(), f"batch {c.batch_size or 1}"]
    parts += [f"{c.threads} threads"] if c.threads else []
    parts += [f"fingerprint {record.fingerprint[:12]}"] if record.fingerprint else []
    parts += ["not stable"] if record.stable is False else []
    return replace(record.figure, source="; ".join(parts))


def _same_origin(bound: Choice | None, choice: Choice) -> Figure | None:
    """The p90 bound where it belongs to the very measurement or publication of the p50."""
    if bound is None:
        return None
    ours, theirs = choice.record, bound.record
    same = (ours.conditions, ours.figure.provenance, ours.fingerprint) == (
        theirs.conditions,
        theirs.figure.provenance,
        theirs.fingerprint,
    )
    return _cited(theirs) if same and theirs.figure.value >= ours.figure.value else None


def _conflicts(choice: Choice) -> tuple[Statement, ...]:
    """Other evidence for the same configuration that disagrees, the widest gap first."""
    return tuple(
        Statement(
            "conflict.latency",
            {
                "value": c.record.figure.value,
                "label": f"{c.record.conditions.runtime} {c.record.conditions.runtime_version or ''}".strip(),
                "provenance": c.record.figure.provenance.value,
                "source": c.record.figure.source,
            },
        )
        for c in choice.conflicts[:SHOWN_CONFLICTS]
    )


@cache
def macs(backbone: str, resolution: int) -> int:
    """Forward MACs, torchvision's convention, from the layer table. Raises UnknownName for a network not in it."""
    return sum(layer.macs for layer in layers(backbone, resolution))


def held_as(figure: Figure, limit: str) -> str:
    """What the figure that the limit called `limit` is held against is to it.

    "p90", "high" (the upper end of an estimated latency's interval), "file" (the model file where memory is limited
    and not known), or "value".
    """
    if figure.metric == LATENCY_P90:
        return "p90"
    if limit == "memory_mb" and figure.metric == ARTIFACT:
        return "file"
    upper_end = figure.metric == LATENCY_P50 and figure.low is not None and figure.low < figure.value == figure.high
    return "high" if upper_end and figure.provenance is Provenance.ESTIMATED else "value"


def held(latency: Latency) -> Figure:
    """The figure that a latency limit is held against.

    The p90 bound where the evidence has one; for an estimate the upper end of its interval, as a metric of its own
    right; else the p50 itself.
    """
    if latency.p90 is not None:
        return latency.p90
    p50 = latency.p50
    return replace(p50, value=p50.high) if p50.provenance is Provenance.ESTIMATED and p50.high is not None else p50
