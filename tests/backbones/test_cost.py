"""Training costs against two oracles that count what autograd really does.

FlopCounterMode is one, right for ResNet and VGG. It does not divide the gradients of grouped convolutions by their
groups, so the other families have an oracle of their own: each backward call that autograd makes, from its shapes.
"""

from collections.abc import Callable, Iterator
from math import prod
from typing import Any

import pytest
import timm
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from selector.backbones import catalog
from selector.backbones.blocks import blocks
from selector.backbones.catalog import Family
from selector.backbones.cost import cost
from selector.backbones.depth import NAMED_DEPTHS, FreezeDepth
from selector.backbones.freezing import freeze, split
from selector.backbones.trace import meta_model
from selector.errors import InvalidInput

aten = torch.ops.aten
SIDE = 64


class GradientCounter(TorchDispatchMode):
    """Multiply-accumulates of every forward and backward call, with gradients divided by the groups."""

    def __init__(self) -> None:
        super().__init__()
        self.forward = self.weight = self.input = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = func(*args, **(kwargs or {}))
        if func is aten.convolution.default:
            self.forward += prod(out.shape[2:]) * args[1].numel()
        elif func is aten.convolution_backward.default:
            gradient, _, weight = args[:3]
            to_input, to_weight, _ = args[10]
            macs = prod(gradient.shape[2:]) * weight.numel()
            self.input += macs * to_input
            self.weight += macs * to_weight
        elif func is aten.addmm.default:
            self.forward += args[1].numel() * args[2].shape[1]
        elif func is aten.mm.default:  # only the classifier's backward: [classes, n] x [n, width] is the weight's
            macs = args[0].numel() * args[1].shape[1]
            if args[0].shape[1] == 1:
                self.weight += macs
            else:
                self.input += macs
        return out


def by_depth(model: nn.Module, counter: Callable[[], Any]) -> Iterator[tuple[int, Any, list[Any]]]:
    """For every number of frozen blocks: that number, the counter of the tail's forward and backward, and those of
    the prefix's blocks. The prefix is run once, block by block, instead of again at every depth.
    """
    x = torch.empty(1, 3, SIDE, SIDE, device="meta")
    prefix: list[Any] = []
    chain = blocks(model)
    for frozen in range(len(chain) + 1):
        _, tail = split(model, FreezeDepth(str(frozen)))
        with counter() as counted:
            tail(x).sum().backward()
        yield frozen, counted, prefix
        if frozen < len(chain):
            with counter() as counted, torch.no_grad():
                x = chain[frozen].module(x)
            prefix.append(counted)


def drop_norms(module: nn.Module) -> None:
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm2d):
            setattr(module, name, nn.Identity())
        else:
            drop_norms(child)


@pytest.mark.parametrize("name", [b.name for f in (Family.RESNET, Family.VGG) for b in catalog.backbones(f)])
def test_training_macs_equal_flop_counter_mode_at_every_depth(name: str) -> None:
    model = meta_model(name)
    if len(blocks(model)) > 20:
        # norms add nothing to the oracle's count and are most of its time; the test below keeps them
        drop_norms(model)
    for frozen, tail, prefix in by_depth(model, lambda: FlopCounterMode(display=False)):
        found = cost(name, FreezeDepth(str(frozen)), resolution=SIDE)
        assert found.macs_training * 2 == sum(c.get_total_flops() for c in (tail, *prefix)), frozen


@pytest.mark.parametrize("name", ["resnet18", "resnet152d", "vgg11_bn"])
def test_flop_counter_mode_sees_the_same_in_the_whole_model(name: str) -> None:
    model = meta_model(name)
    for text in NAMED_DEPTHS:
        freeze(model, FreezeDepth(text))
        with FlopCounterMode(display=False) as oracle:
            model(torch.empty(1, 3, SIDE, SIDE, device="meta")).sum().backward()
        assert cost(name, FreezeDepth(text), resolution=SIDE).macs_training * 2 == oracle.get_total_flops(), text


@pytest.mark.parametrize(
    "name", [b.name for f in (Family.EFFICIENTNET, Family.MOBILENET) for b in catalog.backbones(f)]
)
def test_training_macs_equal_what_autograd_computes_at_every_named_depth(name: str) -> None:
    model = meta_model(name)
    costs = {text: cost(name, FreezeDepth(text), resolution=SIDE) for text in NAMED_DEPTHS}
    for text, found in costs.items():
        freeze(model, FreezeDepth(text))
        assert found.params_trainable == sum(p.numel() for p in model.parameters() if p.requires_grad), text
    drop_norms(model)  # as above: most of the time and none of the count; the test below keeps them
    for text, found in costs.items():
        freeze(model, FreezeDepth(text))
        with GradientCounter() as oracle:
            model(torch.empty(1, 3, SIDE, SIDE, device="meta")).sum().backward()
        assert (found.macs_forward, found.macs_weight_gradient, found.macs_input_gradient) == (
            oracle.forward,
            oracle.weight,
            oracle.input,
        ), text


@pytest.mark.parametrize("name", ["tf_efficientnet_b0", "mobilenetv1_100", "mobilenetv2_050", "mobilenetv3_small_050"])
def test_training_macs_equal_what_autograd_computes_at_every_depth(name: str) -> None:
    for frozen, tail, prefix in by_depth(meta_model(name), GradientCounter):
        found = cost(name, FreezeDepth(str(frozen)), resolution=SIDE)
        assert found.macs_forward_frozen == sum(c.forward for c in prefix), frozen
        assert found.macs_forward == found.macs_forward_frozen + tail.forward, frozen
        assert (found.macs_weight_gradient, found.macs_input_gradient) == (tail.weight, tail.input), frozen


def test_grouped_gradients_do_not_fall_into_flop_counter_modes_trap() -> None:
    training = cost("mobilenetv2_100", FreezeDepth("none")).macs_training
    assert 2 * training / 1e9 == pytest.approx(1.78, abs=0.01)


def test_a_linear_probe_costs_one_weight_gradient_of_the_classifier() -> None:
    probe = cost("resnet50", FreezeDepth("head"), classes=10)
    assert probe.macs_weight_gradient == 2048 * 10
    assert probe.macs_input_gradient == 0
    assert probe.params_trainable == 2048 * 10 + 10
    assert probe.prefix_output_bytes == 2048 * 4
    assert probe.macs_forward - probe.macs_forward_frozen == 2048 * 10


def test_deeper_freezing_never_costs_more() -> None:
    for backbone in catalog.backbones():
        costs = [cost(backbone.name, FreezeDepth(str(n))) for n in range(len(backbone.blocks) + 1)]
        training = [c.macs_training for c in costs]
        assert training == sorted(training, reverse=True)
        assert costs[0].params_trainable == costs[0].params == backbone.params
        assert costs[0].macs_forward == backbone.macs_torchvision


def test_a_classifier_of_ones_own_counts_as_timm_builds_it() -> None:
    model = timm.create_model("mobilenetv3_large_100", pretrained=False, num_classes=5)
    assert cost("mobilenetv3_large_100", FreezeDepth("none"), classes=5).params == sum(
        p.numel() for p in model.parameters()
    )


def test_bad_questions_are_refused() -> None:
    with pytest.raises(InvalidInput, match="0 classes"):
        cost("resnet50", FreezeDepth("none"), classes=0)
    with pytest.raises(InvalidInput, match="does not fit a backbone of 17 blocks"):
        cost("resnet50", FreezeDepth("18"))
