"""Answers made by hand for the tests of the page: the shape of real ones, with invented figures.

Every provenance, a missing latency, an infeasible candidate, a conflict, a tie and a warning occur, and text
carries the characters that break a page when they are not escaped.
"""

import math
from dataclasses import replace

from selector.backbones.catalog import Family
from selector.decision.answer import (
    Answer,
    Candidate,
    Claim,
    Limit,
    NextMeasurement,
    PolicyAnswer,
    Recommendation,
    Request,
    Statement,
    TableCell,
    Violation,
)
from selector.evidence.metrics import ACCURACY, ARTIFACT, LATENCY_P50, MEMORY_RSS, TRAIN_SECONDS, Metric
from selector.evidence.record import Figure, FreezePoint, Provenance
from selector.hardware.profiles import HardwareProfile, Kind, Limits, RuntimeOffer, SpecificationItem

# name, family, blocks, million parameters, billion MACs, ImageNet top-1, resolution
BACKBONES = (
    ("resnet18", Family.RESNET, 9, 11.7, 1.81, 71.5, 224),
    ("resnet34", Family.RESNET, 17, 21.8, 3.66, 76.4, 224),
    ("resnet50", Family.RESNET, 17, 25.6, 4.09, 80.4, 224),
    ("resnet101", Family.RESNET, 34, 44.5, 7.8, 82.3, 224),
    ("resnet152", Family.RESNET, 51, 60.2, 11.51, 82.8, 224),
    ("vgg11", Family.VGG, 8, 132.9, 7.61, 69.0, 224),
    ("vgg16", Family.VGG, 13, 138.4, 15.47, 71.6, 224),
    ("vgg19", Family.VGG, 16, 143.7, 19.63, 72.4, 224),
    ("efficientnet_b0", Family.EFFICIENTNET, 17, 5.3, 0.39, 77.7, 224),
    ("efficientnet_b3", Family.EFFICIENTNET, 27, 12.2, 1.83, 82.0, 288),
    ("tf_efficientnet_b7", Family.EFFICIENTNET, 56, 66.3, 38.3, 84.9, 600),
    ("tf_efficientnet_lite0", Family.EFFICIENTNET, 17, 4.7, 0.39, 74.8, 224),
    ("mobilenetv2_100", Family.MOBILENET, 18, 3.5, 0.3, 73.0, 224),
    ("mobilenetv3_large_100", Family.MOBILENET, 16, 5.5, 0.22, 75.8, 224),
    ("mobilenetv3_small_100", Family.MOBILENET, 12, 2.5, 0.06, 67.7, 224),
)
DEPTHS = ("none", "last-3", "80%", "head")
RUNTIMES = {"onnxruntime": 1.0, "torch-eager": 1.7}
DEPTH_COST = {"none": 0.0, "last-3": 1.4, "80%": 1.1, "head": 5.5}
CHOSEN = ("tf_efficientnet_lite0", "80%", "onnxruntime")


def figure(
    metric: Metric, value: float, provenance: Provenance, source: str, spread: tuple[float, float] | None = None
) -> Figure:
    """A figure whose interval reaches `spread` below and above its value."""
    low, high = (value - spread[0], value + spread[1]) if spread else (None, None)
    return Figure(metric, value, low, high, provenance, source)


def frozen(depth: str, blocks: int) -> FreezePoint:
    """The named depth on a backbone of so many blocks."""
    counts = {"none": 0, "last-3": blocks - 3, "80%": int(blocks * 0.8), "head": blocks}
    return FreezePoint(depth, counts[depth], blocks)


def latency(name: str, macs: float, runtime: str, speed: float) -> Figure | None:
    """Measured for lite0, published for ResNet-50, unknown for VGG-19 in eager mode, otherwise estimated."""
    if (name, runtime) == ("vgg19", "torch-eager"):
        return None
    value = (3 + 60 * macs**0.85) * RUNTIMES[runtime] * speed
    if name == "tf_efficientnet_lite0":
        source = "protocol 1, fingerprint 5d1f0c2a, onnxruntime 1.32, 4 threads"
        return figure(LATENCY_P50, value, Provenance.MEASURED, source, (0.02 * value, 0.03 * value))
    if name == "resnet50":
        return figure(LATENCY_P50, value, Provenance.PUBLISHED, 'MLPerf edge v3.0, open/cTuning <resnet50> & "others"')
    source = "scaled from the device's published figures by MACs and activations"
    return figure(LATENCY_P50, value, Provenance.ESTIMATED, source, (0.35 * value, 0.6 * value))


def candidate(
    row: tuple[str, Family, int, float, float, float, int], depth: str, runtime: str, speed: float
) -> Candidate:
    """One candidate with invented figures."""
    name, family, blocks, params, macs, top1, resolution = row
    accuracy = 60 + 0.42 * top1 - DEPTH_COST[depth]
    time = figure(
        TRAIN_SECONDS, 40 * macs * (4 - DEPTHS.index(depth)), Provenance.ESTIMATED, "step time × steps", (20, 90)
    )
    return Candidate(
        backbone=name,
        family=family,
        freeze=frozen(depth, blocks),
        runtime=runtime,
        precision="fp32",
        resolution=resolution,
        params=int(params * 1e6),
        macs=int(macs * 1e9),
        accuracy=figure(ACCURACY, accuracy, Provenance.ESTIMATED, f"ImageNet top-1 prior for {name}", (4.5, 3.5)),
        latency=latency(name, macs, runtime, speed),
        artifact=figure(ARTIFACT, params * 4e6, Provenance.MEASURED, "parameters and buffers of the fp32 state dict"),
        memory=figure(MEMORY_RSS, params * 9e6, Provenance.ESTIMATED, "artifact × 2.2", (1e6, 9e6))
        if family is not Family.VGG
        else None,
        train_seconds=time if runtime == "onnxruntime" else None,
        conflicts=(
            Statement(
                "conflict.latency",
                {"label": "another round", "value": 61.6, "provenance": "published", "source": "MLPerf edge v1.1"},
            ),
        )
        if name == "resnet50"
        else (),
    )


