"""A backbone with the task's head, split into what is frozen and what is trained. Needs torch and timm."""

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from timm.layers.classifier import ClassifierHead
from torch import nn

from selector.backbones.blocks import blocks, classifier
from selector.backbones.catalog import Family
from selector.backbones.catalog import backbone as catalog_backbone
from selector.backbones.depth import FreezeDepth
from selector.backbones.freezing import split
from selector.backbones.heads import replace_classifier, use_document_head
from selector.backbones.weights import create


@dataclass(frozen=True, slots=True)
class WeightsFrom:
    """Where the pretrained weights come from, as `backbones.weights.create` takes it."""

    folder: Path | None = None
    random_init: bool = False
    seed: int = 0

    def as_json(self) -> dict[str, Any]:
        """Plain values that travel to other processes."""
        return {
            "folder": None if self.folder is None else str(self.folder),
            "random_init": self.random_init,
            "seed": self.seed,
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "WeightsFrom":
        """Read what `as_json` wrote."""
        return cls(None if data["folder"] is None else Path(data["folder"]), data["random_init"], data["seed"])


@dataclass(frozen=True, slots=True)
class SplitModel:
    """A model and its two parts, which share its modules: tail(prefix(images)) is model(images) in eval mode.

    Where all blocks are frozen the pooling belongs to the prefix, so that its features are one vector an image.
    """

    model: nn.Module
    prefix: nn.Module
    tail: nn.Sequential
    head: nn.Linear  # the last layer of the tail
    frozen_blocks: int
    total_blocks: int


HEAD_SEED = 0
"""Every head starts from the same draw: runs that differ in their seed alone can then be averaged, weight by weight."""


def build(backbone: str, classes: int, weights: WeightsFrom, *, dropout: float = 0.0) -> nn.Module:
    """The pretrained backbone with a fresh head of `classes` outputs (P3; P4 for a VGG).

    Raises WeightsUnavailable where the weights cannot be reached and random ones were not asked for.
    """
    created = create(backbone, weights=weights.folder, random_init=weights.random_init, seed=weights.seed)
    model = created.model
    torch.manual_seed(HEAD_SEED)
    if catalog_backbone(backbone).family == Family.VGG:
        use_document_head(model, classes)  # dropout 0.5 is part of that practice
    else:
        setattr(model, "drop_rate", dropout)  # noqa: B010 - a timm model's own attribute, which nn.Module does not declare
        replace_classifier(model, classes)
    head = _head(classifier(model))
    # small and centred: the first steps neither favour a class nor shake the backbone
    nn.init.normal_(head.weight, std=0.01)
    nn.init.zeros_(head.bias)
    return model.eval()


def split_model(model: nn.Module, depth: FreezeDepth) -> SplitModel:
    """Freeze `model` to `depth` and split it there. Raises InvalidInput for a depth that it has not."""
    total = len(blocks(model))
    frozen = depth.frozen_blocks(total)
    prefix, tail = split(model, depth)
    parts = _flat(tail)
    if frozen == total:
        free = next(i for i, part in enumerate(parts) if isinstance(part, nn.Dropout) or list(part.parameters()))
        prefix, parts = _Frozen(prefix, parts[:free]), parts[free:]
    whole = nn.Sequential(*parts)
    return SplitModel(model, prefix, whole, _head(whole), frozen, total)


def weights_digest(model: nn.Module) -> str:
    """Names the weights in front of the classifier: equal digests have interchangeable caches."""
    digest = hashlib.sha256()
    head = {id(p) for p in _head(classifier(model)).parameters()}
    for name, value in model.state_dict(keep_vars=True).items():
        if id(value) not in head:
            digest.update(name.encode())
            digest.update(value.detach().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


class _Frozen(nn.Module):
    """A frozen prefix with the pooling behind it: always in eval mode, never under autograd."""

    def __init__(self, prefix: nn.Module, pooling: list[nn.Module]) -> None:
        super().__init__()
        self.prefix = prefix
        self.pooling = nn.Sequential(*pooling)
        self.train(False)

    def train(self, mode: bool = True) -> "_Frozen":
        super().train(False)
        return self

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            features: torch.Tensor = self.pooling(self.prefix(images))
        return features


def _flat(tail: nn.Module) -> list[nn.Module]:
    """The tail's parts in order, with the classifier's own parts instead of it."""
    parts: list[nn.Module] = []
    *before, last = list(tail.children())
    parts += before
    for part in last.children():
        parts += [part.global_pool, part.drop, part.fc, part.flatten] if isinstance(part, ClassifierHead) else [part]
    return parts


def _head(chain: nn.Module) -> nn.Linear:
    """The last linear layer, which makes the logits."""
    linear = [module for module in chain.modules() if isinstance(module, nn.Linear)]
    return linear[-1]
