"""The document's claims, audited: confirmed, refuted or undecided, with the figure and where it comes from.

A number is confirmed where the evidence rounds to it or lies within two percent of it, an accuracy where it lies
within one percentage point; the finding says what was compared and how far apart it lies. A claim of several parts is
refuted when one part is, and undecided when one part is and none is refuted.
"""

import tomllib
from collections.abc import Iterable, Sequence
from functools import cache
from importlib.resources import files
from itertools import pairwise
from statistics import median
from typing import Any

from selector.backbones.catalog import Backbone, Family
from selector.backbones.layers import Layer, layers
from selector.decision.answer import Candidate, Claim, Statement, Values
from selector.decision.table import fastest_by_backbone
from selector.decision.training import TrainingMacs
from selector.errors import SelectorError
from selector.evidence.choice import POINTS_TOLERANCE
from selector.evidence.record import Provenance
from selector.hardware.profiles import HardwareProfile

MILLION = 1e6
CLOSE = 0.02
REPEATABLE = 0.05  # two runs of the profiler agree within so much
SAME_ANSWERS = 99.0  # percent of images with the same highest logit
CONFIRMED, REFUTED, UNDECIDED = "confirmed", "refuted", "undecided"
CPUS = ("x86-cpu", "arm-cpu", "board", "phone")


def audit(
    backbones: Iterable[Backbone],
    candidates: Sequence[Candidate],
    reference: HardwareProfile,
    depth_odds: dict[str, float],
    training_macs: TrainingMacs,
) -> tuple[Claim, ...]:
    """C1 to C13. Counts come from the catalog, speeds and odds from the candidates of the answer."""
    by_name = {b.name: b for b in backbones}
    return (
        _resnet152(by_name),
        _parameter_range("C2", Family.RESNET, by_name),
        _vgg_head(by_name),
        _receptive_field(),
        _efficientnet_b7(by_name),
        _parameter_range("C6", Family.EFFICIENTNET, by_name),
        _mobilenet(by_name, candidates, reference),
        _separable(),
        _dynamic_int8(),
        _feature_extraction(depth_odds),
        _training_saved(by_name, training_macs),
        _undecided("C12", "the document names neither data nor protocol; no published figure for this case is known"),
        _needs_gpu(candidates, reference),
    )


def agrees(stated: float, found: float, digits: int) -> bool:
    """Whether `found` rounds to what was `stated` with so many decimals, or lies within two percent of it."""
    return round(found, digits) == stated or abs(found / stated - 1) <= CLOSE


def receptive_field(kernels_and_strides: Iterable[tuple[int, int]]) -> int:
    """Side, in input pixels, of what one output of stacked convolutions sees: 1 + Σ (k − 1) · Π earlier strides."""
    side, jump = 1, 1
    for kernel, stride in kernels_and_strides:
        side += (kernel - 1) * jump
        jump *= stride
    return side


def _resnet152(by_name: dict[str, Backbone]) -> Claim:
    stated = _stated("C1")
    table = layers(stated["backbone"])
    # a network's depth in its name counts weighted layers on the longest path: shortcuts are beside it
    weighted = sum(1 for layer in table if layer.kind != "matmul")
    depth = sum(1 for layer in table if not _shortcut(layer, table))
    published = stated["published"]
    original = published[stated["compared"]]
    own = by_name[stated["backbone"]].imagenet_top1
    weights, pixels = stated["compared"].split(" at ")
    values: Values = {
        "original": original,
        "compared": weights,
        "pixels": pixels,
        "apart": abs(original - stated["top1"]),
        "stated": stated["top1"],
        "tolerance": f"{POINTS_TOLERANCE:g}",
        "now": own.value if own else max(published.values()),
        "weights": own.weights if own else max(published, key=lambda k: published[k]),
        "layers": depth,
        "weighted": weighted,
    }
    top1 = abs(original - stated["top1"]) <= POINTS_TOLERANCE
    verdict = CONFIRMED if top1 and depth > stated["layers"] else REFUTED
    return _claim("C1", verdict, values, f"{stated['source']}; layers counted from the catalog's layer table")


def _shortcut(layer: Layer, table: tuple[Layer, ...]) -> bool:
    """A projection beside the residual path: a pointwise convolution that reads its block's input, not the first."""
    if not layer.reads_block_input or layer.kind != "pointwise":
        return False
    return any(o.block == layer.block and o.reads_block_input and o.index < layer.index for o in table)


