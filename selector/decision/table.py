"""The document's selection table, as it states it and as the evidence fills it."""

from collections.abc import Iterable, Sequence
from statistics import median

from selector.backbones.catalog import Backbone, Family
from selector.decision.answer import Candidate, Statement, TableCell, Values
from selector.evidence.record import Provenance
from selector.hardware.profiles import HardwareProfile

DIMENSIONS = ("params", "speed", "hardware_need", "typical_use")
MILLION = 1e6


def document_table(
    backbones: Iterable[Backbone], candidates: Sequence[Candidate], reference: HardwareProfile
) -> tuple[TableCell, ...]:
    """Every cell: ranges over the whole catalog, speeds and needs on the reference device over the candidates."""
    every = tuple(backbones)
    cells = []
    for family in Family:
        own = [b for b in every if b.family is family]
        fastest = fastest_by_backbone(c for c in candidates if c.family is family)
        filled = {
            "params": _params(own),
            "speed": _speed(fastest, reference),
            "hardware_need": _need(fastest, candidates, family, reference),
            "typical_use": _use(candidates, family, reference),
        }
        for dimension in DIMENSIONS:
            evidence, source = filled[dimension]
            stated = Statement(f"document.{dimension}.{family.value}")
            cells.append(TableCell(dimension, family, stated, evidence, source))
    return tuple(sorted(cells, key=lambda c: DIMENSIONS.index(c.dimension)))


def fastest_by_backbone(candidates: Iterable[Candidate]) -> dict[str, Candidate]:
    """The fastest candidate of each backbone at its largest considered resolution; without latency, none."""
    found: dict[str, Candidate] = {}
    for c in candidates:
        if c.latency is None:
            continue
        best = found.get(c.backbone)
        if (
            best is None
            or best.latency is None
            or (-c.resolution, c.latency.value) < (-best.resolution, best.latency.value)
        ):
            found[c.backbone] = c
    return found


def _params(own: Sequence[Backbone]) -> tuple[Statement, str]:
    if not own:
        return Statement("table.none"), "catalog"
    least, most = min(own, key=lambda b: b.params), max(own, key=lambda b: b.params)
    values: Values = {
        "low": least.params / MILLION,
        "high": most.params / MILLION,
        "least": least.name,
        "most": most.name,
        "n": len(own),
    }
    return Statement("table.params", values), f"catalog: parameters of {len(own)} backbones for 1000 classes"


def _speed(fastest: dict[str, Candidate], reference: HardwareProfile) -> tuple[Statement, str]:
    timed = [(c.latency, c) for c in fastest.values() if c.latency is not None]
    if not timed:
        return Statement("table.speed_unknown", {"hardware": reference.name}), f"no figure on {reference.name}"
    (low, first), (high, last) = min(timed, key=lambda t: t[0].value), max(timed, key=lambda t: t[0].value)
    known = sum(figure.provenance is not Provenance.ESTIMATED for figure, _ in timed)
    values: Values = {
        "low": low.value,
        "high": high.value,
        "median": median(figure.value for figure, _ in timed),
        "fastest": first.backbone,
        "slowest": last.backbone,
        "known": known,
        "n": len(timed),
        "hardware": reference.name,
    }
    return Statement(
        "table.speed", values
    ), f"{low.provenance.value}: {low.source} | {high.provenance.value}: {high.source}"


def _need(
    fastest: dict[str, Candidate], candidates: Sequence[Candidate], family: Family, reference: HardwareProfile
) -> tuple[Statement, str]:
    """Whether the family runs on this device at all, and how many of it within the limits."""
    names = {c.backbone for c in candidates if c.family is family}
    within = {c.backbone for c in candidates if c.family is family and c.feasible}
    known = [c for c in fastest.values() if c.latency is not None and c.latency.provenance is not Provenance.ESTIMATED]
    values: Values = {
        "within": len(within),
        "n": len(names),
        "hardware": reference.name,
        "kind": reference.device_kind,
        "known": len(known),
    }
    if not names:
        return Statement("table.none"), "the request's backbones"
    key = "table.need_known" if known else "table.need_estimated"
    return Statement(key, values), f"candidates of this answer on {reference.name}, held to its limits"


def _use(candidates: Sequence[Candidate], family: Family, reference: HardwareProfile) -> tuple[Statement, str]:
    """A use is no figure: what can be said is where the family stands on this device."""
    own = [c for c in candidates if c.family is family and c.feasible]
    if not own:
        return Statement("table.use_none", {"hardware": reference.name}), "candidates of this answer"
    best = max(own, key=lambda c: c.accuracy.value)
    chance = sum(c.probability_best or 0.0 for c in own)
    values: Values = {
        "hardware": reference.name,
        "chance": 100 * chance,
        "backbone": best.backbone,
        "accuracy": best.accuracy.value,
    }
    return Statement("table.use", values), "odds of this answer"
