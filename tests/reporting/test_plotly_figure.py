"""Every figure of a page is one that Plotly's own package would make, down to each property."""

import json
import re
from typing import Any

import pytest
from sample_answers import make_answer
from sample_study import make_study

from selector.reporting.page import render_page
from selector.reporting.plotly_figure import PlotlyFigure

CHART = re.compile(r'class="chart-data" data-for="([^"]+)">(.*?)</script>', re.S)


@pytest.fixture(scope="module")
def charts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """The figures of an answer with a search, and of a comparison, by id."""
    study = make_study(tmp_path_factory.mktemp("study"))
    several = [make_answer(h, n, speed=s) for h, s in (("edge", 1.0), ("gpu", 0.05)) for n in (500, 5000)]
    pages = render_page([make_answer()], study=study), render_page(several)
    return {name: json.loads(drawn) for page in pages for name, drawn in CHART.findall(page)}


def test_plotly_knows_every_property_and_value(charts: dict[str, dict[str, Any]]) -> None:
    import plotly.graph_objects as go

    assert {"a1-pareto", "a1-latency", "compare-latency", "compare-accuracy", "study-confusion"} <= set(charts)
    assert len(charts) > 12
    for drawn in charts.values():
        checked = json.loads(go.Figure(drawn).to_json())  # raises ValueError for what Plotly does not know
        checked["layout"].pop("template")
        assert checked == drawn


def test_none_leaves_a_property_out_and_updates_join_what_is_there() -> None:
    figure = PlotlyFigure({"xaxis": {"gridcolor": "red"}, "yaxis": {}, "legend": {"x": 0, "y": 1}})
    figure.add_bar(x=[1], name=None)
    figure.update_xaxes(title="ms", range=None)
    figure.update_layout(legend={"y": 2})
    assert json.loads(figure.as_json()) == {
        "data": [{"type": "bar", "x": [1]}],
        "layout": {
            "xaxis": {"gridcolor": "red", "title": {"text": "ms"}},
            "yaxis": {},
            "legend": {"x": 0, "y": 2},
        },
    }


def test_two_figures_share_no_axis() -> None:
    axis = {"ticks": "outside"}
    first, second = PlotlyFigure({"xaxis": axis, "yaxis": axis}), PlotlyFigure({"xaxis": axis})
    first.update_xaxes(type="log")
    assert first.layout["yaxis"] == second.layout["xaxis"] == {"ticks": "outside"}


def test_a_number_that_json_cannot_write_is_refused() -> None:
    figure = PlotlyFigure({})
    figure.add_scatter(x=[float("nan")])
    with pytest.raises(ValueError, match="JSON"):
        figure.as_json()
