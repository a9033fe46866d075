"""VGG's adaptive average pooling at one resolution, in operations that ONNX has.

timm's VGG stretches a last feature map of fewer than 7 × 7 pixels (images of fewer than 224) to that size by
adaptive average pooling, which ONNX can express only for whole factors. At a fixed size it is a mean of fixed rows
and columns.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from timm.models.vgg import VGG, ConvMlp
from torch import nn


@contextmanager
def fixed_pooling(model: nn.Module) -> Iterator[None]:
    """While entered, a VGG's head stretches its features in operations that ONNX has; other models are left alone."""
    if not (isinstance(model, VGG) and isinstance(model.pre_logits, ConvMlp)):
        yield
        return
    side = model.pre_logits.input_kernel_size
    # the head itself leaves features alone that have the size already
    hook = model.pre_logits.register_forward_pre_hook(lambda _, inputs: (stretched(inputs[0], side),))
    try:
        yield
    finally:
        hook.remove()


def stretched(features: torch.Tensor, side: int) -> torch.Tensor:
    """Features [n, c, h, w] as `adaptive_avg_pool2d` makes them, with `side` rows and columns where they have fewer.

    In a trace their size becomes a constant.
    """
    for dimension in (2, 3):
        features = _stretched_along(features, dimension, side)
    return features


def _stretched_along(features: torch.Tensor, dimension: int, side: int) -> torch.Tensor:
    size = int(features.shape[dimension])
    if size >= side:
        return features
    # output i is the mean of inputs ⌊i · size / side⌋ to ⌈(i + 1) · size / side⌉ − 1: one or two, as size < side
    first = torch.tensor([i * size // side for i in range(side)])
    last = torch.tensor([-(-(i + 1) * size // side) - 1 for i in range(side)])
    return (features.index_select(dimension, first) + features.index_select(dimension, last)) / 2