def _parameter_range(name: str, family: Family, by_name: dict[str, Backbone]) -> Claim:
    stated = _stated(name)
    verdict, values = _range(family, by_name, stated["low_m"], stated["high_m"])
    return _claim(name, verdict, values, f"catalog: parameters of {values['n']} backbones for 1000 classes")


def _range(family: Family, by_name: dict[str, Backbone], low: float, high: float) -> tuple[str, Values]:
    own = sorted((b for b in by_name.values() if b.family is family), key=lambda b: b.params)
    least, most = own[0], own[-1]
    inside = sum(low * (1 - CLOSE) <= b.params / MILLION <= high * (1 + CLOSE) for b in own)
    values: Values = {
        "low": least.params / MILLION,
        "high": most.params / MILLION,
        "least": least.name,
        "most": most.name,
        "inside": inside,
        "n": len(own),
        "stated_low": low,
        "stated_high": high,
    }
    both = _bound_agrees(low, least.params / MILLION) and _bound_agrees(high, most.params / MILLION)
    return CONFIRMED if both else REFUTED, values


def _bound_agrees(stated: float, found: float) -> bool:
    return agrees(stated, found, 0 if stated == int(stated) else 1)


def _vgg_head(by_name: dict[str, Backbone]) -> Claim:
    stated = _stated("C3")
    connected = sum(layer.params for layer in layers(stated["backbone"]) if _fully_connected(layer))
    total = by_name[stated["backbone"]].params
    share = connected / total
    values: Values = {
        "connected": connected / MILLION,
        "total": total / MILLION,
        "share": 100 * share,
        "backbone": stated["backbone"],
    }
    right = (
        agrees(stated["fully_connected_m"], connected / MILLION, 0)
        and agrees(100 * stated["share"], 100 * share, 0)
        and agrees(stated["total_m"], total / MILLION, 0)
    )
    return _claim("C3", CONFIRMED if right else REFUTED, values, "counted from the catalog's layer table")


def _fully_connected(layer: Layer) -> bool:
    """A linear layer, or the convolution over the whole feature map that timm writes VGG's first two as."""
    return layer.kind == "linear" or (layer.kernel_h == layer.in_h and layer.out_h == 1)


def _receptive_field() -> Claim:
    two, one = receptive_field([(3, 1), (3, 1)]), receptive_field([(5, 1)])
    values: Values = {"two": two, "one": one}
    return _claim("C4", CONFIRMED if two == one else REFUTED, values, "computed: 1 + Σ (k − 1) · Π earlier strides")


def _efficientnet_b7(by_name: dict[str, Backbone]) -> Claim:
    stated = _stated("C5")
    params = by_name[stated["backbone"]].params / MILLION
    extra, without = max(stated["extra_data"].values()), max(stated["published"].values())
    values: Values = {"without": without, "extra": extra, "params": params, "stated": stated["top1"]}
    right = any(abs(top1 - stated["top1"]) <= POINTS_TOLERANCE for top1 in stated["published"].values())
    verdict = CONFIRMED if right and agrees(stated["params_m"], params, 0) else REFUTED
    return _claim("C5", verdict, values, f"{stated['source']}; parameters from the catalog")


def _mobilenet(by_name: dict[str, Backbone], candidates: Sequence[Candidate], reference: HardwareProfile) -> Claim:
    stated = _stated("C7")
    size, values = _range(Family.MOBILENET, by_name, stated["low_m"], stated["high_m"])
    times: dict[str, list[float]] = {}
    for family in Family:
        fastest = fastest_by_backbone(c for c in candidates if c.family is family)
        known = [c.latency.value for c in fastest.values() if c.latency is not None]
        if known:
            times[family.value] = known
    own = times.pop(Family.MOBILENET.value, None)
    source = f"catalog; latencies of this answer on {reference.name}"
    if own is None or not times:
        values |= {"hardware": reference.name}
        # without a speed the claim can still be refuted by its sizes
        return _claim("C7", REFUTED if size == REFUTED else UNDECIDED, values, source, finding="finding.c7.unknown")
    rival = min(times, key=lambda f: median(times[f]))
    values |= {
        "own": median(own),
        "rival": rival,
        "theirs": median(times[rival]),
        "fastest": min(own),
        "their_fastest": min(min(v) for v in times.values()),
        "hardware": reference.name,
    }
    quick = median(own) <= median(times[rival]) and min(own) <= min(min(v) for v in times.values())
    return _claim("C7", CONFIRMED if quick and size == CONFIRMED else REFUTED, values, source)


