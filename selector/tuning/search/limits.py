"""Limits of the deployed model as constraints of the search: known before anything is trained."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from selector.backbones.catalog import backbone
from selector.errors import NoFeasibleCandidate
from selector.tuning.info import DeployLimits
from selector.tuning.recipe import Recipe


@dataclass(frozen=True, slots=True)
class HeldLimits:
    """Limits, and the latencies that they are held against: where the model will run, or else here.

    `latency_here_ms` is by "backbone@resolution", of fp32 in ONNX Runtime on this machine; screening fills it.
    """

    limits: DeployLimits
    latency_here_ms: dict[str, float]

    def excess(self, recipe: Recipe) -> dict[str, float]:
        """How far a recipe is beyond each limit; zero or less keeps it. A limit that nothing is known for is absent."""
        found: dict[str, float] = {}
        if self.limits.max_latency_ms is not None:
            latency = self._latency_ms(recipe.backbone, recipe.resolution)
            if latency is not None:
                found["latency_ms"] = latency - self.limits.max_latency_ms
        if self.limits.max_artifact_mb is not None:
            found["artifact_mb"] = _artifact_mb(recipe.backbone) - self.limits.max_artifact_mb
        return found

    def check(self, names: Sequence[str], resolution: Callable[[str], int]) -> None:
        """Raise NoFeasibleCandidate where none of the backbones keeps the limits at its smallest resolution."""
        over: dict[str, dict[str, float]] = {}
        for name in names:
            excess = self.excess(Recipe(name, resolution=resolution(name)))
            if broken := {limit: beyond for limit, beyond in excess.items() if beyond > 0}:
                over[name] = broken
        if len(over) < len(names):
            return
        nearest = min(over, key=lambda name: sum(over[name].values()))
        says = ", ".join(f"{limit} by {excess:.3g}" for limit, excess in over[nearest].items())
        raise NoFeasibleCandidate(
            f"none of {', '.join(names)} keeps the limits; the nearest, {nearest}, is beyond {says}"
        )

    def _latency_ms(self, name: str, resolution: int) -> float | None:
        """Milliseconds of one inference where the model will run, or here where nothing else was given.

        What is known at another resolution alone is scaled by the area: an approximation, a little too high.
        """
        known = self.limits.latency_ms or self.latency_here_ms
        if (exact := known.get(f"{name}@{resolution}")) is not None:
            return exact
        sides = {int(place.split("@")[1]): ms for place, ms in known.items() if place.split("@")[0] == name}
        if not sides:
            return self.latency_here_ms.get(f"{name}@{resolution}")
        nearest = min(sides, key=lambda side: abs(side - resolution))
        return sides[nearest] * (resolution / nearest) ** 2


def _artifact_mb(name: str) -> float:
    """Megabytes of the weights in fp32 without the pretraining's classifier."""
    facts = backbone(name)
    return (facts.artifact_bytes - 4 * facts.classifier_params) / 1e6
