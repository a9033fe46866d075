"""Candidates: backbone × freeze depth × runtime × precision × resolution, with evidence and broken limits."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from selector.backbones import catalog
from selector.backbones.catalog import Backbone
from selector.backbones.depth import NAMED_DEPTHS, FreezeDepth
from selector.decision.answer import Candidate, Limit, Request, Violation
from selector.decision.device import Configuration, DeviceEvidence, Latency, held, macs
from selector.decision.measured import Measured, Study, conditioned, place_of
from selector.decision.ranking import Draws
from selector.decision.request import Hardware
from selector.decision.training import TrainingMacs, TrainingTime
from selector.estimation.accuracy import Setup, Task, accuracy_draws
from selector.evidence.metrics import ACCURACY, ARTIFACT
from selector.evidence.record import Figure, FreezePoint, Provenance

MB = 1_000_000
INT8_SHARE = (0.25, 0.27, 0.30)  # of the fp32 file: weights at a quarter, scales and unquantised layers on top


@dataclass(frozen=True, slots=True)
class Execution:
    """A runtime and precision in which candidates are considered."""

    runtime: str
    precision: str


@dataclass(frozen=True, slots=True)
class Executions:
    """What is considered, and what is left out and why."""

    considered: tuple[Execution, ...]
    lossy: tuple[Execution, ...]  # left out: nothing measured says that they still answer alike
    unknown: tuple[Execution, ...]  # left out: the device has no figure of them


@dataclass(frozen=True, slots=True)
class Candidates:
    """All candidates of a request, their paired accuracy draws [candidates, draws] and their training MACs."""

    items: tuple[Candidate, ...]
    draws: Draws
    training_macs: tuple[float, ...]
    executions: Executions
    without_weights: tuple[str, ...]  # backbones left out: no pretrained weights are published for them


def lossy(precision: str) -> bool:
    """Whether a precision can change answers; floating-point ones (fp16, bf16, tf32, amp) are taken as equal."""
    return precision.startswith("int")


def executions(request: Request, hardware: Hardware, evidence: DeviceEvidence) -> Executions:
    """The runtimes and precisions to consider on the hardware.

    Lossy precisions only where asked for, or where the hardware offers nothing else. Runtimes without any figure on
    the device only where asked for, or where none has one; then each in one precision.
    """
    offered = [Execution(r, p) for r, precisions in hardware.offers.items() for p in precisions]
    offered = [e for e in offered if not request.runtimes or e.runtime in request.runtimes]
    left_out: list[Execution] = []
    if request.precisions:
        offered = [e for e in offered if e.precision in request.precisions]
    elif any(not lossy(e.precision) for e in offered):
        left_out = [e for e in offered if lossy(e.precision)]
        offered = [e for e in offered if not lossy(e.precision)]
    known = [e for e in offered if evidence.knows(e.runtime, e.precision)]
    unknown: list[Execution] = []
    if known and not request.runtimes:
        unknown = [e for e in offered if e not in known]
        offered = known
    elif not known and not request.precisions:
        # nothing tells the precisions of a runtime apart: the first one that is offered stands for them
        first = list({e.runtime: e for e in reversed(offered)}.values())[::-1]
        unknown = [e for e in offered if e not in first]
        offered = first
    return Executions(tuple(offered), tuple(left_out), tuple(unknown))


def candidates(
    request: Request,
    hardware: Hardware,
    evidence: DeviceEvidence,
    training: TrainingTime,
    training_macs: TrainingMacs,
    study: Study | None = None,
) -> Candidates:
    """Every candidate of the request, feasible or not, with all its figures and the limits that it breaks.

    Backbones without published weights have nothing to transfer: they are considered only where asked for by name.
    What a `study` measured on the user's images is stated instead of the prior, and conditions it for the rest.
    """
    considered = executions(request, hardware, evidence)
    names = request.backbones or tuple(b.name for b in catalog.backbones() if b.weights is not None)
    family_top1 = family_medians(catalog.backbones())
    rows: dict[Setup, int] = {}
    drafts: list[tuple[Candidate, Setup, float]] = []
    known = known_resolutions(evidence.configurations())
    for backbone in map(catalog.backbone, names):
        own = [m for m in study.measured if m.backbone == backbone.name] if study else []
        depths = freeze_points(len(backbone.blocks), own)
        costs = {}
        for execution in considered.considered:
            for resolution in resolutions(backbone, execution, known, own):
                configuration = Configuration(backbone.name, resolution, execution.runtime, execution.precision)
                latency = evidence.latency(configuration)
                memory = evidence.memory(configuration)
                for freeze in depths:
                    setup = setup_of(backbone, family_top1[backbone.family.value], resolution, freeze)
                    rows.setdefault(setup, len(rows))
                    key = (freeze.frozen_blocks, resolution)
                    if key not in costs:
                        costs[key] = training_macs(backbone.name, *key)
                    seconds = training.seconds(backbone.name, freeze, resolution, request.data_size)
                    draft = _draft(backbone, freeze, configuration, latency, memory, seconds, request.classes)
                    drafts.append((draft, setup, costs[key]))
    task = Task(request.data_size, request.classes, request.domain)
    draws = accuracy_draws(list(rows), task, seed=request.seed)
    if study:
        of_place = {place_of(draft): rows[setup] for draft, setup, _ in drafts}
        known_rows = [(of_place[m.place], m.accuracy) for m in study.measured if m.place in of_place]
        draws = conditioned(draws, known_rows, seed=request.seed)
    measured = study.by_place() if study else {}
    accuracies = _accuracies(list(rows), draws, request, study)
    finished = []
    for draft, setup, _ in drafts:
        candidate = replace(draft, accuracy=accuracies[rows[setup]])
        if found := measured.get(place_of(draft)):
            seconds = found.train_seconds or draft.train_seconds
            candidate = replace(draft, accuracy=found.accuracy, train_seconds=seconds)
        held_as = _as_it_answers(candidate, found, request.limits)
        finished.append(replace(candidate, violations=violations(held_as, request.limits)))
    index = [rows[setup] for _, setup, _ in drafts]
    left_out = () if request.backbones else tuple(b.name for b in catalog.backbones() if b.weights is None)
    return Candidates(tuple(finished), draws[index], tuple(macs for _, _, macs in drafts), considered, left_out)


def known_resolutions(known: Iterable[Configuration]) -> dict[tuple[str, Execution], set[int]]:
    """The resolutions of the `known` configurations by backbone and execution."""
    found: dict[tuple[str, Execution], set[int]] = {}
    for c in known:
        found.setdefault((c.backbone, Execution(c.runtime, c.precision)), set()).add(c.resolution)
    return found


def resolutions(
    backbone: Backbone,
    execution: Execution,
    known: Mapping[tuple[str, Execution], set[int]],
    measured: Iterable[Measured] = (),
) -> tuple[int, ...]:
    """The default resolution, smaller ones with a figure on the device, and those `measured` on the user's images.

    `known` is as `known_resolutions` makes it. Larger ones are never better known.
    """
    own = {m.resolution for m in measured} - {backbone.resolution}
    smaller = {r for r in known.get((backbone.name, execution), ()) if r < backbone.resolution}
    return (backbone.resolution, *sorted(smaller | own, reverse=True))


def freeze_points(blocks: int, measured: Iterable[Measured] = ()) -> tuple[FreezePoint, ...]:
    """The named depths on a backbone of so many blocks, and the `measured` ones; of two that freeze the same blocks,
    the first.
    """
    points: dict[int, FreezePoint] = {}
    for name in NAMED_DEPTHS:
        frozen = FreezeDepth.parse(name).frozen_blocks(blocks)
        points.setdefault(frozen, FreezePoint(name, frozen, blocks))
    for m in measured:
        points.setdefault(m.frozen_blocks, FreezePoint(m.freeze_name, m.frozen_blocks, blocks))
    return tuple(points.values())


def family_medians(backbones: Iterable[Backbone]) -> dict[str, float]:
    """Median published ImageNet top-1 by family, for backbones without a published one."""
    values: dict[str, list[float]] = {}
    for backbone in backbones:
        if backbone.imagenet_top1 is not None:
            values.setdefault(backbone.family.value, []).append(backbone.imagenet_top1.value)
    return {family: float(np.median(of_family)) for family, of_family in values.items()}


def setup_of(backbone: Backbone, family_top1: float, resolution: int, freeze: FreezePoint) -> Setup:
    """What the accuracy prior looks at."""
    return Setup(
        backbone.name,
        backbone.imagenet_top1.value if backbone.imagenet_top1 else None,
        family_top1,
        resolution / backbone.resolution,
        freeze.frozen_blocks / freeze.total_blocks,
    )


def artifact(backbone: Backbone, classes: int | None, precision: str) -> Figure:
    """Bytes of the model file: parameters and buffers, with a classifier of the user's classes where they are known."""
    size = float(backbone.artifact_bytes)
    head = "ImageNet's classifier included"
    if classes is not None:
        size += 4 * (classes * (backbone.feature_width + 1) - backbone.classifier_params)
        head = f"classifier of {classes} classes"
    counted = f"counted: parameters and buffers in fp32, {head}"
    if lossy(precision):
        low, value, high = (share * size for share in INT8_SHARE)
        return Figure(ARTIFACT, value, low, high, Provenance.ESTIMATED, f"{counted}; × 0.25-0.30 for 8-bit weights")
    return Figure(ARTIFACT, size, size, size, Provenance.ESTIMATED, counted)


