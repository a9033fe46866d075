"""Counts of a model in two conventions, with coverage. Needs torch; allocates no weights (meta device).

- torchvision's, as in its weights' metadata `_ops` (there labelled GFLOPS): multiply-accumulates of convolutions,
  linear layers, matrix products and attention. ResNet-50 at 224 px: 4.089 G.
- fvcore's (facebookresearch/fvcore, `nn/flop_count.py`): the same without fused attention, plus 2 for each element
  that goes through an eval BatchNorm with scale and shift, 1 for each element that goes into adaptive average
  pooling, 4 for each element that bilinear upsampling puts out. ResNet-50 at 224 px: 4.112 G; timm's `gmacs` follow it.

Calls are seen at the level of torch's functions, whatever module makes them.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import torch
from torch import nn
from torch.func import functional_call
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode, resolve_name


@dataclass(frozen=True, slots=True)
class Coverage:
    """Which of torch's functions a convention counts and which it leaves out, with the number of calls."""

    counted: Mapping[str, int]
    ignored: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Counts:
    """What one model costs for one image. `activations` are the elements that convolutions and linear layers put out.

    `artifact_bytes` is the size of the state dict's tensors: parameters and buffers, without the file's own header.
    """

    resolution: int
    params: int
    params_trainable: int
    buffers: int
    artifact_bytes: int
    macs_torchvision: int
    macs_fvcore: int
    activations: int
    coverage_torchvision: Coverage
    coverage_fvcore: Coverage


def count(model: nn.Module | str, resolution: int) -> Counts:
    """Counts of `model`, or of the network of that name with 1000 classes, on one square image in eval mode.

    A real model stays where it is: its tensors are stood in for by meta tensors. Raises InvalidInput or the model's
    own error where the image is too small.
    """
    if isinstance(model, str):
        from selector.backbones.trace import meta_model  # here: counting a module that one holds needs no timm

        model = meta_model(model)
    tensors = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    stand_ins = {name: tensor.detach().to("meta") for name, tensor in tensors.items()}
    calls = _Calls()
    modes = {module: module.training for module in model.modules()}
    image = torch.empty(1, 3, resolution, resolution, device="meta")
    try:
        model.eval()
        with torch.no_grad(), calls:
            functional_call(model, stand_ins, (image,))
    finally:
        for module, mode in modes.items():
            module.training = mode
    state = model.state_dict()
    return Counts(
        resolution=resolution,
        params=sum(p.numel() for p in model.parameters()),
        params_trainable=sum(p.numel() for p in model.parameters() if p.requires_grad),
        buffers=sum(b.numel() for b in model.buffers()),
        artifact_bytes=sum(t.numel() * t.element_size() for t in state.values()),
        macs_torchvision=calls.macs["torchvision"],
        macs_fvcore=calls.macs["fvcore"],
        activations=calls.activations,
        coverage_torchvision=calls.coverage("torchvision"),
        coverage_fvcore=calls.coverage("fvcore"),
    )


Operation = Callable[[tuple[Any, ...], dict[str, Any], torch.Tensor], int]


def _convolution(args: tuple[Any, ...], kwargs: dict[str, Any], out: torch.Tensor) -> int:
    weight = args[1] if len(args) > 1 else kwargs["weight"]
    # the filter's own shape [out, in / groups, k, k] already accounts for groups
    return out.shape[0] * prod(out.shape[2:]) * int(weight.numel())


def _linear(args: tuple[Any, ...], kwargs: dict[str, Any], out: torch.Tensor) -> int:
    return out.numel() * int(args[0].shape[-1])


def _attention(args: tuple[Any, ...], kwargs: dict[str, Any], out: torch.Tensor) -> int:
    query, key, value = args[:3]
    # scores and weighted values: [queries, dim] x [dim, keys], then [queries, keys] x [keys, dim]
    per_row = int(key.shape[-2]) * int(query.shape[-1] + value.shape[-1])
    return int(prod(query.shape[:-1])) * per_row


def _batch_norm(args: tuple[Any, ...], kwargs: dict[str, Any], out: torch.Tensor) -> int:
    weight = args[3] if len(args) > 3 else kwargs.get("weight")
    return out.numel() * (2 if weight is not None else 1)


def _elements_in(args: tuple[Any, ...], kwargs: dict[str, Any], out: torch.Tensor) -> int:
    return int(args[0].numel())


def _upsample(args: tuple[Any, ...], kwargs: dict[str, Any], out: torch.Tensor) -> int:
    return out.numel() * (4 if kwargs.get("mode") == "bilinear" else 1)


_PRODUCTS: dict[Any, Operation] = {
    F.conv2d: _convolution,
    F.linear: _linear,
    torch.matmul: _linear,
    torch.bmm: _linear,
    torch.Tensor.matmul: _linear,
    torch.Tensor.__matmul__: _linear,
}
_CONVENTIONS: dict[str, dict[Any, Operation]] = {
    "torchvision": {**_PRODUCTS, F.scaled_dot_product_attention: _attention},
    "fvcore": {
        **_PRODUCTS,
        F.batch_norm: _batch_norm,
        F.adaptive_avg_pool2d: _elements_in,
        F.interpolate: _upsample,
    },
}
_PUT_OUT_ACTIVATIONS = (F.conv2d, F.linear)


class _Calls(TorchFunctionMode):
    """Sums the multiply-accumulates of every call in both conventions. A call inside a call is not seen again."""

    def __init__(self) -> None:
        super().__init__()
        self.macs: Counter[str] = Counter()
        self.activations = 0
        self._calls: Counter[Any] = Counter()

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        out = func(*args, **kwargs)
        if not isinstance(out, torch.Tensor) or _only_rearranges(func):
            return out
        self._calls[func] += 1
        for convention, operations in _CONVENTIONS.items():
            if func in operations:
                self.macs[convention] += operations[func](args, kwargs, out)
        if func in _PUT_OUT_ACTIVATIONS:
            self.activations += out.numel()
        return out

    def coverage(self, convention: str) -> Coverage:
        operations = _CONVENTIONS[convention]
        named = {func: resolve_name(func) or getattr(func, "__name__", str(func)) for func in self._calls}
        return Coverage(
            {named[func]: n for func, n in self._calls.items() if func in operations},
            {named[func]: n for func, n in self._calls.items() if func not in operations},
        )


_REARRANGING = frozenset(
    {"reshape", "view", "flatten", "permute", "transpose", "contiguous", "unsqueeze", "squeeze", "expand", "detach"}
)


def _only_rearranges(func: Callable[..., Any]) -> bool:
    """Whether a call computes nothing: reading an attribute, or another view of the same elements."""
    name = getattr(func, "__name__", "")
    return name in _REARRANGING or name == "__get__"
