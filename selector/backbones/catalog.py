"""The catalog: every backbone that the product knows, with its facts. Needs no torch.

The facts are derived by `python -m selector.backbones.derive` from timm and torchvision, checked in under
`data/`, and compared with a fresh derivation by a test. Never edit the data by hand.
"""

from dataclasses import dataclass
from enum import StrEnum


class Family(StrEnum):
    """The document's four families."""

    RESNET = "resnet"
    VGG = "vgg"
    EFFICIENTNET = "efficientnet"
    MOBILENET = "mobilenet"


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
    imagenet_top1: ImageNetTop1 | None  # None: nothing published for the default weights
    artifact_bytes: int  # of the fp32 state dict: parameters and buffers
