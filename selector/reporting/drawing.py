"""Draws the info objects of `figures` with Plotly. Decides nothing.

Colours are the names of the page's style (`var(--family-vgg)`), which `script.js` looks up, so that a figure
follows the reader's light or dark theme. Nobody has to tell colours apart: families differ by symbol too,
provenance by fill or pattern.
"""

import math
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from selector.backbones.catalog import Family
from selector.evidence.record import Figure, Provenance
from selector.reporting.figures import AccuracyBySize, Bar, HardwareComparison, LatencyBars, ParetoChart, Point
from selector.reporting.numbers import in_column
from selector.reporting.words import text

if TYPE_CHECKING:
    import plotly.graph_objects as go

SYMBOLS = {
    Family.RESNET: "circle",
    Family.VGG: "square",
    Family.EFFICIENTNET: "diamond",
    Family.MOBILENET: "triangle-up",
}
PATTERNS = {Provenance.MEASURED: "", Provenance.PUBLISHED: "/", Provenance.ESTIMATED: "."}
SERIES_SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "star")
CLEAR = "rgba(0,0,0,0)"
BAR_HEIGHT = 16  # pixels: one line of the axis's text


def chart_json(figure: "go.Figure") -> str:
    """The figure's data and layout as JSON that can stand inside a script element."""
    return str(figure.to_json()).replace("<", "\\u003c")


def draw_pareto_chart(chart: ParetoChart, language: str) -> "go.Figure":
    """Points by family, filled where latency is measured or published; the front as a stepped line."""
    import plotly.graph_objects as go  # costs 0.3 s, and only a page needs it

    figure = go.Figure(layout=layout(go, height=540))
    front = chart.front
    figure.add_scatter(
        x=[short(p.latency.value) for p in front],
        y=[short(p.accuracy.value) for p in front],
        mode="lines",
        line={"color": "var(--ink-soft)", "width": 1.5, "shape": "hv", "dash": "dot"},
        name=text("chart_front", language),
        hoverinfo="skip",
    )
    for family in Family:
        members = [p for p in chart.points if p.family is family and p.feasible]
        if members:
            _add_points(figure, members, family, text(f"family_{family}", language), language, opacity=0.95)
    out = [p for p in chart.points if not p.feasible]
    if out:
        _add_points(figure, out, None, text("chart_infeasible", language), language, opacity=0.55)
    _add_recommended(figure, chart, language)
    if chart.latency_limit is not None:
        _add_limit(figure, chart.latency_limit, language)
    figure.update_xaxes(type="log", title=text("chart_axis_latency", language), range=_latency_range(chart))
    figure.update_yaxes(title=text("chart_axis_accuracy", language), range=_accuracy_range(chart))
    return figure


def _add_points(
    figure: "go.Figure", points: Sequence[Point], family: Family | None, name: str, language: str, *, opacity: float
) -> None:
    """One trace of points; without a family each point takes its own family's symbol in grey."""
    colour = f"var(--family-{family})" if family else "var(--ink-faint)"
    figure.add_scatter(
        x=[short(p.latency.value) for p in points],
        y=[short(p.accuracy.value) for p in points],
        mode="markers",
        marker={
            "symbol": [SYMBOLS[p.family] + ("-open" if _estimated(p.latency) else "") for p in points],
            "size": 10,
            "color": colour,
            "line": {"width": 1.8, "color": colour},
        },
        opacity=opacity,
        name=name,
        customdata=[_point_hover(p, language) for p in points],
        hovertemplate="<b>%{customdata[0]}</b> · %{customdata[1]}<br>%{customdata[2]}<br>"
        f"{text('fact_latency', language)}: %{{customdata[3]}}<br>"
        f"{text('fact_accuracy', language)}: %{{customdata[4]}}<extra></extra>",
    )


def _add_recommended(figure: "go.Figure", chart: ParetoChart, language: str) -> None:
    """The intervals of the front and the recommended point, a ring around that, and names where there is room."""
    front = [p for p in chart.points if p.pareto and not p.recommended]
    chosen = [p for p in chart.points if p.recommended]
    ring = {"symbol": "circle-open", "size": 22, "color": "var(--accent)", "line": {"width": 3}}
    for points, colour, marker in (
        (front, "var(--whisker)", {"size": 1, "color": CLEAR}),
        (chosen, "var(--accent)", ring),
    ):
        figure.add_scatter(
            x=[short(p.latency.value) for p in points],
            y=[short(p.accuracy.value) for p in points],
            error_x={**_error([p.latency for p in points]), "color": colour},
            error_y={**_error([p.accuracy for p in points]), "color": colour},
            mode="markers",
            marker=marker,
            name=text("chart_recommended", language),
            showlegend=points is chosen,
            hoverinfo="skip",
        )
    for point in _nameable([*chosen, *front], chart):
        _add_name(figure, point)