def violations(candidate: Candidate, limits: Sequence[Limit]) -> tuple[Violation, ...]:
    """The limits that the candidate breaks. A limited latency must be known.

    Accuracy is held by its expectation: its interval is wider than any useful limit. Where memory is not known, the
    model file alone must fit.
    """
    broken = []
    for limit in limits:
        figure = held_figure(candidate, limit)
        if figure is None:
            broken.append(Violation(limit, None))
        elif (figure.value < limit.bound) if limit.sense == "at least" else (_in_unit(figure, limit) > limit.bound):
            broken.append(Violation(limit, figure))
    return tuple(broken)


def _as_it_answers(candidate: Candidate, found: Measured | None, limits: Iterable[Limit]) -> Candidate:
    """The candidate as limits meet it: with the accuracy of its mean over views where limits on latency bear them."""
    if found is None or found.of_views is None:
        return candidate
    for limit in limits:
        if limit.name == "latency_ms":
            figure = held_figure(candidate, limit)
            if figure is None or figure.value * found.views > limit.bound:
                return candidate
    return replace(candidate, accuracy=found.of_views)


def held_figure(candidate: Candidate, limit: Limit) -> Figure | None:
    """The figure that `limit` is held against; None where it is not known."""
    match limit.name:
        case "latency_ms":
            return held(Latency(candidate.latency, candidate.latency_p90)) if candidate.latency else None
        case "artifact_mb":
            return candidate.artifact
        case "memory_mb":
            return candidate.memory or candidate.artifact
        case _:
            return candidate.accuracy


