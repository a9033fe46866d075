"""What is known of one device: measured and published figures, and which of them wins.

Measured here beats published; of several published the newest runtime version, of several measured the newest stable
one wins. The others stand beside it as conflicts where they disagree; nothing is averaged away.
"""

import re
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cache

from selector.backbones.layers import layers
from selector.decision.answer import Statement
from selector.errors import InvalidInput
from selector.estimation.latency import LatencyEstimator, LatencyQuery
from selector.estimation.scaling import Anchor, Features, ScalingEstimator
from selector.evidence.metrics import LATENCY_P50, LATENCY_P90, MEMORY_RSS, TIME_PER_SAMPLE, metric
from selector.evidence.record import Figure, Provenance, Record
from selector.hardware.profiles import HardwareProfile, PublishedFigure

CONFLICT = 0.10  # figures of one configuration that differ by more are shown as a conflict
SHOWN_CONFLICTS = 2


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


@dataclass(frozen=True, slots=True)
class _Known:
    """A figure with what decides between it and others of the same configuration."""

    figure: Figure
    rank: tuple[int, ...]  # greater wins
    label: str  # runtime and version


class DeviceEvidence:
    """Figures of one device by configuration, and an estimator for what has none."""

    def __init__(self, profile: HardwareProfile, records: Iterable[Record] = ()) -> None:
        self.profile = profile
        self._figures: dict[tuple[str, Configuration], list[_Known]] = defaultdict(list)
        self._per_sample: dict[Configuration, _Known] = {}
        for figure in profile.published:
            self._take_published(figure)
        for record in records:
            self._take_record(record)
        for known in self._figures.values():
            known.sort(key=lambda k: k.rank, reverse=True)
        self._estimator: LatencyEstimator = ScalingEstimator(profile.name, self._anchors(), features)

    def configurations(self) -> frozenset[Configuration]:
        """Every configuration with a known latency."""
        return frozenset(configuration for name, configuration in self._figures if name == LATENCY_P50.name)

    def knows(self, runtime: str, precision: str) -> bool:
        """Whether the device has any figure of this runtime and precision, to show or to scale from."""
        return any(
            (c.runtime, c.precision) == (runtime, precision) for c in self.configurations() | set(self._per_sample)
        )

    def latency(self, configuration: Configuration) -> Latency | None:
        """The best evidence for the latency: measured, else published, else estimated; None without any."""
        known = self._figures.get((LATENCY_P50.name, configuration))
        if not known:
            query = LatencyQuery(
                configuration.backbone, configuration.resolution, configuration.runtime, configuration.precision
            )
            estimate = self._estimator.estimate(query)
            return Latency(estimate) if estimate is not None else None
        best, *others = known
        p90 = [
            k.figure
            for k in self._figures.get((LATENCY_P90.name, configuration), [])
            if k.rank == best.rank and k.figure.value >= best.figure.value
        ]
        return Latency(best.figure, min(p90, key=lambda f: f.value) if p90 else None, _conflicts(best, others))

    def memory(self, configuration: Configuration) -> Figure | None:
        """Peak resident memory as measured or published; never estimated."""
        known = self._figures.get((MEMORY_RSS.name, configuration))
        return known[0].figure if known else None

    def per_sample(self, configuration: Configuration) -> Figure | None:
        """Time per image within a big batch, where that is what was published."""
        known = self._per_sample.get(configuration)
        return known.figure if known else None

    def _take_published(self, p: PublishedFigure) -> None:
        configuration = Configuration(p.backbone, p.resolution, p.runtime, p.precision)
        source = f"{p.source} ({p.runtime} {p.runtime_version}, batch {p.batch_size})"
        figure = Figure(metric(p.metric), p.value, None, None, Provenance.PUBLISHED, source)
        known = _Known(figure, (0, 0, *_version(p.runtime_version)), f"{p.runtime} {p.runtime_version}")
        self._keep(p.metric, p.batch_size, configuration, known)

    def _take_record(self, record: Record) -> None:
        c, figure = record.conditions, record.figure
        if c.runtime is None or c.precision is None or c.resolution is None:
            return  # not a figure of an execution
        if figure.provenance is Provenance.ESTIMATED:
            return  # an estimate is made anew from what is known now
        measured = figure.provenance is Provenance.MEASURED
        # of measurements: stable ones, with the most threads, the newest; imported published ones rank as the profile's
        when = (int(record.stable is not False), c.threads or 0, int(record.recorded_at.timestamp()))
        rank = (1, *when) if measured else (0, 0, *_version(c.runtime_version or ""))
        if measured and record.fingerprint:
            figure = replace(figure, source=f"{figure.source}; fingerprint {record.fingerprint[:12]}")
        label = f"{c.runtime} {c.runtime_version or ''}".strip()
        configuration = Configuration(c.backbone, c.resolution, c.runtime, c.precision)
        self._keep(figure.metric.name, c.batch_size or 1, configuration, _Known(figure, rank, label))

    def _keep(self, name: str, batch_size: int, configuration: Configuration, known: _Known) -> None:
        if name == TIME_PER_SAMPLE.name and batch_size > 1:
            before = self._per_sample.get(configuration)
            if before is None or known.rank > before.rank:
                self._per_sample[configuration] = known
        elif name in (LATENCY_P50.name, LATENCY_P90.name, MEMORY_RSS.name) and batch_size == 1:
            self._figures[name, configuration].append(known)

    def _anchors(self) -> list[Anchor]:
        """Every figure that can be scaled from: networks whose layers are known."""
        best = {c: known[0].figure.value for (name, c), known in self._figures.items() if name == LATENCY_P50.name}
        found = [
            Anchor(c.backbone, c.resolution, c.runtime, c.precision, value)
            for c, value in best.items()
            if features_known(c.backbone, c.resolution)
        ]
        found += [
            Anchor(c.backbone, c.resolution, c.runtime, c.precision, known.figure.value, per_sample=True)
            for c, known in self._per_sample.items()
            if features_known(c.backbone, c.resolution)
        ]
        return found


