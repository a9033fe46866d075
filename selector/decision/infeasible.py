"""What is told where no candidate keeps the limits: which limit excludes how many, and what comes nearest."""

from collections.abc import Sequence
from dataclasses import dataclass

from selector.decision.answer import Candidate, Limit, Request, Violation
from selector.decision.candidates import Candidates, excess, held_figure
from selector.decision.device import held_as
from selector.decision.request import Hardware
from selector.errors import NoFeasibleCandidate
from selector.hardware.profiles import HardwareProfile

NEAREST = 5
MB = 1_000_000
PARTS = {
    "value": "",
    "p90": " (90th percentile)",
    "high": " (upper end of its interval)",
    "file": " (the model file alone)",
}
"""How the part of the evidence that a limit is held against is told."""


@dataclass(frozen=True, slots=True)
class Exclusion:
    """How many candidates one limit rules out, `alone` those that break no other, and the one that breaks it least.

    `nearest` is None where the figure that the limit is held against is not known of any.
    """

    limit: Limit
    excluded: int
    alone: int
    nearest: Candidate | None


@dataclass(frozen=True, slots=True)
class Infeasible:
    """A request that no candidate satisfies. Candidates: those nearest to the limits first."""

    request: Request
    profile: HardwareProfile
    reference: HardwareProfile
    candidates: tuple[Candidate, ...]
    exclusions: tuple[Exclusion, ...]
    command: str  # reproduces it

    @property
    def nearest(self) -> tuple[Candidate, ...]:
        """The nearest miss of each of the nearest backbones."""
        first: dict[str, Candidate] = {}
        for candidate in self.candidates:
            first.setdefault(candidate.backbone, candidate)
        return tuple(first.values())[:NEAREST]


class NothingFeasible(NoFeasibleCandidate):
    """No candidate satisfies the limits; `found` says which limit excludes what, the message what comes nearest.

    `further` sentences stand at the message's end.
    """

    def __init__(self, found: Infeasible, *further: str) -> None:
        self.found = found
        super().__init__("\n".join([_sentences(found), *further]))


def infeasible(request: Request, hardware: Hardware, considered: Candidates, command: str) -> NothingFeasible:
    """The refusal of a request none of whose candidates keeps its limits, to be raised."""
    items = tuple(sorted(considered.items, key=times_over))
    exclusions = tuple(_exclusion(limit, items) for limit in request.limits)
    return NothingFeasible(Infeasible(request, hardware.profile, hardware.reference, items, exclusions, command))


def times_over(candidate: Candidate) -> tuple[float, float]:
    """By how many times the worst broken limit is broken, infinite for one whose figure is unknown.

    Of equals the more accurate is nearer: the second number is its negative accuracy.
    """
    return max((excess(v) for v in candidate.violations), default=1.0), -candidate.accuracy.value


def _exclusion(limit: Limit, candidates: Sequence[Candidate]) -> Exclusion:
    broken = [c for c in candidates if any(v.limit == limit for v in c.violations)]
    known = [c for c in broken if held_figure(c, limit) is not None]
    nearest = min(known, key=lambda c: excess(Violation(limit, held_figure(c, limit))), default=None)
    return Exclusion(limit, len(broken), sum(len(c.violations) == 1 for c in broken), nearest)


def _sentences(found: Infeasible) -> str:
    """What comes nearest, by how much it breaks which limit, and, where there are several, what each excludes."""
    device = found.reference.name
    if not found.candidates:
        offers = "; ".join(f"{offer.name}: {', '.join(offer.precisions)}" for offer in found.reference.runtimes)
        return f"nothing can be considered on {device} with these runtimes and precisions; it offers {offers}"
    nearest = found.candidates[0]
    lines = [
        f"no candidate on {device} keeps the limits; the nearest is {nearest.backbone} "
        f"({nearest.runtime}, {nearest.precision}, {nearest.resolution} px, freeze {nearest.freeze.name}): "
        + "; ".join(_broken(v) for v in nearest.violations)
        + ". Loosen that limit, or choose other hardware (`selector hardware list`)"
    ]
    if len(found.exclusions) > 1:
        lines += [
            f"{e.limit.name} {e.limit.sense} {e.limit.bound:g} excludes {e.excluded} of {len(found.candidates)} "
            f"candidates, {e.alone} of them by itself"
            for e in found.exclusions
        ]
    return "\n".join(lines)


def _broken(violation: Violation) -> str:
    limit, figure = violation.limit, violation.figure
    if figure is None:
        return f"{limit.name} is not known there and the limit is {limit.bound:g}"
    value = figure.value / (MB if limit.name.endswith("_mb") else 1)
    part = PARTS[held_as(figure, limit.name)]
    return f"{limit.name} {value:.4g}{part} where {limit.sense} {limit.bound:g} is allowed"
