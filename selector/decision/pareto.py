"""Candidates that no other beats on both latency and expected accuracy."""

import math
from collections.abc import Sequence

from selector.decision.answer import Candidate


def pareto_front(candidates: Sequence[Candidate]) -> frozenset[int]:
    """Positions of the candidates on the front of p50 latency (lower) against expected accuracy (higher).

    Infeasible candidates and those of unknown latency are on no front. Of exact doubles the first is.
    """
    known = [
        (c.latency.value, -c.accuracy.value, i)
        for i, c in enumerate(candidates)
        if c.feasible and c.latency is not None
    ]
    front: set[int] = set()
    best = math.inf
    for _, loss, position in sorted(known):
        if loss < best:
            front.add(position)
            best = loss
    return frozenset(front)
