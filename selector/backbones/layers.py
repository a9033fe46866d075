"""The layers of every network that the product knows or has published figures for. Needs no torch.

The table under `data/` is derived by `python -m selector.backbones.derive` from timm's models: one row a layer, and
for each network the chain of spatial sizes (which kernel, stride and padding makes which size), so that `layers` is
exact at any square resolution. Formulas: an output side is floor((n + 2p - k) / s) + 1, or ceil(n / s) under
TensorFlow's SAME padding; a convolution costs out_h · out_w · out_channels · in_channels / groups · k · k
multiply-accumulates (torchvision's convention: no bias, norm, activation or pooling).
"""

from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.resources import files
from typing import NamedTuple

from selector.errors import InvalidInput, UnknownName

KINDS = {
    "c": "conv",
    "p": "pointwise",
    "d": "depthwise",
    "g": "grouped",
    "l": "linear",
    "m": "matmul",
}


@dataclass(slots=True)  # not frozen: that makes each one twenty times as slow, and a whole catalog has five thousand
class Layer:
    """One layer in execution order, for one image. Shared between callers: `replace` it, never change it.

    `block` is the freezing block that it belongs to, from 1; the classifier's is one more than the blocks. A matmul
    has no weights: `groups` heads multiply [out_h · out_w, in_channels] by [in_channels, out_channels] each.
    `params` includes the norm's scale and shift where one follows. `reads_block_input`: nothing trainable lies
    between the block's input and this layer, so it needs no input gradient when the block is the first trained one.
    """

    index: int
    block: int
    kind: str  # conv | pointwise | depthwise | grouped | linear | matmul
    in_channels: int
    out_channels: int
    kernel_h: int
    kernel_w: int
    stride: int
    groups: int
    in_h: int
    in_w: int
    out_h: int
    out_w: int
    bias: bool
    norm: bool  # a BatchNorm follows
    act: str  # the activation that follows, "" for none
    macs: int
    params: int
    activations: int  # elements put out
    reads_block_input: bool


class _Row(NamedTuple):
    """A layer before a resolution is chosen. Channels of a matmul may be the tokens of a level: (level,)."""

    block: int
    kind: str
    in_channels: int | tuple[int]
    out_channels: int | tuple[int]
    kernel: int
    stride: int
    groups: int
    in_level: int
    out_level: int
    flags: str  # b: bias, n: norm, i: reads its block's input
    act: str
    extra_params: int


@dataclass(frozen=True, slots=True)
class Network:
    """A network of the table: `levels` are (parent, operation, kernel, stride, padding), level 0 being the image."""

    name: str
    resolution: int
    blocks: int
    levels: tuple[tuple[int, str, int, int, int], ...]
    rows: tuple[_Row, ...]
    outputs: tuple[tuple[int, int], ...]  # channels and level of each block's output


def networks() -> tuple[str, ...]:
    """Names of all networks in the table: the catalog's backbones and every other one with published figures."""
    return tuple(_sections())


def layers(name: str, resolution: int | None = None) -> tuple[Layer, ...]:
    """The layers of `name` on a square image of `resolution` pixels a side (None: the network's default).

    Raises UnknownName for a network that is not in the table, InvalidInput for an image too small for it.
    """
    net = network(name)
    return _layers(net.name, net.resolution if resolution is None else resolution)


def block_outputs(name: str, resolution: int | None = None) -> tuple[tuple[int, int, int], ...]:
    """Shape (channels, height, width) of each block's output for one image; raises as `layers` does."""
    net = network(name)
    sides = _sides(net, net.resolution if resolution is None else resolution)
    return tuple((channels, sides[level], sides[level]) for channels, level in net.outputs)


@lru_cache(maxsize=4096)
def _layers(name: str, resolution: int) -> tuple[Layer, ...]:
    net = network(name)
    sides = _sides(net, resolution)
    return tuple(_layer(index, row, sides) for index, row in enumerate(net.rows))


