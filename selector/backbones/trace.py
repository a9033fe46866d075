"""Reads the layer table of one model off a run on the meta device. Needs torch and timm; no weights are allocated.

The model runs block by block. Hooks note each convolution, linear layer and pooling with the sides that it turns
into one another; at the tracing resolution all sides are distinct, so a side names a level.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import timm
import torch
from timm.layers.blur_pool import BlurPool2d
from timm.layers.conv2d_same import Conv2dSame
from timm.layers.pool2d_same import AvgPool2dSame, MaxPool2dSame
from timm.models import efficientnet
from timm.models.vgg import VGG, ConvMlp
from torch import nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from selector.backbones.blocks import blocks, classifier

# networks with published figures that timm does not list under a name, but builds: a width for its own generator
WIDTHS: dict[str, tuple[Callable[..., nn.Module], float]] = {
    "mobilenetv1_025": (efficientnet._gen_mobilenet_v1, 0.25),
    "mobilenetv1_050": (efficientnet._gen_mobilenet_v1, 0.5),
    "mobilenetv1_075": (efficientnet._gen_mobilenet_v1, 0.75),
    "mobilenetv2_130": (efficientnet._gen_mobilenet_v2, 1.3),
}

_ACTIVATIONS = {
    "ReLU": "relu",
    "ReLU6": "relu6",
    "GELU": "gelu",
    "SiLU": "silu",
    "Hardswish": "hardswish",
    "Sigmoid": "sigmoid",
    "Hardsigmoid": "hardsigmoid",
}


def meta_model(name: str) -> nn.Module:
    """The network `name` in eval mode with 1000 classes on the meta device: shapes without memory."""
    with torch.device("meta"):
        if name in WIDTHS:
            build, width = WIDTHS[name]
            model = build("mobilenetv1_100" if "v1" in name else "mobilenetv2_100", width)
        else:
            model = timm.create_model(name, pretrained=False)
    return model.eval()


@dataclass
class _Note:
    """One traced layer, before it is written as a row."""

    block: int
    kind: str
    in_channels: int | str
    out_channels: int | str
    kernel: int
    stride: int
    groups: int
    in_level: int
    out_level: int
    flags: set[str] = field(default_factory=set)
    act: str = ""
    own_params: int = 0
    extra_params: int = 0

    def row(self) -> str:
        flags = "".join(sorted(self.flags))
        cells = [self.block, self.kind, self.in_channels, self.out_channels, self.kernel, self.stride, self.groups]
        return ",".join(map(str, [*cells, self.in_level, self.out_level, flags, self.act, self.extra_params or ""]))


class Trace:
    """The layers, levels and block outputs of `model`, traced on a square image of `side` pixels."""

    def __init__(self, model: nn.Module, side: int) -> None:
        self.notes: list[_Note] = []
        self.levels: list[tuple[int, str, int, int, int]] = []
        self.outputs: list[tuple[int, int]] = []
        self._level_of = {side: 0}
        self._block = 0
        handles = [h for module in model.modules() for h in self._hooks(module)]
        try:
            self._run(model, torch.empty(1, 3, side, side, device="meta"))
        finally:
            for handle in handles:
                handle.remove()

    def _run(self, model: nn.Module, x: torch.Tensor) -> None:
        with _Products(self._product):
            for self._block, block in enumerate(blocks(model), start=1):
                x = self._stage(block.module, x)
                self.outputs.append((x.shape[1], self._level(x.shape[-1] if x.dim() == 4 else 1)))
            self._block += 1
            self._stage(classifier(model), x)

    def _stage(self, module: nn.Module, x: torch.Tensor) -> torch.Tensor:
        start = len(self.notes)
        # detached as behind a frozen prefix: what requires no gradient here is fed by nothing trainable
        out: torch.Tensor = module(x.detach())
        noted = self.notes[start:]
        total = sum(p.numel() for p in module.parameters())
        rest = total - sum(n.own_params + (2 * int(n.out_channels) if "n" in n.flags else 0) for n in noted)
        noted[-1].extra_params = rest  # scales and norms that follow no convolution
        return out

    def _hooks(self, module: nn.Module) -> list[Any]:
        if isinstance(module, (nn.Conv2d, BlurPool2d)):
            return [module.register_forward_hook(self._convolution)]
        if isinstance(module, nn.Linear):
            return [module.register_forward_hook(self._linear)]
        if isinstance(module, nn.BatchNorm2d):
            return [module.register_forward_hook(self._norm)]
        if isinstance(module, (nn.MaxPool2d, nn.AvgPool2d, nn.Upsample)):
            return [module.register_forward_hook(self._resize)]
        if isinstance(module, ConvMlp):
            return [module.register_forward_pre_hook(self._at_least)]
        if type(module).__name__ in _ACTIVATIONS:
            return [module.register_forward_hook(self._activation)]
        return []

    def _level(self, side: int, made_by: tuple[int, str, int, int, int] | None = None) -> int:
        if side not in self._level_of:
            # a side that no operation made comes from global pooling
            self.levels.append(made_by or (0, "one", 0, 0, 0))
            self._level_of[side] = len(self.levels)
        return self._level_of[side]

    def _convolution(self, module: nn.Module, args: tuple[torch.Tensor, ...], out: torch.Tensor) -> None:
        x = args[0]
        if isinstance(module, BlurPool2d):
            channels = x.shape[1]
            kernel, stride, padding, groups, flags = (
                module.filt_size,
                module.stride,
                _one(module.padding),
                channels,
                {"f"},
            )
            own = 0
        else:
            assert isinstance(module, nn.Conv2d)
            assert module.kernel_size[0] == module.kernel_size[1]
            assert module.dilation == (1, 1)
            kernel, stride, groups = module.kernel_size[0], module.stride[0], module.groups
            padding = 0 if isinstance(module.padding, str) else _one(module.padding)
            flags = {"b"} if module.bias is not None else set()
            own = sum(p.numel() for p in module.parameters())
        before = self._level(x.shape[-1])
        same = isinstance(module, Conv2dSame)
        after = self._level(out.shape[-1], (before, "same" if same else "floor", int(kernel), int(stride), padding))
        cin, cout = x.shape[1], out.shape[1]
        if not x.requires_grad:
            flags = flags | {"i"}
        kind = _kind(cin, groups, int(kernel))
        note = _Note(self._block, kind, cin, cout, int(kernel), int(stride), groups, before, after, flags)
        note.own_params = own
        self.notes.append(note)

    def _linear(self, module: nn.Module, args: tuple[torch.Tensor, ...], out: torch.Tensor) -> None:
        assert isinstance(module, nn.Linear)
        assert out.dim() == 2, "a linear layer on pooled features"
        flags = {"b"} if module.bias is not None else set()
        if not args[0].requires_grad:
            flags |= {"i"}
        level = self._level(1)
        cin, cout = module.in_features, module.out_features
        note = _Note(self._block, "l", cin, cout, 1, 1, 1, level, level, flags)
        note.own_params = sum(p.numel() for p in module.parameters())
        self.notes.append(note)

    def _norm(self, module: nn.Module, args: tuple[torch.Tensor, ...], out: torch.Tensor) -> None:
        last = self.notes[-1]
        # a norm in front of a block's first layer, or of attention, follows no convolution of this block
        if last.block == self._block and last.out_channels == out.shape[1] and last.kind != "m" and last.act == "":
            last.flags.add("n")

    def _activation(self, module: nn.Module, args: tuple[torch.Tensor, ...], out: torch.Tensor) -> None:
        last = self.notes[-1]
        if last.block == self._block and not last.act:
            last.act = _ACTIVATIONS[type(module).__name__]

    def _resize(self, module: nn.Module, args: tuple[torch.Tensor, ...], out: torch.Tensor) -> None:
        before = self._level(args[0].shape[-1])
        if isinstance(module, nn.Upsample):
            made_by = (before, "times", 0, round(out.shape[-1] / args[0].shape[-1]), 0)
        else:
            assert isinstance(module, (nn.MaxPool2d, nn.AvgPool2d))
            if isinstance(module, (AvgPool2dSame, MaxPool2dSame)):
                rounding = "same"
            else:
                rounding = "ceil" if module.ceil_mode else "floor"
            made_by = (before, rounding, _one(module.kernel_size), _one(module.stride), _one(module.padding))
        self._level(out.shape[-1], made_by)

    def _at_least(self, module: nn.Module, args: tuple[torch.Tensor, ...]) -> None:
        assert isinstance(module, ConvMlp)
        side = args[0].shape[-1]
        self.levels.append((self._level(side), "least", module.input_kernel_size, 0, 0))
        self._level_of[side] = len(self.levels)

    def _product(self, a: torch.Tensor, b: torch.Tensor, out: torch.Tensor, *, attends: bool) -> None:
        heads, tokens, inner, width = out.shape[1], out.shape[2], a.shape[3], out.shape[3]
        level = self._tokens(tokens)
        cin: int | str = inner if attends else f"@{self._tokens(inner)}"
        cout: int | str = f"@{self._tokens(width)}" if attends else width
        self.notes.append(_Note(self._block, "m", cin, cout, 0, 1, heads, level, level))

    def _tokens(self, count: int) -> int:
        return self._level_of[round(count**0.5)]


class _Products(TorchFunctionMode):
    """Notes the two products of attention: scores [n, heads, queries, keys], then values [n, heads, queries, dim]."""

    def __init__(self, note: Callable[..., None]) -> None:
        super().__init__()
        self._note = note

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        out = func(*args, **(kwargs or {}))
        if func is F.scaled_dot_product_attention:
            query, key, value = args[:3]
            scores = torch.empty(*query.shape[:3], key.shape[2], device="meta")
            self._note(query, key, scores, attends=True)
            self._note(scores, value, out, attends=False)
        return out


def _kind(in_channels: int, groups: int, kernel: int) -> str:
    if groups == 1:
        return "p" if kernel == 1 else "c"
    return "d" if groups == in_channels else "g"


def _one(size: Any) -> int:
    """The side of a square kernel, stride or padding, whichever way torch or timm hold it."""
    if isinstance(size, int):
        return size
    assert len(set(size)) == 1
    return int(size[0])


def tracing_side(model: nn.Module, resolution: int) -> int:
    """A resolution at which all sides inside `model` differ from one another."""
    # at 224 px VGG's 7x7 convolution leaves one pixel, which global pooling would leave as well
    return 2 * resolution if isinstance(model, VGG) else resolution


def section(name: str, model: nn.Module, resolution: int) -> str:
    """The layer table's lines for one network."""
    traced = Trace(model, tracing_side(model, resolution))
    lines = [f"network {name} {resolution} {len(traced.outputs)}"]
    lines += [",".join(map(str, ("level", *level))) for level in traced.levels]
    lines += [f"output,{channels},{level}" for channels, level in traced.outputs]
    lines += [note.row() for note in traced.notes]
    return "\n".join(lines)