def _nameable(points: Sequence[Point], chart: ParetoChart) -> list[Point]:
    """The points whose names do not cover each other, the recommended one first, then from the most accurate down."""
    latencies = [p.latency.value for p in chart.points]
    wide = math.log10(max(latencies) / min(latencies)) if latencies else 1.0
    bottom, top = _accuracy_range(chart)
    kept: list[Point] = []
    for point in sorted(points, key=lambda p: (not p.recommended, -p.accuracy.value)):
        if not any(
            abs(math.log10(point.latency.value / other.latency.value)) < 0.24 * wide
            and abs(point.accuracy.value - other.accuracy.value) < 0.06 * (top - bottom)
            for other in kept
        ):
            kept.append(point)
    return kept


def _latency_range(chart: ParetoChart) -> list[float] | None:
    """Every point, the limit and the recommended one's whole interval, as logarithms.

    Left to Plotly, long names would widen the axis by decades.
    """
    shown = [p.latency.value for p in chart.points]
    for p in chart.points:
        if p.recommended:
            shown += [v for v in (p.latency.low, p.latency.high) if v is not None and v > 0]
    if not shown:
        return None
    if chart.latency_limit is not None:
        shown.append(chart.latency_limit)
    low, high = math.log10(min(shown)), math.log10(max(shown))
    room = 0.06 * (high - low) + 0.02
    return [low - 2 * room, high + room]


def _accuracy_range(chart: ParetoChart) -> list[float]:
    """Every point, and the recommended one's whole interval; other whiskers may leave the picture."""
    shown = [p.accuracy.value for p in chart.points]
    for p in chart.points:
        if p.recommended:
            shown += [v for v in (p.accuracy.low, p.accuracy.high) if v is not None]
    return [short(min(shown) - 1.5), short(max(shown) + 1.5)] if shown else [0, 100]


def _add_name(figure: "go.Figure", point: Point) -> None:
    """The point's name, up and left of the front where nothing better can stand, else down and right."""
    aside = -1 if point.pareto else 1
    name = f"{escape(point.backbone)} · {point.resolution}"
    figure.add_annotation(
        x=math.log10(point.latency.value),
        y=short(point.accuracy.value),
        text=f"<b>{name}</b>" if point.recommended else name,
        font={"size": 11, "color": "var(--ink)"},
        showarrow=False,
        xanchor="right" if point.pareto else "left",
        xshift=9 * aside,
        yshift=-12 * aside,
    )


def _add_limit(figure: "go.Figure", bound: float, language: str) -> None:
    figure.add_shape(
        type="line",
        x0=bound,
        x1=bound,
        y0=0,
        y1=1,
        yref="paper",
        line={"color": "var(--bad)", "width": 1.5, "dash": "dash"},
    )
    figure.add_annotation(
        x=math.log10(
            bound
        ),  # on a logarithmic axis Plotly takes a line's place as it is, an annotation's as its logarithm
        y=1,
        yref="paper",
        text=text("chart_limit", language, bound=f"{bound:,g}"),
        font={"color": "var(--bad)", "size": 11},
        showarrow=False,
        textangle=-90,
        xanchor="right",
        yanchor="top",
    )


def draw_latency_bars(chart: LatencyBars, language: str) -> "go.Figure":
    """One bar for each backbone, fastest on top; colour is the family, pattern the provenance."""
    import plotly.graph_objects as go

    figure = go.Figure(layout=layout(go, height=120 + BAR_HEIGHT * max(4, len(chart.bars))))
    for family in Family:
        bars = [bar for bar in chart.bars if bar.family is family]
        if bars:
            _add_bars(figure, bars, family, language)
    if chart.latency_limit is not None:
        _add_limit(figure, chart.latency_limit, language)
    figure.update_layout(bargap=0.28, barmode="overlay")
    figure.update_xaxes(type="log", title=text("chart_axis_latency", language))
    names = [bar.backbone for bar in chart.bars]
    figure.update_yaxes(categoryorder="array", categoryarray=names, autorange="reversed", showgrid=False, dtick=1)
    figure.update_yaxes(tickfont={"size": 10.5})
    return figure


def _add_bars(figure: "go.Figure", bars: Sequence[Bar], family: Family, language: str) -> None:
    colour = f"var(--family-{family})"
    figure.add_bar(
        orientation="h",
        y=[bar.backbone for bar in bars],
        x=[short(bar.latency.value) for bar in bars],
        error_x={**_error([bar.latency for bar in bars]), "color": "var(--ink-soft)"},
        marker={
            "color": colour,
            "line": {"color": ["var(--accent)" if bar.recommended else colour for bar in bars], "width": 1},
            "pattern": {
                "shape": [PATTERNS[bar.latency.provenance] for bar in bars],
                "fillmode": "replace",
                "size": 5,
                "solidity": 0.45,
            },
        },
        name=text(f"family_{family}", language),
        hovertext=[_bar_hover(bar, language) for bar in bars],
        hoverinfo="text",
    )


