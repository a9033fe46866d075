"""Caching a recipe's features, in a process of its own."""

import time
from collections.abc import Sequence
from typing import Any

from selector.tuning.cache.build import Filled, fill
from selector.tuning.jobs.common import Emit, Task
from selector.tuning.model import WeightsFrom, build, weights_digest
from selector.tuning.recipe import Recipe


def fill_cache(task: Task, arguments: dict[str, Any], emit: Emit) -> dict[str, Any]:
    """Make the views that `recipe` draws from, within `seconds`; what `Filled` holds.

    `depths` are frozen blocks: the recipe's own first, then what is made in the same pass if there is room.
    """
    recipe = Recipe.from_json(arguments["recipe"])
    model = build(recipe.backbone, len(task.dataset.classes), WeightsFrom(task.weights_folder, task.random_init))
    digest = weights_digest(model)
    until = time.monotonic() + arguments["seconds"]

    def make(depths: Sequence[int]) -> Filled:
        return fill(
            task.store,
            [task.key(recipe, digest, depth) for depth in depths],
            recipe.augment().views,
            model=model,
            paths=[s.path for s in task.trainable],
            digests=[s.digest for s in task.trainable],
            threads=task.threads,
            until=until,
            progress=lambda done, all_: emit({"event": "progress", "done": done, "all": all_}),
        )

    own, *beside = arguments["depths"]
    filled = make([own, *beside])
    if beside and filled.views < recipe.augment().views and not filled.made:
        filled = make([own])  # what is made beside must not cost the trial its own features
    return {
        "views": filled.views,
        "made": filled.made,
        "setup_seconds": filled.setup_seconds,
        "seconds": filled.seconds,
        "bytes": filled.bytes_written,
        "runtime": filled.runtime,
        "why": filled.why,
    }