@cache
def features(backbone: str, resolution: int) -> Features:
    """MACs, activations and kind from the layer table. Raises UnknownName for a network that is not in it."""
    table = layers(backbone, resolution)
    return Features(
        macs=float(sum(layer.macs for layer in table)),
        activations=float(sum(layer.activations for layer in table)),
        depthwise=any(layer.kind == "depthwise" for layer in table),
        convolutions=sum(layer.kind not in ("linear", "matmul") for layer in table),
    )


@cache
def features_known(backbone: str, resolution: int) -> bool:
    """Whether the layer table has the network at this resolution."""
    try:
        features(backbone, resolution)
    except InvalidInput:
        return False
    return True


def held(latency: Latency) -> Figure:
    """The figure that a latency limit is held against.

    The p90 bound where the evidence has one; for an estimate the upper end of its interval, as a metric of its own
    right; else the p50 itself.
    """
    if latency.p90 is not None:
        return latency.p90
    p50 = latency.p50
    return replace(p50, value=p50.high) if p50.provenance is Provenance.ESTIMATED and p50.high is not None else p50


def _conflicts(best: _Known, others: Iterable[_Known]) -> tuple[Statement, ...]:
    """Other evidence for the same configuration that differs by more than a tenth, the newest first."""
    value = best.figure.value
    far = [o for o in others if abs(o.figure.value / value - 1) > CONFLICT]
    return tuple(
        Statement(
            "conflict.latency",
            {
                "value": o.figure.value,
                "label": o.label,
                "provenance": o.figure.provenance.value,
                "source": o.figure.source,
            },
        )
        for o in far[:SHOWN_CONFLICTS]
    )


@cache
def _version(text: str) -> tuple[int, ...]:
    """Numbers of a version, so that 22.11 is newer than 21.02; one without numbers is older than all."""
    return tuple(int(number) for number in re.findall(r"\d+", text)[:4])
