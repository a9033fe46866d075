import re

from selector.evidence.record import Conditions, Provenance, Record
from selector.profiling.block_costs import BlockCost, BlockCosts
from selector.profiling.measurement import Measurement
from selector.profiling.peaks import Peaks
from selector.profiling.roofline import roofline
from selector.reporting.profile_drawing import draw_blocks, draw_roofline
from selector.reporting.profile_page import render_blocks, render_profile

COSTS = BlockCosts(
    "resnet18",
    224,
    2,
    Measurement(4.0, 3.9, 4.1, 4.2, 64, 6, 9, True, None),
    (BlockCost(1, "stem", 100, 10, 1, 1.0, 0.9, 1.1), BlockCost(2, "classifier", 300, 30, 3, 3.0, 2.9, 3.1)),
)


def record(backbone: str, ms: float, source: str = "a <b>test</b>", *, stable: bool = False) -> Record:
    at = Conditions(backbone, "local", "onnxruntime", "1", "fp32", 224, 1, 2)
    return Record.of("latency_ms_p50", ms, at, provenance=Provenance.MEASURED, source=source, stable=stable)


def test_the_roof_bends_at_the_ridge_and_points_keep_their_place() -> None:
    records = [record("resnet18", 20.0), record("vgg16", 90.0, stable=True)]
    chart = roofline("here", records, Peaks(200.0, 20.0, 2, "a test"))
    roof, points = draw_roofline(chart).data
    assert (roof.x[1], roof.y[1]) == (10.0, 200.0)
    assert list(points.y) == [float(f"{p.gflops:.5g}") for p in chart.points]
    # VGG, which is the faster one here, then ResNet, whose time is unstable
    assert points.marker.symbol == ("square", "circle-open")


def test_the_marks_of_an_axis_are_whole_numbers_with_their_decade() -> None:
    axis = draw_roofline(roofline("here", [record("vgg16", 90.0)], Peaks(200.0, 20.0, 2, "a test"))).layout.yaxis
    assert {"20", "50", "100", "200"} <= set(axis.ticktext)
    assert [float(text.replace(",", "")) for text in axis.ticktext] == list(axis.tickvals)


def test_shares_of_blocks_are_drawn_beside_each_other() -> None:
    macs, activations, time = draw_blocks(COSTS).data
    assert list(macs.x) == list(activations.x) == list(time.x) == [25.0, 75.0]


def test_a_page_holds_its_figures_and_asks_nobody() -> None:
    records = [record("resnet18", 20.0)]
    page = render_profile("here", records, [roofline("here", records, Peaks(200.0, 20.0, 2, "a test"))], ["a note"])
    assert "Roofline of here, 2 threads" in page
    assert '<td class="n">~20.00</td>' in page
    assert "unstable" in page
    assert "a &lt;b&gt;test&lt;/b&gt;" in page
    assert "default-src 'none'" in page
    outside = re.sub(r"<script.*?</script>", "", page, flags=re.S)
    assert not re.search(r"""(src|href)=["']?https?:""", outside)


def test_without_a_roofline_the_script_is_left_out() -> None:
    page = render_profile("here", [record("resnet18", 20.0)], [])
    assert "<script" not in page
    assert len(page) < 20_000


def test_the_blocks_page_names_each_block() -> None:
    page = render_blocks(COSTS, "how it was measured")
    for part in ("1 stem", "2 classifier", "how it was measured", "75.0%"):
        assert part in page