def draw_hardware_comparison(chart: HardwareComparison, language: str) -> "go.Figure":
    """One row for each backbone, one symbol for each device."""
    import plotly.graph_objects as go

    figure = go.Figure(layout=layout(go, height=150 + 26 * len(chart.backbones)))
    for i, device in enumerate(chart.devices):
        colour = f"var(--series-{i % 6})"
        figure.add_scatter(
            x=[short(bar.latency.value) for bar in device.bars],
            y=[bar.backbone for bar in device.bars],
            error_x={**_error([bar.latency for bar in device.bars]), "color": f"var(--series-{i % 6})"},
            mode="markers",
            marker={
                "symbol": [SERIES_SYMBOLS[i % 6] + ("-open" if _estimated(bar.latency) else "") for bar in device.bars],
                "size": 11,
                "color": colour,
                "line": {"width": 1.8, "color": colour},
            },
            name=escape(device.device),
            hovertext=[_bar_hover(bar, language) for bar in device.bars],
            hoverinfo="text",
        )
    figure.update_xaxes(type="log", title=text("chart_axis_latency", language))
    figure.update_yaxes(categoryorder="array", categoryarray=list(chart.backbones), autorange="reversed", dtick=1)
    return figure


def draw_accuracy_by_size(chart: AccuracyBySize, language: str) -> "go.Figure":
    """Expected accuracy with its interval; hardware side by side within each number of images."""
    import plotly.graph_objects as go

    figure = go.Figure(layout=layout(go, height=420))
    for i, (hardware, expected) in enumerate(chart.hardware):
        colour = f"var(--series-{i % 6})"
        figure.add_scatter(
            x=[f"{e.data_size:,}" for e in expected],
            y=[short(e.accuracy.value) for e in expected],
            error_y={**_error([e.accuracy for e in expected]), "color": colour, "width": 4},
            mode="markers",
            marker={"symbol": SERIES_SYMBOLS[i % 6], "size": 12, "color": colour},
            name=escape(hardware),
            hovertext=[
                f"<b>{escape(hardware)}</b><br>{escape(e.backbone)} · {escape(e.freeze)}<br>"
                + _figure_text(e.accuracy, language)
                for e in expected
            ],
            hoverinfo="text",
        )
    figure.update_layout(scattermode="group", scattergap=0.5)
    figure.update_xaxes(type="category", title=text("chart_axis_images", language))
    ends = [end for _, expected in chart.hardware for e in expected for end in (e.accuracy.low, e.accuracy.high) if end]
    values = [e.accuracy.value for _, expected in chart.hardware for e in expected]
    low, high = min([*ends, *values]) - 2, max([*ends, *values]) + 2
    figure.update_yaxes(title=text("chart_axis_accuracy", language), range=[short(low), short(high)])
    return figure


def layout(go: Any, *, height: float) -> dict[str, Any]:
    """What all figures have in common; `go` is plotly.graph_objects, which only a page needs."""
    axis = {
        "gridcolor": "var(--line)",
        "linecolor": "var(--line-strong)",
        "zeroline": False,
        "automargin": True,
        "ticks": "outside",
        "tickcolor": "var(--line-strong)",
    }
    return {
        "template": go.layout.Template(),  # the default one is 7 kB in each figure
        "height": height,
        "paper_bgcolor": CLEAR,
        "plot_bgcolor": CLEAR,
        "font": {"color": "var(--ink)", "size": 12.5, "family": "system-ui, sans-serif"},
        "margin": {"l": 10, "r": 14, "t": 10, "b": 10},
        "legend": {"orientation": "h", "yanchor": "bottom", "y": 1.01, "x": 0, "xanchor": "left"},
        "hoverlabel": {
            "bgcolor": "var(--panel)",
            "bordercolor": "var(--line-strong)",
            "font": {"color": "var(--ink)"},
            "align": "left",
        },
        "xaxis": axis,
        "yaxis": axis,
    }


def _error(figures: Sequence[Figure]) -> dict[str, Any]:
    """Whiskers from each figure's interval; none where the source states no interval."""
    return {
        "type": "data",
        "symmetric": False,
        "array": [short(f.high - f.value) if f.high is not None else 0 for f in figures],
        "arrayminus": [short(f.value - f.low) if f.low is not None else 0 for f in figures],
        "thickness": 1.1,
        "width": 0,
    }


def short(value: float) -> float:
    """Five significant digits: more cannot be seen, and would fill the page's file."""
    return float(f"{value:.5g}")


def _estimated(figure: Figure) -> bool:
    return figure.provenance is Provenance.ESTIMATED


def _figure_text(figure: Figure, language: str) -> str:
    shown = in_column(figure)
    interval = f" [{shown.interval}]" if shown.interval else ""
    return f"{shown.text}{interval}, {text(f'provenance_{figure.provenance}', language)}"


def _point_hover(point: Point, language: str) -> list[str]:
    return [
        escape(point.backbone),
        escape(point.freeze),
        f"{escape(point.runtime)} · {escape(point.precision)} · {point.resolution} px",
        _figure_text(point.latency, language),
        _figure_text(point.accuracy, language),
    ]


def _bar_hover(bar: Bar, language: str) -> str:
    return (
        f"<b>{escape(bar.backbone)}</b><br>{escape(bar.runtime)} · {escape(bar.precision)} · {bar.resolution} px<br>"
        f"{_figure_text(bar.latency, language)}"
    )
