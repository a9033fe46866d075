"""Practice P10 as it is written: PyTorch's dynamic quantisation of Linear layers, kept as a plain file of tensors.

`torch.ao.quantization` is deprecated in favour of torchao, whose int8 scheme is another one (a scale per output
channel and per token); it is used here as long as torch carries it, because P10 names it. In a convolutional network
it touches the classifier alone: weights become int8 with one scale per tensor, activations are quantised as they come.
"""

import copy
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from selector.errors import MeasurementFailed

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch

_PARTS = ("weight_int8", "weight_scale", "weight_zero_point")


def quantise(module: "torch.nn.Module") -> "torch.nn.Module":
    """A copy of `module` with its Linear layers quantised. Raises MeasurementFailed where torch no longer can.

    Torch looks for `nn.Linear` itself and passes over subclasses, among them the classifiers of timm's MobileNetV3:
    they are made plain first, with the same weights.
    """
    import torch

    plain = copy.deepcopy(module)
    for name, layer in module.named_modules():
        if isinstance(layer, torch.nn.Linear) and type(layer) is not torch.nn.Linear:
            same = torch.nn.Linear(layer.in_features, layer.out_features, layer.bias is not None).eval()
            same.load_state_dict(layer.state_dict())
            plain.set_submodule(name, same)

    with _deprecated_quietly():
        try:
            from torch.ao.quantization import quantize_dynamic
        except ImportError as error:
            raise MeasurementFailed(
                f"torch {torch.__version__} no longer carries quantize_dynamic, which int8-dynamic is defined by"
            ) from error
        quantised: torch.nn.Module = quantize_dynamic(  # type: ignore[no-untyped-call]
            plain, {torch.nn.Linear}, dtype=torch.qint8, inplace=True
        )
    return quantised


def quantised_state(module: "torch.nn.Module") -> "dict[str, torch.Tensor]":
    """The tensors of the quantised `module`: of each Linear layer its int8 weights, their scale and zero point.

    Raises MeasurementFailed where there is no Linear layer: the file would be the fp32 one under another name.
    """
    import torch

    quantised = quantise(module)
    state: dict[str, torch.Tensor] = {}
    with _deprecated_quietly():
        from torch.ao.nn.quantized.dynamic import Linear
    linear: dict[str, Any] = {name: layer for name, layer in quantised.named_modules() if isinstance(layer, Linear)}
    if not linear:
        raise MeasurementFailed("the model has no Linear layer, which is all that dynamic quantisation touches")
    for name, tensor in module.state_dict().items():
        owner, _, part = name.rpartition(".")
        if owner not in linear or part != "weight":
            state[name] = tensor.contiguous()
    for name, layer in linear.items():
        weight = layer.weight()
        values = (weight.int_repr(), torch.tensor(weight.q_scale()), torch.tensor(weight.q_zero_point()))
        state.update({f"{name}.{part}": value for part, value in zip(_PARTS, values, strict=True)})
    return state


def load_quantised(module: "torch.nn.Module", state: "dict[str, torch.Tensor]") -> None:
    """Fill `module`, in place, from what `quantised_state` gave. Raises RuntimeError where the two do not fit."""
    import torch

    rest = dict(state)
    layers: dict[str, Any] = {}
    with _deprecated_quietly():
        from torch.ao.nn.quantized.dynamic import Linear

        for name in [key.removesuffix(".weight_int8") for key in state if key.endswith(".weight_int8")]:
            integers, scale, zero_point = (rest.pop(f"{name}.{part}") for part in _PARTS)
            outputs, inputs = integers.shape
            layers[name] = Linear(inputs, outputs, dtype=torch.qint8)  # type: ignore[no-untyped-call]
            weight = torch._make_per_tensor_quantized_tensor(integers, scale.item(), int(zero_point.item()))
            layers[name].set_weight_bias(weight, rest.pop(f"{name}.bias", None))
    missing, left_over = module.load_state_dict(rest, assign=True, strict=False)
    missing = [name for name in missing if name.rpartition(".")[0] not in layers]
    if missing or left_over:
        raise RuntimeError(f"the file does not fit the model: {len(missing)} missing, {len(left_over)} left over")
    for name, layer in layers.items():
        module.set_submodule(name, layer)


@contextmanager
def _deprecated_quietly() -> "Iterator[None]":
    """Torch announces the deprecation at each call; who runs a benchmark can do nothing about it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", UserWarning)  # the same, of the quantised tensors' constructors
        yield
