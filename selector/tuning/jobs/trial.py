"""One trial: a recipe trained on the training split and scored on the validation split. Needs torch."""

import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

from selector.backbones.depth import FreezeDepth
from selector.profiling.forks import classify_error
from selector.tuning.adjustment import fit_adjustment
from selector.tuning.data.split import Split
from selector.tuning.features import CachedFeatures, FeatureSource, LiveFeatures, fastest_device
from selector.tuning.jobs.common import STATE, Emit, Task
from selector.tuning.model import SplitModel, WeightsFrom, build, split_model, weights_digest
from selector.tuning.preprocess import Augmentation
from selector.tuning.recipe import Recipe
from selector.tuning.scores import score
from selector.tuning.trainer import Epoch, Examples, Trained, predict, train

SMALLEST_BATCH = 4


def run_trial(task: Task, arguments: dict[str, Any], emit: Emit) -> dict[str, Any]:
    """Train `recipe` within `seconds` and leave weights and validation probabilities in `folder`.

    Returns the scores, learning curve and times as plain values. Scores are of adjusted answers, each by what was
    fitted on other validation images (`tuning.adjustment`). A batch that does not fit the memory is halved.
    """
    recipe = Recipe.from_json(arguments["recipe"])
    until = None if arguments["seconds"] is None else time.monotonic() + arguments["seconds"]
    folder = Path(arguments["folder"])
    folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(task.threads)
    examples = Examples(task.labels, task.rows(Split.TRAIN), task.rows(Split.VALIDATION), len(task.dataset.classes))
    split, source = prepare(task, recipe)
    run = train_backing_off(task, split, source, examples, recipe, until, emit)
    trained, recipe, split, source = run.trained, run.recipe, run.split, run.source
    assert trained.probabilities is not None
    labels = task.labels[examples.validation]
    views = symmetric_views(recipe, source)
    views = views if arguments["views_allowed"] >= views else 1
    every = predict(split.tail, source, examples.validation, views=views) if views > 1 else trained.probabilities[None]
    began = time.monotonic()
    one = kept = fit_adjustment(trained.probabilities[None], labels)
    if views > 1 and (averaged := fit_adjustment(every, labels)).macro_f1 > one.macro_f1:
        kept = averaged
    else:
        views = 1
    fit_seconds = time.monotonic() - began
    np.save(folder / "validation.npy", kept.probabilities)
    save_file({k: v.contiguous().cpu() for k, v in split.model.state_dict().items()}, folder / STATE)
    return {
        "macro_f1": kept.macro_f1,
        "predict_views": views,
        "adjustment": kept.shift.tolist(),  # the weights in STATE are without it
        "adjustment_one_view": one.shift.tolist(),
        "fit_seconds": fit_seconds,  # of the adjustments
        "scores": score(kept.probabilities, labels, task.dataset.classes).as_json(),
        # what one inference reaches, where an answer is the mean over several
        "one_view": score(one.probabilities, labels, task.dataset.classes).as_json() if views > 1 else None,
        "epochs": [asdict(epoch) for epoch in trained.epochs],
        "stopped": trained.stopped,
        "seconds": trained.seconds,
        "step_seconds": trained.step_seconds,
        "batch_size": recipe.batch_size,
        "cached": isinstance(source, CachedFeatures),
        "views": source.views,
    }


def prepare(task: Task, recipe: Recipe) -> tuple[SplitModel, FeatureSource]:
    """The split model of a recipe, and its features: from the cache where they are in it, else computed anew."""
    weights = WeightsFrom(task.weights_folder, task.random_init)
    model = build(recipe.backbone, len(task.dataset.classes), weights, dropout=recipe.dropout)
    digest = weights_digest(model)
    split = split_model(model, FreezeDepth.parse(recipe.freeze))
    key = task.key(recipe, digest, split.frozen_blocks)
    augmentation = recipe.augment()
    files = task.store.present(key, augmentation.views) if task.cache_limit else []
    if files:
        task.store.touch(key, len(files))
        return split, CachedFeatures(files)
    live = LiveFeatures(
        [s.path for s in task.trainable],
        [s.digest for s in task.trainable],
        key.preprocess,
        augmentation,
        split.prefix.to(fastest_device()),
        task.threads,
    )
    return split, live


@dataclass(frozen=True, slots=True)
class Run:
    """A training run as it ended: with the batch that fitted, and the model that was trained with it."""

    trained: Trained
    recipe: Recipe
    split: SplitModel
    source: FeatureSource


def train_backing_off(
    task: Task,
    split: SplitModel,
    source: FeatureSource,
    examples: Examples,
    recipe: Recipe,
    until: float | None,
    emit: Emit,
) -> Run:
    """Train; where memory runs out, start again with half the batch on a model built anew."""

    def on_epoch(epoch: Epoch) -> None:
        emit({"event": "epoch", **asdict(epoch)})

    while True:
        try:
            passes = symmetric_views(recipe, source) if len(examples.validation) else 0
            passes = passes if passes > 1 else 0  # run_trial looks at all views once more
            trained = train(split, source, examples, recipe, until=until, passes_after=passes, on_epoch=on_epoch)
            return Run(trained, recipe, split, source)
        except (RuntimeError, MemoryError) as error:  # torch has no exception of its own for a CPU's memory
            if classify_error(error)[0] != "out-of-memory" or recipe.batch_size // 2 < SMALLEST_BATCH:
                raise
            recipe = replace(recipe, batch_size=recipe.batch_size // 2)
            emit({"event": "batch-halved", "batch_size": recipe.batch_size, "detail": str(error)[:200]})
            split, source = prepare(task, recipe)


def symmetric_views(recipe: Recipe, source: FeatureSource) -> int:
    """How many views of an image an answer may be averaged over: mirror images and quarter turns, not random crops."""
    augmentation: Augmentation = recipe.augment()
    return min(augmentation.views, source.views) if augmentation.kind in ("flip", "dihedral") else 1
