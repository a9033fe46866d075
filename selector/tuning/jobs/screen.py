"""Screening a backbone: one frozen pass over the images, then a linear probe and nearest neighbours on its features.

It costs a pass; what it finds orders the backbones before any of them is trained, and its features stay in the cache.
"""

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from selector.backbones.depth import FreezeDepth
from selector.tuning.cache.build import Filled, fill
from selector.tuning.cache.store import CacheKey
from selector.tuning.data.split import Split
from selector.tuning.features import CachedFeatures, FeatureSource, LiveFeatures, fastest_device
from selector.tuning.jobs.common import Emit, Task, preprocess_of
from selector.tuning.model import WeightsFrom, build, split_model, weights_digest
from selector.tuning.preprocess import STANDING_ON_ITS_HEAD, Augmentation
from selector.tuning.recipe import Recipe
from selector.tuning.scores import macro_f1

NEIGHBOURS = 10
PROBE_STEPS = 60
FEWEST_TURNED, TURNED_IMAGES = 64, 256
TURNED_KEEPS = 0.7
"""Pictures have no upright side if the probe keeps this part of what it knows beyond chance when they stand on their
head. A choice, not a fitted figure: solar cells keep 0.95 (224 px), what depends on the side keeps nothing."""

Labelled = Callable[[torch.Tensor], npt.NDArray[np.int64]]
OnImages = Callable[[int, int], None]  # images done, all images


def screen(task: Task, arguments: dict[str, Any], emit: Emit) -> dict[str, Any]:
    """Score `backbone` at `resolution` on the validation split without training it; {probe, knn, seconds …}.

    `depths` are numbers of frozen blocks whose plain view is cached in the same pass. With `look_upright` it is found
    out, on some of the validation images, whether they have an upright side.
    """
    started = time.monotonic()
    name, resolution = arguments["backbone"], arguments["resolution"]
    weights = WeightsFrom(task.weights_folder, task.random_init)
    model = build(name, len(task.dataset.classes), weights)
    digest = weights_digest(model)
    total = split_model(model, FreezeDepth("head")).total_blocks
    recipe = Recipe(name, freeze="head", resolution=resolution, augmentation="none", views=1)
    depths = sorted({total, *(FreezeDepth.parse(d).frozen_blocks(total) for d in arguments["depths"])} - {0})
    keys = [task.key(recipe, digest, depth) for depth in depths]

    def tell(done: int, images: int) -> None:
        emit({"event": "progress", "done": done, "all": images})

    filled = _fill(task, keys, model, tell)
    live = LiveFeatures(
        [s.path for s in task.trainable],
        [s.digest for s in task.trainable],
        preprocess_of(name, resolution),
        Augmentation("dihedral", views=STANDING_ON_ITS_HEAD + 1),
        split_model(model, FreezeDepth("head")).prefix.to(fastest_device()),
        task.threads,
    )
    torch.set_num_threads(task.threads)
    cached = filled is not None and filled.views > 0
    probe, knn, label = _probe(
        task, CachedFeatures(task.store.present(keys[-1], 1)) if cached else live, _untold if cached else tell
    )
    upright = _have_upright_side(task, live, label) if arguments.get("look_upright") else None
    return {
        "probe": probe,
        "knn": knn,
        "upright": upright,
        "digest": digest,
        "total_blocks": total,
        "setup_seconds": filled.setup_seconds if filled else 0.0,
        "fill_seconds": filled.seconds if filled else 0.0,
        "runtime": filled.runtime if filled and cached else "torch-eager",
        "why": filled.why if filled else "no cache",
        "uncached": filled.why if filled and not cached else "",  # why, where it was to be
        "seconds": time.monotonic() - started,
    }


