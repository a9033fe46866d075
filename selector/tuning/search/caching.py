"""Which features a trial still lacks, and what one pass over the images makes beside them for the trials after it.

Most of a pass is reading images and running the blocks that every depth shares, so the features of the search's other
depths are taken from the same pass: a trial at another depth then begins to train at once.
"""

from dataclasses import dataclass, field, replace
from typing import Any

from selector.backbones.cost import cost
from selector.backbones.depth import FreezeDepth
from selector.tuning.jobs.common import Task
from selector.tuning.recipe import Recipe

BESIDE_SHARE = 0.25
"""The part of the cache's limit that the features of one pass may take; the trial's own are made in any case."""


@dataclass(frozen=True, slots=True)
class Known:
    """What screening told about a backbone that its cache is named after."""

    digest: str
    total_blocks: int


@dataclass
class Caching:
    """The caches of one study, as one process's search knows them."""

    task: Task
    backbones: dict[str, Known]
    freezes: tuple[str, ...]  # of the search space
    # whose cache does not grow any more for want of room, and whether it holds anything
    _full: dict[tuple[str, str, int], bool] = field(default_factory=dict)

    def usable(self, recipe: Recipe) -> bool:
        """Whether the recipe can be trained from a cache, as far as is known."""
        return bool(self.task.cache_limit) and self._full.get(_place(recipe), True)

    def missing_views(self, recipe: Recipe) -> int:
        """Views of a recipe that are not cached yet and can be."""
        if not self.usable(recipe) or _place(recipe) in self._full:
            return 0
        views = recipe.augment().views
        return views - self._present(recipe, self._frozen(recipe), views)

    def depths(self, recipe: Recipe, views: int) -> tuple[int, ...]:
        """Frozen blocks whose features one pass makes: the recipe's own first, then the smallest of the others.

        Others only where they lack the same views: a pass makes as many of all.
        """
        own = self._frozen(recipe)
        if not own:
            return (0,)  # pixels: nothing runs that another depth could share
        there = self._present(recipe, own, views)
        others = {self._frozen(replace(recipe, freeze=freeze)) for freeze in self.freezes} - {0, own}
        others = {depth for depth in others if self._present(recipe, depth, views) == there}
        per_view = {depth: self._bytes(recipe, depth) * len(self.task.trainable) for depth in (own, *others)}
        chosen, room = [own], BESIDE_SHARE * self.task.cache_limit - per_view[own] * views
        for depth in sorted(others, key=lambda depth: (per_view[depth], depth)):
            room -= per_view[depth] * views
            if room < 0:
                break
            chosen.append(depth)
        return tuple(chosen)

    def note(self, recipe: Recipe, filled: dict[str, Any]) -> bool:
        """Take in what a pass did for a recipe. Whether there was no room for all of its views."""
        full = filled["views"] < recipe.augment().views and not filled["made"]
        if full:
            self._full[_place(recipe)] = bool(filled["views"])
        return full

    def _present(self, recipe: Recipe, frozen_blocks: int, views: int) -> int:
        key = self.task.key(recipe, self.backbones[recipe.backbone].digest, frozen_blocks)
        return len(self.task.store.present(key, views))

    def _frozen(self, recipe: Recipe) -> int:
        return FreezeDepth.parse(recipe.freeze).frozen_blocks(self.backbones[recipe.backbone].total_blocks)

    def _bytes(self, recipe: Recipe, frozen_blocks: int) -> int:
        """Half-precision bytes of one view of one image."""
        depth = FreezeDepth.parse(str(frozen_blocks))
        return cost(recipe.backbone, depth, resolution=recipe.resolution).prefix_output_bytes // 2


def _place(recipe: Recipe) -> tuple[str, str, int]:
    return recipe.backbone, recipe.freeze, recipe.resolution
