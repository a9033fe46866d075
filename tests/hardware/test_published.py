"""Published figures put together for reading."""

from dataclasses import replace

from selector.hardware.profiles import PublishedFigure
from selector.hardware.published import group_figures, tabulate_figures

P50 = PublishedFigure(
    "latency_ms_p50", "resnet50", 224, 1, "armnn", "22.11", "fp32", None, 289.0, "r v3 a/b/r50/log.txt"
)


def test_figures_that_share_their_conditions_are_one_group() -> None:
    figures = [
        P50,
        replace(P50, backbone="resnet18", value=120.0, source="r v3 a/b/r18/log.txt"),
        replace(P50, precision="int8-static", value=80.0),
        replace(P50, metric="latency_ms_p90", value=300.0),
    ]
    first, int8, p90 = group_figures(figures)
    assert (first.count, first.lowest, first.highest) == (2, 120.0, 289.0)
    assert (int8.precision, int8.count) == ("int8-static", 1)
    assert p90.metric == "latency_ms_p90"


def test_a_group_states_what_its_sources_have_in_common() -> None:
    path = "org/results_v3 open/Krai/results/board/{}/singlestream/log.txt"
    figures = [replace(P50, source=path.replace("{}", m), value=v) for m, v in (("m1", 1.0), ("m2", 2.0))]
    (group,) = group_figures(figures)
    assert group.source == "org/results_v3 open/Krai/results/board/…/singlestream/log.txt"
    (alone,) = group_figures(figures[:1])
    assert alone.source == figures[0].source


def test_sources_that_have_little_in_common_are_groups_of_their_own() -> None:
    figures = [
        replace(P50, source="v3 open/Krai/results/a/log.txt"),
        replace(P50, source="v3 open/cTuning/results/b/log.txt"),
    ]
    assert [g.count for g in group_figures(figures)] == [1, 1]


def test_the_table_has_a_row_a_backbone_and_keeps_what_disagrees() -> None:
    table = tabulate_figures(
        [
            P50,
            replace(P50, value=300.0, source="another"),
            replace(P50, metric="latency_ms_p90", value=310.0),
            replace(P50, backbone="mobilenetv2_100", runtime="tflite", value=60.0),
        ]
    )
    armnn, tflite = ("armnn", "fp32", "latency_ms_p50"), ("tflite", "fp32", "latency_ms_p50")
    assert table.columns == (armnn, tflite)
    assert table.cells == {("mobilenetv2_100", 224): {tflite: (60.0,)}, ("resnet50", 224): {armnn: (289.0, 300.0)}}
    assert list(table.cells) == [("mobilenetv2_100", 224), ("resnet50", 224)]