def _fill(task: Task, keys: Sequence[CacheKey], model: torch.nn.Module, tell: OnImages) -> Filled | None:
    """Cache the plain view at all depths, or where there is no room at the last alone; None where nothing may be."""
    if not task.cache_limit:
        return None

    def make(some: Sequence[CacheKey]) -> Filled:
        return fill(
            task.store,
            some,
            1,
            model=model,
            paths=[s.path for s in task.trainable],
            digests=[s.digest for s in task.trainable],
            threads=task.threads,
            progress=tell,
        )

    filled = make(keys)
    return filled if filled.views or len(keys) == 1 else make(keys[-1:])  # a head's features are the smallest


def _untold(done: int, images: int) -> None:
    pass


def _have_upright_side(task: Task, live: LiveFeatures, label: Labelled) -> bool | None:
    """Whether the probe, trained on pictures as they are, fails on the same ones upside down.

    None where it knows nothing, or has too few images to tell.
    """
    validation = task.rows(Split.VALIDATION)
    if len(validation) < FEWEST_TURNED:
        return None
    rows = np.random.default_rng(0).permutation(validation)[:TURNED_IMAGES]
    truth, classes = task.labels[rows], len(task.dataset.classes)
    known = []
    for view in (0, STANDING_ON_ITS_HEAD):
        parts = [live.batch(part, np.full(len(part), view)) for part in np.array_split(rows, max(1, len(rows) // 32))]
        known.append(macro_f1(label(torch.cat(parts).flatten(1)), truth, classes) - 1 / classes)
    return None if known[0] <= 0 else known[1] < TURNED_KEEPS * known[0]


def _probe(task: Task, source: FeatureSource, tell: OnImages) -> tuple[float, float, Labelled]:
    """Macro-F1 on the validation split of a linear probe with balanced weights, and of cosine nearest neighbours; and
    the probe, which labels features. `tell` hears of the features that are there, and of all.
    """
    rows = np.arange(len(task.trainable))
    parts: list[torch.Tensor] = []
    for part in np.array_split(rows, max(1, len(rows) // 64)):
        parts.append(source.batch(part, np.zeros(len(part), dtype=np.int64)))
        tell(int(part[-1]) + 1, len(rows))
    features = torch.cat(parts).flatten(1)
    train, validation = task.rows(Split.TRAIN), task.rows(Split.VALIDATION)
    labels, classes = torch.from_numpy(task.labels), len(task.dataset.classes)
    mean, deviation = features[train].mean(dim=0), features[train].std(dim=0) + 1e-6
    scaled = (features - mean) / deviation
    counts = torch.bincount(labels[train], minlength=classes).clamp(min=1).float()
    weight = torch.zeros(classes, features.shape[1], requires_grad=True)
    bias = torch.zeros(classes, requires_grad=True)
    optimiser = torch.optim.LBFGS([weight, bias], max_iter=PROBE_STEPS, history_size=10)

    def closure() -> torch.Tensor:
        optimiser.zero_grad()
        logits = scaled[train] @ weight.T + bias
        loss = torch.nn.functional.cross_entropy(logits, labels[train], counts.sum() / counts / classes)
        loss = loss + 1e-3 * weight.square().sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss

    optimiser.step(closure)  # type: ignore[no-untyped-call]

    def label(some: torch.Tensor) -> npt.NDArray[np.int64]:
        said: npt.NDArray[np.int64] = (
            (((some - mean) / deviation) @ weight.detach().T + bias.detach()).argmax(dim=1).numpy()
        )
        return said

    unit = torch.nn.functional.normalize(features, dim=1)
    similar = unit[validation] @ unit[train].T
    near = similar.topk(min(NEIGHBOURS, len(train)), dim=1)
    votes = torch.zeros(len(validation), classes)
    votes.scatter_add_(1, labels[train][near.indices], near.values / counts[labels[train][near.indices]])
    truth = task.labels[validation]
    near_f1 = macro_f1(votes.argmax(dim=1).numpy(), truth, classes)
    return macro_f1(label(features[validation]), truth, classes), near_f1, label