def excess(violation: Violation) -> float:
    """How many times over the limit the candidate is; infinite where the figure is unknown."""
    if violation.figure is None:
        return float("inf")
    value, bound = _in_unit(violation.figure, violation.limit), violation.limit.bound
    return bound / max(value, 1e-9) if violation.limit.sense == "at least" else value / bound


def _in_unit(figure: Figure, limit: Limit) -> float:
    return figure.value / MB if limit.name.endswith("_mb") else figure.value


def _draft(
    backbone: Backbone,
    freeze: FreezePoint,
    configuration: Configuration,
    latency: Latency | None,
    memory: Figure | None,
    train_seconds: Figure | None,
    classes: int | None,
) -> Candidate:
    """A candidate before its accuracy is known."""
    size = artifact(backbone, classes, configuration.precision)
    return Candidate(
        backbone=backbone.name,
        family=backbone.family,
        freeze=freeze,
        runtime=configuration.runtime,
        precision=configuration.precision,
        resolution=configuration.resolution,
        params=backbone.params,
        macs=macs(backbone.name, configuration.resolution),
        accuracy=_UNKNOWN_ACCURACY,
        latency=latency.p50 if latency else None,
        latency_p90=latency.p90 if latency else None,
        artifact=size,
        memory=memory,
        train_seconds=train_seconds,
        conflicts=latency.conflicts if latency else (),
    )


def _accuracies(setups: Sequence[Setup], draws: Draws, request: Request, study: Study | None) -> list[Figure]:
    """Mean and 80 % interval of each setup's drawn accuracies [setups, draws], with what they rest on."""
    means, (lows, highs) = draws.mean(axis=1), np.quantile(draws, (0.1, 0.9), axis=1)
    return [
        Figure(ACCURACY, float(mean), float(low), float(high), Provenance.ESTIMATED, _rests_on(setup, request, study))
        for setup, mean, low, high in zip(setups, means, lows, highs, strict=True)
    ]


def _rests_on(setup: Setup, request: Request, study: Study | None) -> str:
    """What the expected accuracy of a setup is made from."""
    backbone = catalog.backbone(setup.backbone)
    top1 = backbone.imagenet_top1
    if top1 is not None:
        rests = f"ImageNet top-1 {top1.value:.2f} % ({top1.weights}; {top1.source})"
    else:
        rests = (
            f"no published ImageNet top-1, the median of {backbone.family.value} ({setup.family_top1:.1f} %) stands in"
        )
    source = f"prior of published transfer studies for {request.domain or 'any'} images; {rests}"
    if study:
        source += f"; conditioned on {len(study.measured)} setups that were measured on your images"
    return source


_UNKNOWN_ACCURACY = Figure(ACCURACY, 0.0, None, None, Provenance.ESTIMATED, "not drawn yet")
