import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
import torchvision
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from selector.backbones import layers
from selector.backbones.counting import count

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
FAMILY_PREFIXES = ("resnet", "vgg", "efficientnet", "mobilenet")
SAME_NETWORK = {
    **{f"resnet{depth}": f"resnet{depth}" for depth in (18, 34, 50, 101, 152)},
    **{f"vgg{depth}{norm}": f"vgg{depth}{norm}" for depth in (11, 13, 16, 19) for norm in ("", "_bn")},
    **{f"efficientnet_b{i}": f"tf_efficientnet_b{i}" for i in range(8)},
    "mobilenet_v2": "mobilenetv2_100",
    "mobilenet_v3_large": "mobilenetv3_large_100",
    "mobilenet_v3_small": "mobilenetv3_small_100",
}


def published_weights() -> Iterator[tuple[str, Any]]:
    for name in torchvision.models.list_models(module=torchvision.models):
        if name.startswith(FAMILY_PREFIXES):
            for weights in torchvision.models.get_model_weights(name):
                yield name, weights


def test_the_registry_has_all_four_families() -> None:
    names = {name for name, _ in published_weights()}
    assert set(SAME_NETWORK) <= names


@pytest.mark.parametrize(("name", "weights"), [pytest.param(n, w, id=f"{n}-{w.name}") for n, w in published_weights()])
def test_forward_macs_equal_torchvisions_published_ops(name: str, weights: Any) -> None:
    with torch.device("meta"):
        model = torchvision.models.get_model(name, weights=None)
    side = weights.transforms().crop_size[0]
    assert round(count(model, side).macs_torchvision / 1e9, 3) == weights.meta["_ops"]
    if name in SAME_NETWORK:
        ours = sum(layer.macs for layer in layers.layers(SAME_NETWORK[name], side))
        assert round(ours / 1e9, 3) == weights.meta["_ops"]


@pytest.mark.parametrize(
    "name", ["resnet26d", "vgg11_bn", "efficientnet_b0", "tf_mobilenetv3_small_075", "mobilenetv2_050"]
)
def test_the_other_convention_equals_fvcore(name: str) -> None:
    from fvcore.nn import ActivationCountAnalysis, FlopCountAnalysis

    model = timm.create_model(name, pretrained=False).eval()
    image = torch.zeros(1, 3, 64, 64)
    oracle = FlopCountAnalysis(model, image).unsupported_ops_warnings(False)
    counted = count(model, 64)
    assert counted.macs_fvcore == oracle.total()
    assert counted.activations == ActivationCountAnalysis(model, image).unsupported_ops_warnings(False).total()


def test_the_other_convention_counts_pooling_and_upsampling_as_fvcore() -> None:
    from fvcore.nn import FlopCountAnalysis

    model = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.Upsample(scale_factor=2, mode="bilinear"), nn.AdaptiveAvgPool2d(5)
    ).eval()
    oracle = FlopCountAnalysis(model, torch.zeros(1, 3, 16, 16)).unsupported_ops_warnings(False)
    assert count(model, 16).macs_fvcore == oracle.total()


@pytest.mark.skipif(not SHARED.is_dir(), reason="the published figures are not beside this checkout")
def test_counts_equal_the_published_ones_away_from_the_default_resolution() -> None:
    wanted = {
        ("resnet50", 176),
        ("mobilenetv1_100h", 256),
        ("efficientnet_b1", 288),
        ("mobilenetv4_conv_blur_medium", 256),
    }
    seen = set()
    with (SHARED / "latency_timm.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            key = (row["model"], int(row["resolution"]))
            if key in wanted - seen and row["gmacs_fvcore"]:
                seen.add(key)
                assert count(*key).macs_fvcore / 1e9 == pytest.approx(float(row["gmacs_fvcore"]), abs=0.00501)
    assert seen == wanted


def test_coverage_says_what_is_counted_and_what_is_not() -> None:
    counted = count("mobilenetv3_small_050", 64)
    tv, fv = counted.coverage_torchvision, counted.coverage_fvcore
    assert set(tv.counted) == {"torch.nn.functional.conv2d", "torch.nn.functional.linear"}
    assert "torch.nn.functional.batch_norm" in tv.ignored
    assert "torch.nn.functional.batch_norm" in fv.counted
    assert "torch.nn.functional.hardswish" in fv.ignored
    assert fv.counted["torch.nn.functional.batch_norm"] == 34


def test_grouped_convolutions_are_divided_by_their_groups() -> None:
    dense, depthwise = nn.Conv2d(8, 8, 3, padding=1), nn.Conv2d(8, 8, 3, padding=1, groups=8)
    model = nn.Sequential(nn.Conv2d(3, 8, 1), dense)
    grouped = nn.Sequential(nn.Conv2d(3, 8, 1), depthwise)
    rest = 16 * 16 * 3 * 8
    assert count(model, 16).macs_torchvision - rest == 8 * (count(grouped, 16).macs_torchvision - rest)


def test_a_real_model_is_counted_as_it_stands() -> None:
    model = timm.create_model("resnet18", pretrained=False, num_classes=7).train()
    model.layer1.eval()
    model.conv1.requires_grad_(False)
    counted = count(model, 64)
    state = model.state_dict()
    assert counted.params == sum(p.numel() for p in model.parameters())
    assert counted.params - counted.params_trainable == model.conv1.weight.numel()
    assert counted.artifact_bytes == sum(t.numel() * t.element_size() for t in state.values())
    assert model.training
    assert not model.layer1.training
    assert model.conv1.weight.device.type == "cpu"


def test_counting_by_name_allocates_no_weights() -> None:
    class Allocations(TorchDispatchMode):
        largest = 0

        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            out = func(*args, **(kwargs or {}))
            if isinstance(out, torch.Tensor) and out.device.type != "meta":
                self.largest = max(self.largest, out.numel())
            return out

    with Allocations() as seen:
        assert count("vgg19", 224).params > 143e6
    assert seen.largest < 10_000
