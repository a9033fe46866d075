"""What a backbone costs at a freeze depth, from the layer table. Needs no torch.

The identity: backward = the weight gradients of all trainable layers + the input gradients of the layers above the
lowest trainable one. Each equals the layer's forward multiply-accumulates; a product of two activations (attention)
has no weights and one gradient for each factor. A frozen prefix costs no backward, and what reads the prefix's output
(or the image) directly needs no input gradient. Multiply-accumulates are torchvision's convention.
"""

from dataclasses import dataclass, replace

from selector.backbones.depth import FreezeDepth
from selector.backbones.layers import Layer, block_outputs, layers
from selector.errors import InvalidInput


@dataclass(frozen=True, slots=True)
class Cost:
    """Cost of one image (batch size 1) through one network at one freeze depth and resolution."""

    frozen_blocks: int
    total_blocks: int
    resolution: int
    params: int
    params_trainable: int
    macs_forward: int
    macs_forward_frozen: int  # the share of the frozen prefix: what an activation cache saves in each epoch
    macs_weight_gradient: int
    macs_input_gradient: int
    activations: int
    prefix_output_shape: tuple[int, int, int]  # channels, height, width of what the tail reads
    prefix_output_bytes: int  # as fp32; half of it in half precision

    @property
    def macs_backward(self) -> int:
        """Weight and input gradients."""
        return self.macs_weight_gradient + self.macs_input_gradient

    @property
    def macs_training(self) -> int:
        """Forward and backward of one image, the frozen prefix's forward included."""
        return self.macs_forward + self.macs_backward


def cost(name: str, depth: FreezeDepth, *, resolution: int | None = None, classes: int = 1000) -> Cost:
    """Cost of the network `name` frozen to `depth` with a classifier of `classes` outputs.

    Raises UnknownName for a network without a layer table, InvalidInput for a resolution too small for it, for a depth
    that it has not enough blocks for, or for fewer than one class.
    """
    if classes < 1:
        raise InvalidInput(f"{classes} classes: a classifier has at least one")
    rows = [_resized(layer, classes) for layer in layers(name, resolution)]
    outputs = block_outputs(name, resolution)
    total = len(outputs)
    frozen = depth.frozen_blocks(total)
    side = rows[0].in_h
    trainable = [layer for layer in rows if layer.block > frozen]
    shape = outputs[frozen - 1] if frozen else (3, side, side)
    return Cost(
        frozen_blocks=frozen,
        total_blocks=total,
        resolution=side,
        params=sum(layer.params for layer in rows),
        params_trainable=sum(layer.params for layer in trainable),
        macs_forward=sum(layer.macs for layer in rows),
        macs_forward_frozen=sum(layer.macs for layer in rows if layer.block <= frozen),
        macs_weight_gradient=sum(layer.macs for layer in trainable if _has_weights(layer)),
        macs_input_gradient=sum(_input_gradient(layer, frozen) for layer in trainable),
        activations=sum(layer.activations for layer in rows),
        prefix_output_shape=shape,
        prefix_output_bytes=4 * shape[0] * shape[1] * shape[2],
    )


def _has_weights(layer: Layer) -> bool:
    """Not so for a product of two activations and for a fixed filter."""
    return layer.kind != "matmul" and layer.params > 2 * layer.out_channels * layer.norm


def _input_gradient(layer: Layer, frozen: int) -> int:
    if layer.block == frozen + 1 and layer.reads_block_input:
        return 0  # its input comes from the frozen prefix or the image
    return layer.macs * (2 if layer.kind == "matmul" else 1)


def _resized(layer: Layer, classes: int) -> Layer:
    if layer.kind != "linear":  # the classifier is the only linear layer of these families
        return layer
    weights = layer.in_channels * classes
    return replace(
        layer, out_channels=classes, macs=weights, params=weights + classes * layer.bias, activations=classes
    )
