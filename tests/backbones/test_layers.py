import subprocess
import sys

import pytest

from selector import resources
from selector.backbones import layers
from selector.errors import InvalidInput, UnknownName


def test_names_of_networks_are_read_without_the_table() -> None:
    assert resources.network_names() == set(layers.networks())


def test_resnet50_reads_as_its_paper() -> None:
    rows = layers.layers("resnet50")
    first, last = rows[0], rows[-1]
    assert (first.kind, first.kernel_h, first.stride, first.in_h, first.out_h) == ("conv", 7, 2, 224, 112)
    assert (first.norm, first.act, first.bias, first.block) == (True, "relu", False, 1)
    assert first.macs == 112 * 112 * 64 * 3 * 49
    assert (last.kind, last.in_channels, last.out_channels, last.block) == ("linear", 2048, 1000, 18)
    assert [row.index for row in rows] == list(range(54))


def test_kinds_of_an_inverted_residual_with_squeeze_and_excitation() -> None:
    block = [row for row in layers.layers("efficientnet_b0") if row.block == 3]
    assert [row.kind for row in block] == ["pointwise", "depthwise", "pointwise", "pointwise", "pointwise"]
    assert [row.in_h for row in block] == [112, 112, 1, 1, 56]
    assert [row.act for row in block] == ["silu", "silu", "silu", "sigmoid", ""]
    assert block[1].groups == block[1].in_channels
    assert [row.reads_block_input for row in block] == [True, False, False, False, False]


def test_attention_is_two_products_whose_size_follows_the_resolution() -> None:
    products = [row for row in layers.layers("mobilenetv4_hybrid_medium", 256) if row.kind == "matmul"]
    larger = [row for row in layers.layers("mobilenetv4_hybrid_medium", 512) if row.kind == "matmul"]
    assert products
    assert len(products) % 2 == 0
    assert all(big.macs == 16 * small.macs for big, small in zip(larger, products, strict=True))
    assert all(row.params == 0 for row in products)


def test_vgg_has_its_own_rule_below_its_default_resolution() -> None:
    # the hidden layer wants 7x7 features: smaller ones are pooled up to that, and one pixel comes out
    below, default, above = (layers.layers("vgg16", side)[-3] for side in (64, 224, 320))
    assert (below.in_h, below.out_h) == (7, 1)
    assert (default.in_h, default.out_h) == (7, 1)
    assert (above.in_h, above.out_h) == (10, 4)


def test_aliases_name_the_same_network() -> None:
    assert layers.layers("mobilenetv3_large_100_miil") == layers.layers("mobilenetv3_large_100")


def test_block_outputs_end_in_the_features_that_the_classifier_reads() -> None:
    outputs = layers.block_outputs("resnet50")
    assert len(outputs) == 17
    assert outputs[0] == (64, 56, 56)
    assert outputs[-1] == (2048, 1, 1)


def test_bad_questions_are_refused() -> None:
    with pytest.raises(UnknownName, match="did you mean 'resnet50'"):
        layers.layers("resnet5O")
    with pytest.raises(InvalidInput, match="too small for vgg16"):
        layers.layers("vgg16", 16)
    with pytest.raises(InvalidInput, match="too small"):
        layers.layers("resnet50", 0)


def test_neither_table_nor_catalog_needs_torch() -> None:
    code = (
        "import sys; from selector.backbones import catalog, cost, depth, layers;"
        "[layers.layers(n) for n in layers.networks()]; catalog.backbones();"
        "cost.cost('resnet50', depth.FreezeDepth('head')); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
