"""The checked-in data equals a fresh derivation, and the layer table is exact at any resolution."""

import json

import pytest

from selector.backbones import catalog, derive, facts, layers, trace
from selector.backbones.counting import count

ENTRIES = {
    entry["name"]: entry
    for entry in json.loads((derive.DATA / "catalog.json").read_text(encoding="utf-8"))["backbones"]
}
TOP1 = derive.kept_top1({"backbones": list(ENTRIES.values())})
FAMILY_OF = {name: family for family, names in derive.CATALOG.items() for name in names}
NETWORKS = (*derive.catalog_names(), *derive.OTHERS)


def test_the_data_hold_exactly_what_derive_lists() -> None:
    assert tuple(ENTRIES) == derive.catalog_names() == catalog.names()
    assert layers.networks() == (*NETWORKS, *derive.ALIASES)


@pytest.mark.parametrize("name", NETWORKS)
def test_regenerated_data_equal_the_checked_in(name: str) -> None:
    model = trace.meta_model(name)
    resolution = facts.pretrained_configuration(model, name).resolution
    checked_in = layers.section_text(name)
    assert trace.section(name, model, resolution) == checked_in

    odd = 161 if "hybrid" not in name else 160  # attention with strides wants sides that divide
    counted = count(model, odd)
    rows = layers.layers(name, odd)
    assert sum(row.macs for row in rows) == counted.macs_torchvision
    assert sum(row.activations for row in rows if row.kind != "matmul") == counted.activations
    assert sum(row.params for row in rows) == counted.params

    if name in FAMILY_OF:
        fresh = json.loads(json.dumps(facts.facts(name, FAMILY_OF[name], TOP1)))
        assert fresh == ENTRIES[name]


@pytest.mark.parametrize(
    "name", ["resnet50d", "vgg11", "tf_efficientnet_b0", "mobilenetv2_130", "mobilenetv4_conv_aa_medium"]
)
@pytest.mark.parametrize("resolution", [97, 128, 193, 300])
def test_layers_are_exact_at_any_resolution(name: str, resolution: int) -> None:
    counted = count(trace.meta_model(name), resolution)
    rows = layers.layers(name, resolution)
    assert sum(row.macs for row in rows) == counted.macs_torchvision
    assert sum(row.activations for row in rows) == counted.activations
