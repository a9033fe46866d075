"""The catalog: every backbone that the product knows, with its facts. Needs no torch.

The facts are derived by `python -m selector.backbones.derive` from timm and torchvision, checked in under
`data/`, and compared with a fresh derivation by a test. Never edit the data by hand.
"""

import json
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from importlib.resources import files
from typing import Any

from selector.errors import UnknownName


class Family(StrEnum):
    """The document's four families."""

    RESNET = "resnet"
    VGG = "vgg"
    EFFICIENTNET = "efficientnet"
    MOBILENET = "mobilenet"


DOCUMENT_DROPOUT = 0.5
"""Of the head that the document gives a VGG (practice P4; `heads.use_document_head`)."""


@dataclass(frozen=True, slots=True)
class Preprocessing:
    """What the pretraining did to an image (P12): resize so that `crop_pct` of the side is cropped, normalise."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: str
    crop_pct: float


@dataclass(frozen=True, slots=True)
class ImageNetTop1:
    """Top-1 on ImageNet's validation set of the default weights, in percent, with their timm tag and citation."""

    value: float
    weights: str
    resolution: int
    source: str


@dataclass(frozen=True, slots=True)
class Block:
    """One unit of freezing, at the default resolution, numbered from the input.

    What follows the last residual block up to the classifier (the head convolution of EfficientNet and
    MobileNet, VGG's two hidden fully connected layers) belongs to the last block.
    """

    name: str
    params: int
    macs: int  # torchvision's convention
    activations: int
    convolutions: int


@dataclass(frozen=True, slots=True)
class Backbone:
    """One backbone of the catalog: a timm model id and its facts for 1000 classes at the default resolution."""

    name: str
    family: Family
    blocks: tuple[Block, ...]
    params: int
    classifier_params: int
    feature_width: int  # inputs of the classifier
    macs_torchvision: int
    macs_fvcore: int
    activations: int
    resolution: int
    preprocessing: Preprocessing
    imagenet_top1: ImageNetTop1 | None  # at `resolution`; None: nothing published for the default weights
    artifact_bytes: int  # of the fp32 state dict: parameters and buffers
    weights: str | None = None  # timm's tag of the default weights; None: timm publishes none
    imagenet_top1_larger: ImageNetTop1 | None = None  # the same weights at the larger resolution timm tests them at


def names() -> tuple[str, ...]:
    """Names of all backbones, family by family."""
    return tuple(_catalog())


def backbone(name: str) -> Backbone:
    """The backbone `name`. Raises UnknownName, which suggests the nearest."""
    found = _catalog().get(name)
    if found is None:
        raise UnknownName("backbone", name, _catalog(), listing="selector catalog")
    return found


def backbones(family: Family | None = None) -> tuple[Backbone, ...]:
    """All backbones, or those of one family, in the catalog's order."""
    return tuple(b for b in _catalog().values() if family is None or b.family is family)


@cache
def _catalog() -> dict[str, Backbone]:
    text = (files("selector.backbones") / "data" / "catalog.json").read_text(encoding="utf-8")
    return {entry["name"]: _backbone(entry) for entry in json.loads(text)["backbones"]}


def _backbone(entry: dict[str, Any]) -> Backbone:
    preprocessing = entry.pop("preprocessing")
    return Backbone(
        family=Family(entry.pop("family")),
        blocks=tuple(Block(*block) for block in entry.pop("blocks")),
        preprocessing=Preprocessing(
            mean=tuple(preprocessing["mean"]),
            std=tuple(preprocessing["std"]),
            interpolation=preprocessing["interpolation"],
            crop_pct=preprocessing["crop_pct"],
        ),
        imagenet_top1=_top1(entry.pop("imagenet_top1")),
        imagenet_top1_larger=_top1(entry.pop("imagenet_top1_larger")),
        **entry,
    )


def _top1(entry: dict[str, Any] | None) -> ImageNetTop1 | None:
    return ImageNetTop1(**entry) if entry else None
