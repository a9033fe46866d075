"""Limits of the deployed model as constraints of the search: known before anything is trained."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from selector.backbones.catalog import backbone
from selector.errors import NoFeasibleCandidate
from selector.tuning.info import DeployLimits
from selector.tuning.recipe import Recipe


@dataclass(frozen=True, slots=True)
class Narrowed:
    """What limits leave of a search: backbones, best first, resolutions, and a sentence for each that is left out."""

    backbones: list[str]
    resolutions: tuple[int, ...]
    said: list[str]


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

    def keeps(self, name: str, resolution: int) -> bool:
        """Whether a backbone keeps the limits at a resolution, as far as is known."""
        return not self._broken(name, resolution)

    def narrow(self, ranked: Sequence[str], resolutions: Callable[[str], tuple[int, ...]]) -> Narrowed:
        """What there is to search over: backbones `ranked` best first, and the resolutions of the best that is left.

        Raises NoFeasibleCandidate where none of the backbones keeps the limits at its smallest resolution.
        """
        broken = {name: self._broken(name, min(resolutions(name))) for name in ranked}
        best = next((name for name in ranked if not broken[name]), None)
        if best is None:
            nearest = min(broken, key=lambda name: sum(broken[name].values()))
            raise NoFeasibleCandidate(
                f"none of {', '.join(ranked)} keeps the limits; the nearest, {nearest}, is beyond "
                f"{_by_how_much(broken[nearest])}"
            )
        sides, smallest = resolutions(best), min(resolutions(best))
        over = {name: self._broken(name, smallest) for name in ranked}
        kept = [name for name in ranked if not over[name]]
        held = tuple(side for side in sides if any(self.keeps(name, side) for name in kept))
        said = [
            f"{name} is left out: at {smallest} px it breaks the limits, {_by_how_much(over[name])}"
            for name in ranked
            if over[name]
        ]
        said += [f"{side} px are left out: no backbone keeps the limits there" for side in sides if side not in held]
        return Narrowed(kept, held, said)

    def _broken(self, name: str, resolution: int) -> dict[str, float]:
        excess = self.excess(Recipe(name, resolution=resolution))
        return {limit: beyond for limit, beyond in excess.items() if beyond > 0}

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


def _by_how_much(broken: dict[str, float]) -> str:
    return ", ".join(f"{limit} by {excess:.3g}" for limit, excess in broken.items())


def _artifact_mb(name: str) -> float:
    """Megabytes of the weights in fp32 without the pretraining's classifier."""
    facts = backbone(name)
    return (facts.artifact_bytes - 4 * facts.classifier_params) / 1e6
