from dataclasses import replace

import pytest
from sample_answers import BACKBONES, CHOSEN, DEPTHS, RUNTIMES, make_answer

from selector.backbones.catalog import Family
from selector.evidence.metrics import ACCURACY, ARTIFACT, LATENCY_P50, TRAIN_SECONDS
from selector.evidence.record import Figure, Provenance
from selector.reporting.figures import (
    accuracy_by_size,
    hardware_comparison,
    latency_bars,
    pareto_chart,
    representatives,
)
from selector.reporting.numbers import in_column, percent, rounded, shown
from selector.reporting.sources import sources


def test_a_representative_stands_for_every_backbone_and_runtime() -> None:
    answer = make_answer()
    found = representatives(answer)
    assert len(found) == len(BACKBONES) * len(RUNTIMES)
    chosen = answer.recommendation.candidate
    assert chosen in found  # although another depth of it ranks before it
    others = [c for c in found if (c.backbone, c.runtime) != (chosen.backbone, chosen.runtime)]
    assert all(c.freeze.name == "none" for c in others)


def test_points_front_and_limit_of_the_pareto_chart() -> None:
    answer = make_answer()
    chart = pareto_chart(answer, "board")
    assert len(chart.points) + chart.without_latency == len(representatives(answer))
    assert chart.without_latency == 1
    assert chart.latency_limit == 300
    assert [p.backbone for p in chart.points if p.recommended] == [CHOSEN[0]]
    latencies = [p.latency.value for p in chart.front]
    accuracies = [p.accuracy.value for p in chart.front]
    assert latencies == sorted(latencies)
    assert accuracies == sorted(accuracies)
    feasible = [p for p in chart.points if p.feasible]
    for point in chart.front:  # nothing feasible is both faster and more accurate
        assert not [
            p for p in feasible if p.latency.value < point.latency.value and p.accuracy.value > point.accuracy.value
        ]


def test_bars_take_the_fastest_runtime_at_one_resolution() -> None:
    answer = make_answer()
    small = [
        replace(c, resolution=96, latency=replace(c.latency, value=c.latency.value / 4))
        for c in answer.candidates
        if c.backbone == "resnet50" and c.latency
    ]
    chart = latency_bars(replace(answer, candidates=(*answer.candidates, *small)), "board")
    assert [bar.latency.value for bar in chart.bars] == sorted(bar.latency.value for bar in chart.bars)
    assert {bar.runtime for bar in chart.bars} == {"onnxruntime"}
    assert len(chart.bars) == len(BACKBONES)
    resnet = next(bar for bar in chart.bars if bar.backbone == "resnet50")
    assert resnet.resolution == 224  # not faster for being shown small images
    assert [bar.backbone for bar in chart.bars if bar.recommended] == [CHOSEN[0]]


def test_comparison_has_the_same_backbones_on_every_device() -> None:
    answers = [make_answer("edge", n) for n in (500, 5000)] + [make_answer("gpu", n, speed=0.05) for n in (500, 5000)]
    chart = hardware_comparison(answers, ["board", "board", "card", "card"])
    assert [device.device for device in chart.devices] == ["board", "card"]
    assert all({bar.backbone for bar in device.bars} == set(chart.backbones) for device in chart.devices)
    assert CHOSEN[0] in chart.backbones
    families = {family for name, family, *_ in BACKBONES if name in chart.backbones}
    assert families == set(Family)
    lines = accuracy_by_size(answers).hardware
    assert [(name, [e.data_size for e in line]) for name, line in lines] == [
        ("edge", [500, 5000]),
        ("gpu", [500, 5000]),
    ]


def test_sources_count_each_figure_once() -> None:
    answer = make_answer()
    found = sources(answer)
    artifact = next(use for use in found.uses if use.source.startswith("parameters and buffers"))
    assert artifact.figures == len(BACKBONES)  # not once for each of its depths and runtimes
    assert len(answer.candidates) == len(BACKBONES) * len(DEPTHS) * len(RUNTIMES)
    assert [use.provenance for use in found.uses] == sorted(
        (use.provenance for use in found.uses), key=list(Provenance).index
    )
    assert found.total == sum(found.figures(p) for p in Provenance)


def test_fingerprint_follows_the_figures_and_nothing_else() -> None:
    answer = make_answer()
    same = replace(answer, candidates=answer.candidates[::-1], command="another")
    assert sources(same).fingerprint == sources(answer).fingerprint
    first = answer.candidates[0]
    moved = replace(first, accuracy=replace(first.accuracy, value=first.accuracy.value + 0.1))
    other = replace(answer, candidates=(moved, *answer.candidates[1:]))
    assert sources(other).fingerprint != sources(answer).fingerprint


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (0.6312, "0.631"),
        (8.4912, "8.49"),
        (29.95, "29.9"),
        (103.4, "103"),
        (1234.5, "1,234"),
        (float("inf"), "∞"),
    ],
)
def test_three_significant_digits(value: float, text: str) -> None:
    assert rounded(value) == text


def test_what_is_not_nought_is_not_shown_as_nought() -> None:
    assert (rounded(0.35, 0), rounded(0.04, 1), rounded(0.0004)) == ("0.3", "0.04", "0.0004")
    assert (rounded(0.0, 0), rounded(0.6, 0)) == ("0", "1")


def test_units_are_those_that_people_read() -> None:
    def figure(metric: object, value: float, spread: float | None = 0.0) -> Figure:
        ends = (None, None) if spread is None else (value - spread, value + spread)
        return Figure(metric, value, *ends, Provenance.ESTIMATED, "s")  # type: ignore[arg-type]

    assert shown(figure(ARTIFACT, 18.8e6)).text == "18.8 MB"
    assert shown(figure(ARTIFACT, 18.8e6)).exact
    assert shown(figure(TRAIN_SECONDS, 5400, 1800)).text == "1.50 h"
    assert shown(figure(TRAIN_SECONDS, 5400, 1800)).interval == "1.00–2.00"
    assert in_column(figure(TRAIN_SECONDS, 5400, 1800)).text == "5,400 s"
    assert shown(figure(LATENCY_P50, 12.345, None)).interval == ""
    assert not shown(figure(LATENCY_P50, 12.345, None)).exact
    assert shown(figure(ACCURACY, 93.456, 2)).interval == "91.5–95.5"


def test_a_probability_is_never_rounded_to_certainty() -> None:
    assert [percent(p) for p in (None, 0, 0.001, 0.42, 0.999, 1)] == ["", "0 %", "< 0.5 %", "42 %", "> 99.5 %", "100 %"]
