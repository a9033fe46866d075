"""Blocks: the units of freezing, as modules of a model. Needs torch and timm.

A model of the four families is a chain: its blocks, numbered from the input, then its classifier. The stem is the
first block, each residual or inverted-residual block is one more; in a VGG each convolution is a block. Norm,
activation and pooling right after a convolution belong to its block, and what follows the last block up to the
classifier (head convolution, VGG's hidden fully connected layers, global pooling) to the last one, so that behind all
blocks stand the features [n, width] that the classifier reads.
"""

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass

from timm.models.efficientnet import EfficientNet
from timm.models.mobilenetv3 import MobileNetV3
from timm.models.resnet import ResNet
from timm.models.vgg import VGG
from torch import nn

from selector.errors import InvalidInput


@dataclass(frozen=True, slots=True)
class NamedBlock:
    """One block of a model. `module` runs it alone; its parts are the model's own modules, not copies."""

    name: str
    module: nn.Sequential


def blocks(model: nn.Module) -> list[NamedBlock]:
    """The blocks of `model` in the order in which an image passes them, without the classifier.

    Raises InvalidInput for a model that is none of the four families.
    """
    return [NamedBlock(name, module) for name, module in _chain(model)[:-1]]


def classifier(model: nn.Module) -> nn.Sequential:
    """What turns the last block's output into logits of shape [n, classes]: dropout and the linear layer.

    Raises InvalidInput for a model that is none of the four families.
    """
    return _chain(model)[-1][1]


def _chain(model: nn.Module) -> list[tuple[str, nn.Sequential]]:
    if isinstance(model, ResNet):
        chain = _resnet(model)
    elif isinstance(model, VGG):
        chain = _vgg(model)
    elif isinstance(model, MobileNetV3):
        chain = _mobilenet_v3(model)
    elif isinstance(model, EfficientNet):  # MobileNet v1 and v2 are built by the same class
        chain = _efficientnet(model)
    else:
        raise InvalidInput(
            f"{type(model).__name__} has no known blocks; models of ResNet, VGG, EfficientNet and MobileNet have"
        )
    return [(name, _sequential(parts, model.training)) for name, parts in chain]


_Parts = list[tuple[str, nn.Module]]


def _resnet(model: ResNet) -> list[tuple[str, _Parts]]:
    chain: list[tuple[str, _Parts]] = [("stem", _named(model, "conv1", "bn1", "act1", "maxpool"))]
    for stage in ("layer1", "layer2", "layer3", "layer4"):
        chain += [(f"{stage}.{i}", [("0", block)]) for i, block in getattr(model, stage).named_children()]
    chain[-1][1].append(("global_pool", model.global_pool))
    return [*chain, ("classifier", [*_dropout(model.drop_rate), ("fc", model.fc)])]


def _vgg(model: VGG) -> list[tuple[str, _Parts]]:
    chain: list[tuple[str, _Parts]] = []
    for index, module in model.features.named_children():
        if isinstance(module, nn.Conv2d):
            chain.append((f"features.{index}", []))
        chain[-1][1].append((index, module))
    chain[-1][1].extend([("pre_logits", model.pre_logits), ("global_pool", model.head.global_pool)])
    return [*chain, ("classifier", _named(model.head, "drop", "fc", "flatten"))]


def _efficientnet(model: EfficientNet) -> list[tuple[str, _Parts]]:
    chain = _inverted_residuals(model)
    chain[-1][1].extend(_named(model, "conv_head", "bn2", "global_pool"))
    return [*chain, ("classifier", [*_dropout(model.drop_rate), ("classifier", model.classifier)])]


def _mobilenet_v3(model: MobileNetV3) -> list[tuple[str, _Parts]]:
    chain = _inverted_residuals(model)
    chain[-1][1].extend(_named(model, "global_pool", "conv_head", "norm_head", "act2", "flatten"))
    return [*chain, ("classifier", [*_dropout(model.drop_rate), ("classifier", model.classifier)])]


def _inverted_residuals(model: EfficientNet | MobileNetV3) -> list[tuple[str, _Parts]]:
    chain: list[tuple[str, _Parts]] = [("stem", _named(model, "conv_stem", "bn1"))]
    for stage, sequence in model.blocks.named_children():
        chain += [(f"blocks.{stage}.{i}", [("0", block)]) for i, block in sequence.named_children()]
    return chain


def _named(model: nn.Module, *names: str) -> _Parts:
    return [(name, model.get_submodule(name)) for name in names]


def _dropout(rate: float) -> _Parts:
    """The model calls dropout as a function before its classifier; as a module it can stand in a chain."""
    return [("drop", nn.Dropout(rate))] if rate else []


def _sequential(parts: Iterable[tuple[str, nn.Module]], training: bool) -> nn.Sequential:
    """A chain in the model's mode: a new module starts in training mode, and dropout would act in an eval model."""
    sequence = nn.Sequential(OrderedDict(parts))
    sequence.training = training
    for module in sequence.children():
        if isinstance(module, nn.Dropout):
            module.training = training
    return sequence
