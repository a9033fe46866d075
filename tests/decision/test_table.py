from dataclasses import replace

from decision_samples import candidate, device, figure

from selector.backbones import catalog
from selector.backbones.catalog import Family
from selector.decision.policy import policy
from selector.decision.table import DIMENSIONS, document_table, fastest_by_backbone
from selector.evidence.metrics import LATENCY_P50
from selector.evidence.record import Provenance


def test_every_cell_is_there_with_the_documents_statement_and_evidence() -> None:
    cells = document_table(catalog.backbones(), [candidate()], device())
    assert [(c.dimension, c.family) for c in cells] == [(d, f) for d in DIMENSIONS for f in Family]
    assert all(c.document.key == f"document.{c.dimension}.{c.family.value}" for c in cells)
    params = next(c for c in cells if (c.dimension, c.family) == ("params", Family.VGG))
    assert (params.evidence.values["least"], params.evidence.values["most"]) == ("vgg11", "vgg19_bn")


def test_speed_tells_known_from_estimated() -> None:
    known = replace(candidate("a", latency=1.0), latency=figure(LATENCY_P50, 5.0, provenance=Provenance.PUBLISHED))
    cells = document_table(catalog.backbones(), [known, candidate("b", latency=20.0)], device())
    speed = next(c for c in cells if (c.dimension, c.family) == ("speed", Family.RESNET)).evidence
    assert speed.values["known"] == 1
    assert (speed.values["n"], speed.values["low"], speed.values["high"]) == (2, 5.0, 20.0)
    vgg = next(c for c in cells if (c.dimension, c.family) == ("speed", Family.VGG)).evidence
    assert vgg.key == "table.speed_unknown"


def test_the_fastest_at_the_largest_resolution_stands_for_a_backbone() -> None:
    large, small = candidate(latency=20.0), replace(candidate(latency=5.0), resolution=128)
    assert fastest_by_backbone([small, large, candidate(latency=30.0)]) == {"resnet18": large}


def test_policy_is_p1_under_ten_thousand_images() -> None:
    assert policy(9_999, candidate(freeze="80%")).practice == "P1"
    assert policy(9_999, candidate(freeze="80%")).agrees
    assert not policy(9_999, candidate(freeze="none")).agrees
    assert policy(10_000, candidate(freeze="last-3")).practice == "P2"
    assert policy(10_000, candidate(freeze="last-3")).agrees
