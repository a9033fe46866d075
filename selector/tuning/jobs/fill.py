"""Caching a recipe's features, in a process of its own."""

import time
from typing import Any

from selector.tuning.cache.build import fill
from selector.tuning.jobs.common import Emit, Task
from selector.tuning.model import WeightsFrom, build, weights_digest
from selector.tuning.recipe import Recipe


def fill_cache(task: Task, arguments: dict[str, Any], emit: Emit) -> dict[str, Any]:
    """Make the views that `recipe` draws from at `depths` (frozen blocks), within `seconds`; what `Filled` holds."""
    recipe = Recipe.from_json(arguments["recipe"])
    model = build(recipe.backbone, len(task.dataset.classes), WeightsFrom(task.weights_folder, task.random_init))
    digest = weights_digest(model)
    filled = fill(
        task.store,
        [task.key(recipe, digest, depth) for depth in arguments["depths"]],
        recipe.augment().views,
        model=model,
        paths=[s.path for s in task.trainable],
        digests=[s.digest for s in task.trainable],
        threads=task.threads,
        until=time.monotonic() + arguments["seconds"],
        progress=lambda done, all_: emit({"event": "progress", "done": done, "all": all_}),
    )
    return {
        "views": filled.views,
        "made": filled.made,
        "setup_seconds": filled.setup_seconds,
        "seconds": filled.seconds,
        "bytes": filled.bytes_written,
        "runtime": filled.runtime,
        "why": filled.why,
    }
