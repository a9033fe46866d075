"""Facts of one backbone for the catalog, derived from the model on the meta device. Needs torch and timm."""

from dataclasses import dataclass
from typing import Any

from torch import nn

from selector.backbones import layers
from selector.backbones.blocks import blocks, classifier
from selector.backbones.catalog import Family
from selector.backbones.counting import count
from selector.backbones.trace import meta_model

Top1 = dict[tuple[str, int], float]
"""ImageNet top-1 in percent by (timm id with tag, resolution)."""

SOURCE = "huggingface/pytorch-image-models results/results-imagenet.csv"


@dataclass(frozen=True, slots=True)
class PretrainedConfiguration:
    """What timm states about the default weights of a model. `tag` is None where it publishes no weights."""

    tag: str | None
    resolution: int
    larger_resolution: int | None  # where timm also tests the weights at a larger one than they were trained at
    mean: tuple[float, ...]
    std: tuple[float, ...]
    interpolation: str
    crop_pct: float


def pretrained_configuration(model: nn.Module, name: str) -> PretrainedConfiguration:
    """The configuration of the default weights of `model`, which was built as `name`."""
    config = model.pretrained_cfg
    assert isinstance(config, dict)
    # a network that timm has no name for was built by the generator of another: its weights are not that one's
    published = config.get("architecture") == name and bool(config.get("hf_hub_id") or config.get("url"))
    tested = config.get("test_input_size")
    resolution = int(config["input_size"][-1])
    return PretrainedConfiguration(
        tag=(config.get("tag") or None) if published else None,
        resolution=resolution,
        larger_resolution=int(tested[-1]) if tested and tested[-1] != resolution else None,
        mean=tuple(config["mean"]),
        std=tuple(config["std"]),
        interpolation=config["interpolation"],
        crop_pct=config["crop_pct"],
    )


def facts(name: str, family: Family, top1: Top1) -> dict[str, Any]:
    """One backbone's entry of `catalog.json`. Counts come from the model; `layers` must already hold it."""
    model = meta_model(name)
    config = pretrained_configuration(model, name)
    counted = count(model, config.resolution)
    head = classifier(model)
    return {
        "name": name,
        "family": family.value,
        "params": counted.params,
        "classifier_params": sum(p.numel() for p in head.parameters()),
        "feature_width": next(m.in_features for m in head.modules() if isinstance(m, nn.Linear)),
        "macs_torchvision": counted.macs_torchvision,
        "macs_fvcore": counted.macs_fvcore,
        "activations": counted.activations,
        "resolution": config.resolution,
        "weights": config.tag,
        "preprocessing": {
            "mean": config.mean,
            "std": config.std,
            "interpolation": config.interpolation,
            "crop_pct": config.crop_pct,
        },
        "imagenet_top1": _top1(name, config.tag, config.resolution, top1),
        "imagenet_top1_larger": _top1(name, config.tag, config.larger_resolution, top1),
        "artifact_bytes": counted.artifact_bytes,
        "blocks": _blocks(name, model, config.resolution),
    }


def _top1(name: str, tag: str | None, resolution: int | None, top1: Top1) -> dict[str, Any] | None:
    value = top1.get((f"{name}.{tag}", resolution)) if tag and resolution else None
    if value is None:
        return None
    return {"value": value, "weights": tag, "resolution": resolution, "source": SOURCE}


def _blocks(name: str, model: nn.Module, resolution: int) -> list[list[Any]]:
    """Name, parameters, MACs, activations and convolutions of each block."""
    rows = layers.layers(name, resolution)
    found = []
    for number, block in enumerate(blocks(model), start=1):
        own = [layer for layer in rows if layer.block == number]
        params = sum(p.numel() for p in block.module.parameters())
        found.append([block.name, params, sum(r.macs for r in own), sum(r.activations for r in own), len(own)])
    return found