def _layer(index: int, row: _Row, sides: list[int]) -> Layer:
    side_in, side_out = sides[row.in_level], sides[row.out_level]
    cin = row.in_channels if isinstance(row.in_channels, int) else sides[row.in_channels[0]] ** 2
    cout = row.out_channels if isinstance(row.out_channels, int) else sides[row.out_channels[0]] ** 2
    pixels = side_out * side_out
    bias, norm = "b" in row.flags, "n" in row.flags
    if row.kind == "m":
        macs, own, activations = row.groups * pixels * cin * cout, 0, row.groups * pixels * cout
    else:
        weights = cout * (cin // row.groups) * row.kernel * row.kernel
        # a fixed filter (anti-aliasing) computes without being a parameter
        own = 0 if "f" in row.flags else weights + cout * bias
        macs, activations = pixels * weights, pixels * cout
    return Layer(
        index,
        row.block,
        KINDS[row.kind],
        cin,
        cout,
        row.kernel,
        row.kernel,
        row.stride,
        row.groups,
        side_in,
        side_in,
        side_out,
        side_out,
        bias,
        norm,
        row.act,
        macs,
        own + 2 * cout * norm + row.extra_params,
        activations,
        "i" in row.flags,
    )


def _sides(net: Network, resolution: int) -> list[int]:
    """Side of every level of `net` for an image of `resolution`; raises InvalidInput where one vanishes."""
    sides = [resolution]
    for parent, operation, kernel, stride, padding in net.levels:
        sides.append(side_after(sides[parent], operation, kernel, stride, padding))
        if sides[-1] < 1 or resolution < 1:
            raise InvalidInput(f"an image of {resolution} pixels a side is too small for {net.name}")
    return sides


def side_after(side: int, operation: str, kernel: int, stride: int, padding: int) -> int:
    """Output side of one spatial operation, as PyTorch computes it.

    `floor` and `ceil` round a window's count down or up, `same` is TensorFlow's SAME padding, `least` is VGG's
    adaptive pooling up to at least `kernel`, `times` an upsampling by `stride`, `one` global pooling.
    """
    match operation:
        case "floor":
            return (side + 2 * padding - kernel) // stride + 1
        case "ceil":
            out = -(-(side + 2 * padding - kernel) // stride) + 1
            # PyTorch drops a last window that would start beyond the input and its left padding
            return out - 1 if (out - 1) * stride >= side + padding else out
        case "same":
            return -(-side // stride)
        case "least":
            return max(side, kernel)
        case "times":
            return side * stride
        case "one":
            return 1
    raise ValueError(f"no spatial operation {operation!r}")


@lru_cache(maxsize=1024)
def network(name: str) -> Network:
    """The network `name` as it stands in the table. Raises UnknownName."""
    head, *lines = section_text(name).splitlines()
    if head.startswith("alias "):
        return network(head.split()[2])
    _, own_name, resolution, blocks = head.split()
    levels: list[tuple[int, str, int, int, int]] = []
    rows: list[_Row] = []
    outputs: list[tuple[int, int]] = []
    for line in lines:
        if line.startswith("level,"):
            _, parent, operation, kernel, stride, padding = line.split(",")
            levels.append((int(parent), operation, int(kernel), int(stride), int(padding)))
        elif line.startswith("output,"):
            _, channels, level = line.split(",")
            outputs.append((int(channels), int(level)))
        else:
            rows.append(_row(line))
    return Network(own_name, int(resolution), int(blocks), tuple(levels), tuple(rows), tuple(outputs))


def section_text(name: str) -> str:
    """The table's lines for `name`, as they are checked in. Raises UnknownName."""
    section = _sections().get(name)
    if section is None:
        raise UnknownName("network", name, _sections(), listing="selector catalog")
    return section.strip()


@cache  # many layers of a table are alike
def _row(line: str) -> _Row:
    block, kind, cin, cout, kernel, stride, groups, in_level, out_level, flags, act, extra = line.split(",")
    return _Row(
        int(block),
        kind,
        _channels(cin),
        _channels(cout),
        int(kernel),
        int(stride),
        int(groups),
        int(in_level),
        int(out_level),
        flags,
        act,
        int(extra or 0),
    )


def _channels(cell: str) -> int | tuple[int]:
    return (int(cell[1:]),) if cell.startswith("@") else int(cell)


@lru_cache(maxsize=1)
def _sections() -> dict[str, str]:
    """The table's text by network; parsed only for the networks that are asked for."""
    text = (files("selector.backbones") / "data" / "layers.csv").read_text(encoding="utf-8")
    _, *sections = text.split("\n\n")  # the first holds the comments
    return {section.split(" ", 2)[1].split("\n", 1)[0]: section for section in sections}