def _separable() -> Claim:
    """Every depthwise layer followed by its pointwise one, against the dense convolution of the same shape."""
    stated = _stated("C8")
    table = layers(stated["backbone"])
    separable = dense = formula = 0.0
    for depthwise, pointwise in pairwise(table):
        if depthwise.kind != "depthwise" or pointwise.kind != "pointwise":
            continue
        area, kernel = pointwise.out_h * pointwise.out_w, depthwise.kernel_h * depthwise.kernel_w
        separable += depthwise.macs + pointwise.macs
        whole = kernel * depthwise.in_channels * pointwise.out_channels * area
        dense += whole
        formula += whole * (1 / pointwise.out_channels + 1 / kernel)
    values: Values = {
        "backbone": stated["backbone"],
        "share": 100 * separable / dense,
        "factor": dense / separable,
        "formula": 100 * formula / dense,
    }
    verdict = CONFIRMED if agrees(formula / dense, separable / dense, 4) else REFUTED
    return _claim("C8", verdict, values, "computed over the catalog's layer table: 1/N + 1/D_K²")


def _dynamic_int8() -> Claim:
    """What quantising the Linear layers gains, from measurements that are shipped with their fingerprint.

    It optimises where the median over runs is faster by more than two runs of one model differ, with the same answers.
    """
    stated = _stated("C9")
    table = layers(stated["backbone"])
    runs = stated["runs"]
    fp32, int8 = (median(run[name] for run in runs) for name in ("fp32_ms", "int8_ms"))
    gains = [100 * (1 - run["int8_ms"] / run["fp32_ms"]) for run in runs]
    linear = sum(layer.macs for layer in table if layer.kind == "linear")
    values: Values = {
        "backbone": stated["backbone"],
        "device": stated["device"],
        "fp32": fp32,
        "int8": int8,
        "gain": 100 * (1 - int8 / fp32),
        "least": min(gains),
        "most": max(gains),
        "runs": len(runs),
        "fp32_mb": stated["fp32_bytes"] / MILLION,
        "int8_mb": stated["int8_bytes"] / MILLION,
        "agreement": stated["agreement_top1"],
        "linear": 100 * linear / sum(layer.macs for layer in table),
    }
    optimised = min(gains) > 100 * REPEATABLE and stated["agreement_top1"] >= SAME_ANSWERS
    return _claim("C9", CONFIRMED if optimised else REFUTED, values, stated["source"])


def _feature_extraction(depth_odds: dict[str, float]) -> Claim:
    """Whether feature extraction is right depends on the domain; the answer's odds are an estimate, no verdict."""
    frozen = sum(depth_odds.get(name, 0.0) for name in ("80%", "head"))
    return _claim("C10", UNDECIDED, {"chance": 100 * frozen}, "odds of this answer from published transfer studies")


def _training_saved(by_name: dict[str, Backbone], training_macs: TrainingMacs) -> Claim:
    backbone = by_name["resnet50"]
    full = training_macs(backbone.name, 0, backbone.resolution)
    probe = training_macs(backbone.name, len(backbone.blocks), backbone.resolution)
    values: Values = {"saved": 100 * (1 - probe / full), "backbone": backbone.name}
    return _claim("C11", UNDECIDED, values, "forward and backward multiply-accumulates counted at each freeze depth")


def _needs_gpu(candidates: Sequence[Candidate], reference: HardwareProfile) -> Claim:
    """That a family needs a GPU is refuted by one that was timed without; how fast it has to be is the user's limit."""
    if reference.device_kind in CPUS:
        for c in fastest_by_backbone(c for c in candidates if c.family is not Family.MOBILENET).values():
            if c.latency is not None and c.latency.provenance is not Provenance.ESTIMATED:
                values: Values = {"backbone": c.backbone, "ms": c.latency.value, "hardware": reference.name}
                return _claim("C13", REFUTED, values, c.latency.source)
    return _undecided("C13", f"no known latency of the three families on a CPU in this answer ({reference.name})")


def _undecided(name: str, reason: str) -> Claim:
    return _claim(name, UNDECIDED, {}, reason)


def _claim(name: str, verdict: str, values: Values, source: str, *, finding: str | None = None) -> Claim:
    key = finding or f"finding.{name.lower()}" + (".undecided" if verdict == UNDECIDED and not values else "")
    return Claim(name, Statement(f"claim.{name.lower()}"), verdict, Statement(key, values), source)


def _stated(name: str) -> Any:
    try:
        return _document()[name]
    except KeyError as error:
        raise SelectorError(f"this installation lacks the claim {name}; install backbone-selector again") from error


@cache
def _document() -> dict[str, Any]:
    return tomllib.loads((files("selector.decision") / "data" / "claims.toml").read_text(encoding="utf-8"))
