"""Ranking under uncertainty: odds, regret, the zone of indifference, and the cheapest within it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import inf

import numpy as np
from numpy.typing import NDArray

from selector.decision.answer import Candidate
from selector.decision.pareto import pareto_front
from selector.estimation.accuracy import assumption

Draws = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Ranking:
    """Candidates with their standing, feasible ones first, the best first; the chosen one leads.

    `most_accurate` has the highest expected accuracy; the chosen one is the cheapest that cannot be told from it.
    """

    candidates: tuple[Candidate, ...]
    chosen: Candidate
    most_accurate: Candidate
    zone_points: float
    depth_odds: dict[str, float]  # chance that the most accurate feasible candidate has this freeze depth
    family_odds: dict[str, float]


def cost(candidate: Candidate, training_macs: float = 0.0) -> tuple[float, ...]:
    """What is compared within the zone: latency, then size, then training; unknown counts as dearest.

    Where no latency is known anywhere, MACs stand in for it.
    """
    latency = candidate.latency.value if candidate.latency else inf
    training = candidate.train_seconds.value if candidate.train_seconds else training_macs
    return (latency, float(candidate.macs), candidate.artifact.value, training)


def rank(
    candidates: Sequence[Candidate],
    draws: Draws,
    training_macs: Sequence[float],
    *,
    handed_over: Callable[[Candidate], bool] | None = None,
) -> Ranking | None:
    """Rank `candidates` by their paired accuracy `draws`, [candidates, draws]; None where none is feasible.

    A candidate's probability of being best is the share of draws in which it is the most accurate feasible one; of
    equally accurate ones the cheapest counts. Its expected regret is how many points it falls short of the best of
    each draw, on average. It is tied with the most accurate where the mean difference is at most the zone and the
    80 % interval of the difference includes zero.

    The chosen one is the cheapest of the tied; where a trained model was `handed_over`, the cheapest feasible way to
    run it: what was found out about one is worth more than what is expected of another.
    """
    costs = [cost(c, m) for c, m in zip(candidates, training_macs, strict=True)]
    feasible = sorted((i for i, c in enumerate(candidates) if c.feasible), key=lambda i: costs[i])
    if not feasible:
        return None
    zone = float(assumption("zone_points"))
    among = draws[feasible]
    first = np.bincount(among.argmax(axis=0), minlength=len(feasible)) / among.shape[1]
    regret = (among.max(axis=0) - among).mean(axis=1)
    means = among.mean(axis=1)
    top = int(means.argmax())
    short = among[top] - among  # points that each falls short of the most accurate
    tied = (short.mean(axis=1) <= zone) & (np.quantile(short, 0.1, axis=1) <= 0)
    tied[top] = True
    front = pareto_front(candidates)
    placed: dict[int, Candidate] = {}
    for place, i in enumerate(feasible):
        placed[i] = replace(
            candidates[i],
            pareto=i in front,
            probability_best=float(first[place]),
            expected_regret=float(regret[place]),
            tied=bool(tied[place]),
        )
    ways = [i for i in feasible if handed_over is not None and handed_over(candidates[i])]
    chosen = ways[0] if ways else next(i for place, i in enumerate(feasible) if tied[place])
    rest = sorted(
        (i for i in feasible if i != chosen), key=lambda i: (not placed[i].tied, -placed[i].accuracy.value, costs[i])
    )
    broken = sorted(
        (i for i, c in enumerate(candidates) if not c.feasible), key=lambda i: -candidates[i].accuracy.value
    )
    return Ranking(
        candidates=(placed[chosen], *(placed[i] for i in rest), *(candidates[i] for i in broken)),
        chosen=placed[chosen],
        most_accurate=placed[feasible[top]],
        zone_points=zone,
        depth_odds=_odds([candidates[i].freeze.name for i in feasible], first),
        family_odds=_odds([candidates[i].family.value for i in feasible], first),
    )


def _odds(labels: Sequence[str], probabilities: NDArray[np.float64]) -> dict[str, float]:
    odds: dict[str, float] = {}
    for label, probability in zip(labels, probabilities.tolist(), strict=True):
        odds[label] = odds.get(label, 0.0) + probability
    return odds
