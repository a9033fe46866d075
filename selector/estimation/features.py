"""What a backbone asks of a device, from its layers: work by kind of kernel, and a description that kernels compare.

Approximations: elementwise work is read off the convolutions (each is followed by a norm where the network has norms,
and by its activation), residual additions off blocks that keep their shape. A compiler of graphs joins what is
elementwise to the convolution before it: one pass over each convolution's output is left, and an addition reads its
second operand along with it.
"""

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from selector.backbones.layers import Layer, block_outputs, layers, network
from selector.errors import InvalidInput

Vector = NDArray[np.floating[Any]]

TERMS: tuple[tuple[str, str], ...] = (
    ("dense", "mac"),  # convolutions over space and channels
    ("stem", "mac"),  # those that read an image, whose few channels leave vector units and tensor cores idle
    ("pointwise", "mac"),  # 1x1 convolutions, linear layers, attention
    ("depthwise", "mac"),
    ("dense traffic", "element"),  # elements read and written by dense and pointwise convolutions
    ("depthwise traffic", "element"),
    ("weights", "weight"),  # weights of convolutions over a map
    ("vector weights", "weight"),  # weights used for one output pixel only: linear layers, VGG's 7x7 convolution
    ("elementwise", "element"),  # norms, cheap activations, residual additions
    ("costly activation", "element"),  # SiLU, hardswish, GELU
    ("attention", "element"),  # what products of tokens put out, and its softmax
    ("squeeze", "element"),  # pooling for and gating by squeeze-and-excitation
    ("padding", "element"),  # TensorFlow's SAME padding, which PyTorch copies a map for
    ("large layers", "element"),  # what a pass over maps reads and writes beyond the caches
    ("launches", "launch"),
    ("fixed", "launch"),
)
"""Kinds of work and what their rate is counted in."""

LARGE = 2_000_000.0  # elements that a pass over maps may read and write within caches of unknown size
IMAGE_CHANNELS = 4  # what a stem reads at most
LONE_KERNEL = 49  # kernel side times map side: VGG's first fully connected layer is a 7x7 convolution of 7x7
FIXED_LAUNCHES = 10.0
COSTLY = frozenset({"silu", "hardswish", "gelu"})
PER_BATCH = np.array([counted in ("weight", "launch") for _, counted in TERMS])  # paid once for all images of a batch
_NAMES = tuple(name for name, _ in TERMS)
_LARGE = _NAMES.index("large layers")


@dataclass(frozen=True, slots=True, eq=False)
class Work:
    """The work of one image by kind [terms], and elements that each pass over maps reads and writes [passes].

    Both as the network stands, and `fused` by a compiler of graphs; large layers are counted by `within` alone.
    `description` [d] places the backbone among others.
    """

    terms: Vector
    passes: Vector
    fused_terms: Vector
    fused_passes: Vector
    description: Vector

    def within(self, cache: float, *, fuses: bool) -> Vector:
        """[terms] with caches that hold `cache` elements for each image."""
        terms, passes = (self.fused_terms, self.fused_passes) if fuses else (self.terms, self.passes)
        terms = terms.copy()
        terms[_LARGE] = np.maximum(passes - cache, 0.0).sum()
        return terms


@lru_cache(maxsize=4096)
def work(backbone: str, resolution: int) -> Work:
    """The work of one image of `resolution` pixels a side.

    Raises UnknownName for a network that is not in the layer table, InvalidInput for an image too small for it.
    """
    count = _count(backbone, resolution, 0)
    if not (count.convolutions and count.maps):
        raise InvalidInput(f"an image of {resolution} × {resolution} pixels is too small for {backbone}")
    return Work(*count.work(), count.description())


def tail_terms(backbone: str, resolution: int, frozen_blocks: int, *, cache: float = LARGE) -> Vector:
    """[terms] work of what lies above the leading `frozen_blocks` blocks, run as it stands; raises as `work` does."""
    tail = Work(*_count(backbone, resolution, frozen_blocks).work(), np.zeros(0))
    return tail.within(cache, fuses=False)


def saved_elements(backbone: str, resolution: int, frozen_blocks: int) -> float:
    """Elements that training keeps for the backward pass of the tail, for one image.

    A convolution's output, the norm's where one follows, and a costly activation's; cheap activations work in place.
    """
    count = _count(backbone, resolution, frozen_blocks)
    return count.maps * (2.0 if count.norms else 1.0) + count.costly


def _count(backbone: str, resolution: int, frozen_blocks: int) -> "_Count":
    net_layers = layers(backbone, resolution)
    net = network(backbone)
    # a network without any activation has one that the layer table does not name: GELU
    unnamed = not any(layer.act for layer in net_layers if layer.out_h > 1)
    count = _Count(norms=any(layer.norm for layer in net_layers), unnamed=unnamed)
    map_side = 1
    producer: str | None = None
    for layer, row in zip(net_layers, net.rows, strict=True):
        if layer.block > frozen_blocks:
            count.layer(layer)
            padded = row.out_level > 0 and net.levels[row.out_level - 1][1] == "same" and layer.stride > 1
            if padded:
                count.padding(layer, producer)
            count.gate(layer, map_side)
        if layer.out_h > 1:
            map_side, producer = layer.out_h, layer.act
    outputs = block_outputs(backbone, resolution)
    residual = backbone.startswith("resnet")  # every block adds, a projected shortcut where the shape changes
    for before, after in list(pairwise(outputs))[max(0, frozen_blocks - 1) :]:
        if before == after or residual:
            count.add(after[0] * after[1] * after[2])
    count.terms["fixed"] = FIXED_LAUNCHES
    return count


