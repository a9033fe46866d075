import csv
from pathlib import Path

import pytest

from selector.backbones import catalog
from selector.backbones.catalog import Family
from selector.errors import UnknownName

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"


def test_the_four_families_are_there() -> None:
    assert len(catalog.names()) >= 45
    assert sum(len(catalog.backbones(family)) for family in Family) == len(catalog.names())
    assert all(catalog.backbones(family) for family in Family)


def test_an_unknown_backbone_gets_a_suggestion() -> None:
    with pytest.raises(UnknownName, match=r"'resnet50x'; did you mean 'resnet50"):
        catalog.backbone("resnet50x")


@pytest.mark.parametrize(
    ("name", "blocks"), [("resnet50", 17), ("mobilenetv2_100", 18), ("vgg16", 13), ("vgg16_bn", 13)]
)
def test_blocks_follow_the_rule(name: str, blocks: int) -> None:
    assert len(catalog.backbone(name).blocks) == blocks


def test_blocks_and_classifier_make_up_the_whole() -> None:
    for backbone in catalog.backbones():
        assert sum(block.params for block in backbone.blocks) + backbone.classifier_params == backbone.params
        classifier_macs = backbone.feature_width * 1000
        assert sum(block.macs for block in backbone.blocks) + classifier_macs == backbone.macs_torchvision
        assert sum(block.activations for block in backbone.blocks) + 1000 == backbone.activations


def test_hidden_layers_of_a_vgg_belong_to_its_last_block() -> None:
    vgg = catalog.backbone("vgg16")
    assert vgg.blocks[-1].params > 119e6
    assert vgg.feature_width == 4096


def test_accuracy_is_cited_and_belongs_to_the_default_weights_at_the_stated_resolution() -> None:
    for backbone in catalog.backbones():
        for top1 in (backbone.imagenet_top1, backbone.imagenet_top1_larger):
            if top1 is not None:
                assert top1.weights == backbone.weights
                assert "results-imagenet.csv" in top1.source
        if backbone.imagenet_top1:
            assert backbone.imagenet_top1.resolution == backbone.resolution
        if backbone.weights is None:
            assert backbone.imagenet_top1 is None


@pytest.mark.skipif(not SHARED.is_dir(), reason="the published figures are not beside this checkout")
def test_accuracy_equals_the_published_table() -> None:
    with (SHARED / "imagenet_top1_timm.csv").open(newline="") as file:
        published = {(row["model"], int(row["img_size"])): float(row["top1"]) for row in csv.DictReader(file)}
    for backbone in catalog.backbones():
        expected = published.get((f"{backbone.name}.{backbone.weights}", backbone.resolution))
        assert (backbone.imagenet_top1.value if backbone.imagenet_top1 else None) == expected


@pytest.mark.skipif(not SHARED.is_dir(), reason="the published figures are not beside this checkout")
def test_counts_equal_the_published_benchmark() -> None:
    compared = set()
    with (SHARED / "latency_timm.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            known = row["model"] in catalog.names() and row["gmacs_fvcore"]
            if not known or int(row["resolution"]) != catalog.backbone(row["model"]).resolution:
                continue
            backbone = catalog.backbone(row["model"])
            assert backbone.macs_fvcore / 1e9 == pytest.approx(float(row["gmacs_fvcore"]), abs=0.00501)
            assert backbone.activations / 1e6 == pytest.approx(float(row["activations_m"]), abs=0.00501)
            compared.add(backbone.name)
    assert len(compared) > 40
