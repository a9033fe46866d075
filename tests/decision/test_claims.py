import pytest
from decision_samples import candidate, device, figure

from selector.advisor import training_macs
from selector.backbones import catalog
from selector.backbones.catalog import Family
from selector.decision.answer import Candidate, Claim
from selector.decision.claims import agrees, audit, receptive_field
from selector.evidence.metrics import LATENCY_P50
from selector.evidence.record import Provenance
from selector.reporting.words import say

ODDS = {"none": 0.8, "last-3": 0.1, "80%": 0.06, "head": 0.04}


def audited(*candidates: Candidate, kind: str = "board") -> dict[str, Claim]:
    claims = audit(catalog.backbones(), candidates, device(kind=kind), ODDS, training_macs)
    return {claim.id: claim for claim in claims}


def timed(*times: tuple[Family, float]) -> list[Candidate]:
    return [candidate(family.value, family=family, latency=ms) for family, ms in times]


def test_every_claim_has_a_verdict_and_a_source() -> None:
    claims = audited()
    assert list(claims) == [f"C{i}" for i in range(1, 14)]
    assert all(c.verdict in ("confirmed", "refuted", "undecided") and c.source for c in claims.values())


def test_resnet152_has_152_layers_not_a_thousand() -> None:
    claim = audited()["C1"]
    assert claim.verdict == "refuted"
    assert claim.finding.values["layers"] == 152


def test_resnet152_s_accuracy_says_what_was_compared_and_how_far_apart_it_lies() -> None:
    claim = audited()["C1"]
    assert claim.finding.values["apart"] == pytest.approx(78.330 - 77.8)
    for language in ("en", "zh"):
        said = say(claim.finding, language)
        assert all(part in said for part in ("resnet152.tv_in1k", "224 px", "78.3 %", "77.8 %", "0.53", "152"))


def test_vgg16_holds_nine_tenths_in_its_fully_connected_layers() -> None:
    claim = audited()["C3"]
    assert claim.verdict == "confirmed"
    # 25088·4096 + 4096 + 4096·4096 + 4096 + 4096·1000 + 1000 of 138,357,544
    assert claim.finding.values["connected"] == pytest.approx(123.642856)
    assert claim.finding.values["total"] == pytest.approx(138.357544)


def test_receptive_fields() -> None:
    assert receptive_field([(3, 1), (3, 1)]) == receptive_field([(5, 1)]) == 5
    assert receptive_field([(3, 2), (3, 1)]) == 7
    assert audited()["C4"].verdict == "confirmed"


def test_efficientnet_b7_without_extra_images_falls_short_of_the_claim() -> None:
    claim = audited()["C5"]
    assert claim.verdict == "refuted"
    assert claim.finding.values["without"] < 86.4 - 1 < claim.finding.values["extra"]  # type: ignore[operator]


def test_parameter_ranges_come_from_the_catalog() -> None:
    claims = audited()
    for name, family in (("C2", Family.RESNET), ("C6", Family.EFFICIENTNET)):
        params = [b.params / 1e6 for b in catalog.backbones(family)]
        values = claims[name].finding.values
        assert (values["low"], values["high"]) == (min(params), max(params))
        assert claims[name].verdict == "refuted"


def test_the_separable_factor_equals_its_formula() -> None:
    claim = audited()["C8"]
    assert claim.verdict == "confirmed"
    assert claim.finding.values["share"] == pytest.approx(claim.finding.values["formula"])
    assert 8 < claim.finding.values["factor"] < 9  # type: ignore[operator]


def test_the_speed_of_mobilenets_is_told_where_it_is_known() -> None:
    known = audited(*timed((Family.MOBILENET, 5.0), (Family.RESNET, 20.0), (Family.VGG, 90.0)))["C7"]
    assert (known.finding.values["own"], known.finding.values["rival"]) == (5.0, "resnet")
    assert known.verdict == "refuted"  # its parameter range does not hold
    assert audited()["C7"].finding.key == "finding.c7.unknown"


def test_a_known_time_on_a_cpu_refutes_the_need_for_a_gpu() -> None:
    published = candidate("resnet50")
    object.__setattr__(published, "latency", figure(LATENCY_P50, 289.0, provenance=Provenance.PUBLISHED))
    assert audited(published)["C13"].verdict == "refuted"
    assert audited(published, kind="gpu")["C13"].verdict == "undecided"
    assert audited(candidate("resnet50"))["C13"].verdict == "undecided"  # an estimate is no proof


def test_what_needs_measuring_stays_undecided() -> None:
    claims = audited()
    assert {claims[c].verdict for c in ("C10", "C11", "C12")} == {"undecided"}
    assert claims["C10"].finding.values["chance"] == pytest.approx(10.0)
    assert 60 < claims["C11"].finding.values["saved"] < 70  # type: ignore[operator]


def test_dynamic_int8_is_judged_by_its_measurements() -> None:
    claim = audited()["C9"]
    values = claim.finding.values
    assert claim.verdict == "refuted"
    assert values["least"] <= values["gain"] <= values["most"]  # type: ignore[operator]
    assert abs(values["gain"]) < 5  # type: ignore[arg-type]  # no more than two runs of one model differ
    assert values["linear"] == pytest.approx(100 * 1.28 / 300.8, rel=0.01)  # 1280 × 1000 of torchvision's 300.8 M
    assert "fingerprint" in claim.source
    assert "protocol 2" in claim.source


def test_agreement_is_rounding_or_two_percent() -> None:
    assert agrees(66.0, 66.35, 0)
    assert agrees(123.0, 123.64, 0)
    assert not agrees(6.0, 5.29, 0)
    assert not agrees(17.0, 14.6, 0)
