"""Freezing a model to a depth, and splitting it there. Needs torch and timm.

A frozen block computes no gradient, stays in eval mode (its BatchNorm keeps its statistics, its dropout is off) even
after `model.train()`, and is run without autograd. The state dict is unchanged by all of it.
"""

from collections import OrderedDict
from dataclasses import dataclass
from functools import partial

import torch
from torch import nn

from selector.backbones.blocks import NamedBlock, blocks, classifier
from selector.backbones.depth import FreezeDepth


@dataclass(frozen=True, slots=True)
class Frozen:
    """How deep a model was frozen: the depth as it was named, and the number of blocks that it came to."""

    name: str
    frozen_blocks: int
    total_blocks: int


def freeze(model: nn.Module, depth: FreezeDepth) -> Frozen:
    """Freeze the leading blocks of `model` in place and thaw all others, whatever was frozen before.

    The model's mode stays as it is in everything that is not frozen. Raises InvalidInput for a model that is none of
    the four families and for a depth that it has not enough blocks for.
    """
    chain = blocks(model)
    frozen = depth.frozen_blocks(len(chain))
    for block in chain[:frozen]:
        block.module.requires_grad_(False)
        for part in block.module.children():
            _hold_in_eval(part)
    thawed = [part for block in chain[frozen:] for part in block.module.children()]
    for part in [*thawed, *classifier(model).children()]:
        part.requires_grad_(True)
        _release(part, model.training)
    return Frozen(depth.name, frozen, len(chain))


def split(model: nn.Module, depth: FreezeDepth) -> tuple[nn.Module, nn.Module]:
    """The frozen prefix and the trainable tail: tail(prefix(x)) is model(x), bit for bit in eval mode.

    Freezes `model` to `depth`; both parts hold the model's own modules, so training the tail trains the model. The
    prefix runs without autograd and takes images [n, 3, h, w]; with nothing frozen it hands them on. Raises as
    `freeze` does.
    """
    frozen = freeze(model, depth).frozen_blocks
    chain = [*blocks(model), NamedBlock("classifier", classifier(model))]
    prefix = FrozenPrefix(chain[:frozen])
    tail = nn.Sequential(OrderedDict((_key(block), block.module) for block in chain[frozen:]))
    tail.training = model.training
    return prefix, tail


class FrozenPrefix(nn.Module):
    """The frozen blocks of a model as one module: always in eval mode, never under autograd."""

    def __init__(self, frozen: list[NamedBlock]) -> None:
        super().__init__()
        self.blocks = nn.Sequential(OrderedDict((_key(block), block.module) for block in frozen))
        self.train(False)

    def train(self, mode: bool = True) -> "FrozenPrefix":
        """Stays in eval mode, whatever `mode` is."""
        super().train(False)
        return self

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Features [n, c, h, w] of `images`, or [n, width] where all blocks are frozen."""
        with torch.no_grad():
            features: torch.Tensor = self.blocks(images)
        return features


def _key(block: NamedBlock) -> str:
    return block.name.replace(".", "_")  # a module's name holds no dots


def _stay_in_eval(self: nn.Module, mode: bool = True) -> nn.Module:
    return type(self).train(self, False)


def _hold_in_eval(module: nn.Module) -> None:
    """Override `train` on this one module. A parent's `train` calls its children's, so all that is below holds too.

    Modules below are overridden as well: someone may call `train` on one of them alone.
    """
    for each in module.modules():
        each.__dict__["train"] = partial(_stay_in_eval, each)
    module.train(False)


def _release(module: nn.Module, training: bool) -> None:
    held = False
    for each in module.modules():
        held |= each.__dict__.pop("train", None) is not None
    if held:
        module.train(training)