class _Count:
    """Sums over the layers of one network."""

    def __init__(self, *, norms: bool, unnamed: bool) -> None:
        self.norms = norms
        self._unnamed = unnamed
        self.terms = dict.fromkeys(_NAMES, 0.0)
        self.fused = 0.0  # elementwise work that a compiler of graphs leaves
        self.fused_padding = 0.0
        self.passes: list[float] = []  # elements that each pass over maps reads and writes
        self.fused_passes: list[float] = []
        self.maps = 0.0  # elements put out by convolutions over a map
        self.depthwise_maps = 0.0
        self.weights = 0.0
        self.convolutions = 0
        self.costly = 0.0
        self.activated = 1.0
        self.padded = 0.0
        self.attention = False
        self.squeezes = False
        self.misaligned = 0.0

    def work(self) -> tuple[Vector, Vector, Vector, Vector]:
        """Terms and passes, then those of a compiled graph, as `Work` has them."""
        fused = {**self.terms, "elementwise": self.fused, "padding": self.fused_padding}
        plain, compiled = (np.array([terms[name] for name in _NAMES]) for terms in (self.terms, fused))
        return plain, np.array(self.passes), compiled, np.array(self.fused_passes)

    def padding(self, layer: Layer, producer: str | None) -> None:
        """PyTorch copies the input of a convolution with SAME padding and a stride.

        A compiler of graphs writes the padded map at once, unless it is the image or what a costly activation puts
        out; `producer` is the activation that the map comes from, None for the image.
        """
        copied = 2.0 * layer.in_channels * (layer.in_h + layer.kernel_h - 1) ** 2
        self.terms["padding"] += copied
        self.fused_padding += copied if producer is None or producer in COSTLY else 0.0
        self.padded += layer.in_channels * layer.in_h * layer.in_w

    def gate(self, layer: Layer, map_side: int) -> None:
        """Squeeze-and-excitation pools, reads and writes the map that it gates.

        Compiled passes run as fast as memory lets them; kernels of single operations are slower than memory anyway.
        """
        if layer.out_h == 1 and layer.act in ("sigmoid", "hardsigmoid"):
            gated = float(layer.out_channels * map_side**2)
            self.terms["squeeze"] += 3.0 * gated
            self.fused_passes += [gated, 2.0 * gated]

    def layer(self, layer: Layer) -> None:
        """Take in one layer."""
        terms = self.terms
        read, written = float(layer.in_channels * layer.in_h * layer.in_w), float(layer.activations)
        weights = float(layer.out_channels * (layer.in_channels // layer.groups) * layer.kernel_h * layer.kernel_w)
        if layer.kind == "matmul":
            terms["pointwise"] += layer.macs
            terms["attention"] += 3.0 * written
            terms["launches"] += 1
            self.attention = True
            return
        vector = layer.out_h == 1
        if layer.kind == "linear":
            terms["pointwise"] += layer.macs
            terms["vector weights"] += weights
            self.weights += weights
            return
        terms["launches"] += 1
        self.weights += weights
        if vector:
            terms["pointwise" if layer.kernel_h == 1 else "dense"] += layer.macs
            terms["vector weights" if layer.kernel_h * layer.in_h >= LONE_KERNEL else "weights"] += weights
            self.squeezes |= layer.act in ("sigmoid", "hardsigmoid")
            return
        kind = layer.kind if layer.kind in ("pointwise", "depthwise") else "dense"
        terms["stem" if kind == "dense" and layer.in_channels <= IMAGE_CHANNELS else kind] += layer.macs
        terms["depthwise traffic" if kind == "depthwise" else "dense traffic"] += read + written
        terms["weights"] += weights
        self.passes.append(read + written)
        self.fused_passes.append(read + written)
        self.maps += written
        self.depthwise_maps += written if kind == "depthwise" else 0.0
        self.convolutions += 1
        if layer.in_channels % 8 or layer.out_channels % 8:
            self.misaligned += read + written
        if not layer.params:  # a fixed filter against aliasing: neither norm nor activation follows
            return
        self.fused_passes.append(2.0 * written)
        if self.norms:
            terms["elementwise"] += 2.0 * written
            self.passes.append(2.0 * written)
        projects = kind == "pointwise" and layer.in_channels > layer.out_channels
        act = "gelu" if self._unnamed and layer.norm and not projects else layer.act
        self.fused += 0.0 if act in COSTLY else 2.0 * written
        self._activation(act, written)

    def _activation(self, act: str, elements: float) -> None:
        if not act:
            return
        self.activated += elements
        self.passes.append(2.0 * elements)
        if act in COSTLY:
            self.costly += elements
            self.terms["costly activation"] += 2.0 * elements
        else:
            self.terms["elementwise"] += 2.0 * elements

    def add(self, elements: int) -> None:
        self.terms["elementwise"] += 3.0 * elements
        self.passes.append(3.0 * elements)
        self.fused += elements
        self.terms["launches"] += 0.5

    def description(self) -> Vector:
        """Scaled so that a difference of 1 in any coordinate makes backbones about equally unlike."""
        dense = self.terms["dense"] + self.terms["stem"]
        macs = dense + self.terms["pointwise"] + self.terms["depthwise"] + 1.0
        return np.array(
            [
                np.log(macs) / 2,
                np.log(self.maps / macs),
                np.log(self.weights / macs) / 1.5,
                np.log(self.convolutions),
                2 * dense / macs,
                4 * self.terms["depthwise"] / macs,
                2 * self.depthwise_maps / self.maps,
                0.7 * self.costly / self.activated,
                0.7 * self.squeezes,
                0.7 * min(1.0, 20 * self.padded / self.maps),
                0.7 * self.attention,
                self.misaligned / self.maps,
                0.5 * np.log(self.maps / self.convolutions),
            ]
        )