def judged(candidates: list[Candidate], limit: Limit) -> tuple[Candidate, ...]:
    """The candidates with violations, Pareto flags and odds, feasible ones first, best first."""
    marked = []
    for c in candidates:
        broken = c.latency is not None and c.latency.value > limit.bound
        marked.append(replace(c, violations=(Violation(limit, c.latency),)) if broken and c.latency else c)
    order = sorted(
        marked, key=lambda c: (not c.feasible, -c.accuracy.value, c.latency.value if c.latency else math.inf)
    )
    best = order[0].accuracy.value
    floor = math.inf
    placed = []
    front: set[int] = set()
    for c in sorted((c for c in order if c.feasible and c.latency), key=lambda c: (c.latency.value, -c.accuracy.value)):  # type: ignore[union-attr]
        if -c.accuracy.value < floor:
            floor = -c.accuracy.value
            front.add(id(c))
    for rank, c in enumerate(order):
        if c.feasible:
            odds = 0.3 * 0.75**rank
            regret = best - c.accuracy.value + 0.4
            c = replace(c, pareto=id(c) in front, probability_best=odds, expected_regret=regret, tied=regret < 2.5)
        placed.append(c)
    return tuple(placed)


def make_answer(hardware: str = "edge", data_size: int = 5000, *, speed: float = 1.0, bound: float = 300.0) -> Answer:
    """An answer for a class of devices whose reference is a board; `speed` scales its latencies."""
    limit = Limit(
        "latency_ms",
        bound,
        "at most",
        Statement("limit.class", {"hardware": hardware, "why": "three frames a second", "why_zh": "每秒三帧"}),
    )
    candidates = judged(
        [candidate(row, depth, runtime, speed) for row in BACKBONES for depth in DEPTHS for runtime in RUNTIMES], limit
    )
    chosen = next(c for c in candidates if (c.backbone, c.freeze.name, c.runtime) == CHOSEN)
    board = HardwareProfile(
        name=f"board-of-{hardware}",
        kind=Kind.DEVICE,
        title=f"Board of {hardware}",
        title_zh=f"{hardware} 开发板",
        device_kind="board",
        specification=(SpecificationItem("memory_gb", 4, "vendor"), SpecificationItem("power_w", None, "unknown")),
        runtimes=(RuntimeOffer("onnxruntime", ("fp32",)), RuntimeOffer("torch-eager", ("fp32",))),
        limits=Limits(),
        reference_devices=(),
        published=(),
        origin="sample",
    )
    profile = replace(
        board,
        name=hardware,
        kind=Kind.CLASS,
        title=f"{hardware.title()} devices",
        title_zh=f"{hardware} 设备",
        limits=Limits(latency_ms=bound, why="three frames a second"),
        reference_devices=(board.name,),
    )
    return Answer(
        request=Request(hardware, data_size, 10, None, (limit,), (), (), (), seed=0),
        profile=profile,
        reference=board,
        recommendation=Recommendation(
            chosen,
            {"optimizer": "adamw", "learning_rate": 0.0003, "epochs": 30, "label_smoothing": 0.1},
            (Statement("why.alone", {"points": 1.0}), Statement("why.latency_unknown", {"hardware": hardware})),
        ),
        candidates=candidates,
        policy=PolicyAnswer(
            "P1", "80%", Statement("policy.p1.agrees", {"data_size": data_size, "frozen": 13, "total": 17}), agrees=True
        ),
        document_table=tuple(
            TableCell(
                dimension,
                family,
                Statement(f"document.{dimension}.{family}"),
                Statement("table.none"),
                "catalog",
            )
            for dimension in ("params", "speed", "hardware_need", "typical_use")
            for family in Family
        ),
        claims=tuple(
            Claim(
                f"C{i}",
                Statement(f"claim.c{i}"),
                verdict,
                Statement("finding.c12.undecided"),
                "timm results-imagenet.csv",
            )
            for i, verdict in enumerate(
                ("refuted", "confirmed", "confirmed", "confirmed", "refuted", "confirmed", "refuted", "undecided"), 1
            )
        ),
        next_measurements=(
            NextMeasurement(
                Statement("next.latency_here", {"backbones": "resnet50"}),
                "selector profile resnet50 --runtime onnxruntime",
            ),
            NextMeasurement(
                Statement("next.classes"), "selector recommend --hardware edge --data ./images --budget 30m"
            ),
        ),
        notes=(Statement("note.floating_point"), Statement("warning.random_init")),
        command=f"selector recommend --hardware {hardware} --data-size {data_size} --classes 10 --seed 0",
    )
