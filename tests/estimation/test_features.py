"""Work of a backbone by kind of kernel."""

import numpy as np
import pytest

from selector.backbones.layers import layers
from selector.errors import InvalidInput, UnknownName
from selector.estimation.configuration import Subject, terms_of
from selector.estimation.features import LARGE, TERMS, saved_elements, tail_terms, work

NAMES = [name for name, _ in TERMS]


def term(backbone: str, resolution: int, name: str) -> float:
    return float(work(backbone, resolution).terms[NAMES.index(name)])


@pytest.mark.parametrize("backbone", ["resnet50", "vgg16", "efficientnet_b0", "mobilenetv3_large_100"])
def test_arithmetic_is_all_of_the_layers(backbone: str) -> None:
    counted = sum(term(backbone, 224, kind) for kind in ("dense", "stem", "pointwise", "depthwise"))
    assert counted == sum(layer.macs for layer in layers(backbone, 224))


def test_weights_are_all_of_the_layers() -> None:
    own = sum(
        row.out_channels * row.in_channels // row.groups * row.kernel_h * row.kernel_w
        for row in layers("mobilenetv2_100", 224)
    )
    assert term("mobilenetv2_100", 224, "weights") + term("mobilenetv2_100", 224, "vector weights") == own


def test_vggs_fully_connected_layers_are_vector_weights() -> None:
    assert term("vgg16", 224, "vector weights") > 100e6
    assert term("resnet50", 224, "vector weights") < 3e6


def test_what_makes_families_differ_is_seen() -> None:
    assert term("efficientnet_b0", 224, "squeeze") > 0 == term("mobilenetv2_100", 224, "squeeze")
    assert term("tf_efficientnet_b0", 224, "padding") > 0 == term("efficientnet_b0", 224, "padding")
    assert term("efficientnet_b0", 224, "costly activation") > 0 == term("efficientnet_lite0", 224, "costly activation")
    assert term("vgg16_bn", 224, "elementwise") > term("vgg16", 224, "elementwise")


def test_a_compiled_graph_does_less_that_is_elementwise() -> None:
    own = work("resnet50", 224)
    elementwise = NAMES.index("elementwise")
    assert 0 < own.fused_terms[elementwise] < 0.5 * own.terms[elementwise]
    np.testing.assert_array_equal(np.delete(own.fused_terms, elementwise), np.delete(own.terms, elementwise))


def test_the_stem_is_no_dense_convolution() -> None:
    assert term("mobilenetv2_100", 224, "stem") > 0 == term("mobilenetv2_100", 224, "dense")
    assert term("resnet50", 224, "dense") > 10 * term("resnet50", 224, "stem") > 0


def test_a_compiler_pads_while_it_writes_unless_the_activation_is_costly() -> None:
    padding = NAMES.index("padding")
    cheap, costly = work("tf_efficientnet_lite0", 224), work("tf_efficientnet_b0", 224)
    image = 2.0 * 3 * 226**2
    assert cheap.fused_terms[padding] == image < 0.1 * cheap.terms[padding]
    assert costly.fused_terms[padding] == costly.terms[padding]


def test_what_leaves_the_caches_depends_on_them() -> None:
    large = NAMES.index("large layers")
    none, some, all_of_it = (work("vgg16", 224).within(cache, fuses=False)[large] for cache in (0.0, 2e6, 1e9))
    assert none > some > all_of_it == 0
    one, many = (terms_of([Subject("vgg16", 224, batch)], cache=2e6)[0][large] for batch in (1, 64))
    assert one == pytest.approx(some)
    assert many > one


def test_larger_images_are_more_work_but_not_more_weights() -> None:
    small, large = work("resnet50", 160).terms, work("resnet50", 320).terms
    weights = NAMES.index("weights")
    assert small[weights] == large[weights]
    assert np.all(large >= small)


def test_a_frozen_prefix_leaves_less_in_the_tail() -> None:
    whole = tail_terms("resnet50", 224, 0)
    np.testing.assert_array_equal(whole, work("resnet50", 224).within(LARGE, fuses=False))
    tail = tail_terms("resnet50", 224, 14)
    assert np.all(tail <= whole)
    assert 0 < tail.sum() < whole.sum()
    assert saved_elements("resnet50", 224, 14) < saved_elements("resnet50", 224, 0)


def test_unknown_networks_and_vanishing_images_are_refused() -> None:
    with pytest.raises(UnknownName, match="resnet50"):
        work("resnet5", 224)
    with pytest.raises(InvalidInput, match="too small"):
        work("vgg16", 8)
