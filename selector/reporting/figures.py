"""What the page's figures show, as plain values. `drawing` makes them visible and decides nothing."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from selector.backbones.catalog import Family
from selector.decision.answer import Answer, Candidate
from selector.evidence.record import Figure

COMPARED_BACKBONES = 16  # as many as fit on a screen without scrolling


@dataclass(frozen=True, slots=True)
class Point:
    """One candidate between latency and accuracy, with both intervals."""

    backbone: str
    family: Family
    freeze: str
    runtime: str
    precision: str
    resolution: int
    latency: Figure
    accuracy: Figure
    feasible: bool
    pareto: bool
    recommended: bool


@dataclass(frozen=True, slots=True)
class ParetoChart:
    """Accuracy against latency: one point for each backbone, runtime and precision, at its best freeze depth."""

    device: str
    points: tuple[Point, ...]
    front: tuple[Point, ...]  # cheapest first
    latency_limit: float | None  # milliseconds
    without_latency: int  # candidates of which no latency can be told, and which therefore have no point


@dataclass(frozen=True, slots=True)
class Bar:
    """The latency of one backbone in its fastest runtime and precision, at the resolution at which it ranks best."""

    backbone: str
    family: Family
    runtime: str
    precision: str
    resolution: int
    latency: Figure
    recommended: bool


@dataclass(frozen=True, slots=True)
class LatencyBars:
    """The latency of every backbone on the reference device, fastest first."""

    device: str
    bars: tuple[Bar, ...]
    latency_limit: float | None


@dataclass(frozen=True, slots=True)
class HardwareComparison:
    """The latency of the same backbones on several devices. A backbone that one of them lacks has no bar there."""

    backbones: tuple[str, ...]  # those that need fewest MACs first
    devices: tuple[LatencyBars, ...]


@dataclass(frozen=True, slots=True)
class Expected:
    """The accuracy that is expected of the recommended candidate."""

    data_size: int
    backbone: str
    freeze: str
    accuracy: Figure


@dataclass(frozen=True, slots=True)
class AccuracyBySize:
    """Expected accuracy of what is recommended, by hardware and number of labelled images."""

    hardware: tuple[tuple[str, tuple[Expected, ...]], ...]


def representatives(answer: Answer) -> tuple[Candidate, ...]:
    """One candidate for each backbone, runtime, precision and resolution: that of the best freeze depth.

    The recommended one stands for its group, else a member of the Pareto front, else the first, which ranks best.
    """
    chosen = answer.recommendation.candidate
    groups: dict[tuple[str, str, str, int], Candidate] = {}
    for candidate in answer.candidates:
        key = (candidate.backbone, candidate.runtime, candidate.precision, candidate.resolution)
        held = groups.get(key)
        if held is None or candidate == chosen or (candidate.pareto and not held.pareto and held != chosen):
            groups[key] = candidate
    return tuple(groups.values())


def latency_limit(answer: Answer) -> float | None:
    """The tightest latency limit of the request in milliseconds, if there is one."""
    return min((limit.bound for limit in answer.request.limits if limit.name == "latency_ms"), default=None)


def pareto_chart(answer: Answer, device: str) -> ParetoChart:
    """The points of the answer's Pareto figure; `device` is the reference's title."""
    chosen = answer.recommendation.candidate
    shown = representatives(answer)
    points = tuple(_point(c, c.latency, recommended=c == chosen) for c in shown if c.latency is not None)
    front = sorted((p for p in points if p.pareto), key=lambda p: (p.latency.value, p.accuracy.value))
    return ParetoChart(device, points, tuple(front), latency_limit(answer), sum(c.latency is None for c in shown))


def _point(candidate: Candidate, latency: Figure, *, recommended: bool) -> Point:
    return Point(
        candidate.backbone,
        candidate.family,
        candidate.freeze.name,
        candidate.runtime,
        candidate.precision,
        candidate.resolution,
        latency,
        candidate.accuracy,
        candidate.feasible,
        candidate.pareto,
        recommended,
    )


def latency_bars(answer: Answer, device: str) -> LatencyBars:
    """The bars of the answer's latency figure; `device` is the reference's title."""
    fastest: dict[str, Bar] = {}
    chosen = answer.recommendation.candidate.backbone
    resolutions: dict[str, int] = {}  # otherwise a backbone would seem fast for being shown small images
    for c in answer.candidates:
        if c.latency is None or c.resolution != resolutions.setdefault(c.backbone, c.resolution):
            continue
        if c.backbone not in fastest or c.latency.value < fastest[c.backbone].latency.value:
            bar = Bar(c.backbone, c.family, c.runtime, c.precision, c.resolution, c.latency, c.backbone == chosen)
            fastest[c.backbone] = bar
    bars = sorted(fastest.values(), key=lambda bar: (bar.latency.value, bar.backbone))
    return LatencyBars(device, tuple(bars), latency_limit(answer))


def hardware_comparison(answers: Sequence[Answer], devices: Sequence[str]) -> HardwareComparison:
    """The latencies of what is recommended and of a few backbones of each family, once for each hardware.

    `devices` holds the title of each answer's reference device.
    """
    by_hardware: dict[str, LatencyBars] = {}
    macs: dict[str, int] = {}
    families: dict[str, Family] = {}
    for answer, device in zip(answers, devices, strict=True):
        for c in answer.candidates:
            macs[c.backbone], families[c.backbone] = c.macs, c.family
        by_hardware.setdefault(answer.request.hardware, latency_bars(answer, device))
    recommended = {answer.recommendation.candidate.backbone for answer in answers}
    everywhere = set.intersection(*({bar.backbone for bar in bars.bars} for bars in by_hardware.values()))
    chosen = recommended | _spread(everywhere, macs, families, COMPARED_BACKBONES - len(recommended))
    ordered = sorted(chosen, key=lambda name: (macs[name], name))
    kept = tuple(
        LatencyBars(bars.device, tuple(bar for bar in bars.bars if bar.backbone in chosen), bars.latency_limit)
        for bars in by_hardware.values()
    )
    return HardwareComparison(tuple(ordered), kept)


def _spread(names: Iterable[str], macs: dict[str, int], families: dict[str, Family], room: int) -> set[str]:
    """Backbones of every family, evenly spread over its MACs, as many as there is room for."""
    each = max(1, room // len(Family))
    kept: set[str] = set()
    for family in Family:
        members = sorted((n for n in names if families[n] is family), key=lambda name: (macs[name], name))
        step = max(1.0, (len(members) - 1) / max(1, each - 1))
        kept |= {members[round(i * step)] for i in range(each) if round(i * step) < len(members)}
    return kept


def accuracy_by_size(answers: Sequence[Answer]) -> AccuracyBySize:
    """Expected accuracy by number of images, one line for each hardware, fewest images first."""
    lines: dict[str, list[Expected]] = {}
    for answer in answers:
        chosen = answer.recommendation.candidate
        expected = Expected(answer.request.data_size, chosen.backbone, chosen.freeze.name, chosen.accuracy)
        lines.setdefault(answer.request.hardware, []).append(expected)
    return AccuracyBySize(
        tuple((name, tuple(sorted(found, key=lambda e: e.data_size))) for name, found in lines.items())
    )
