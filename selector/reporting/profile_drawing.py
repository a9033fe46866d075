"""Draws what the profiler measured: a device's roofline, and the costs of one backbone's blocks. Decides nothing."""

from html import escape
from math import ceil, floor, log10
from typing import TYPE_CHECKING, Any

from selector.backbones.catalog import Family, backbone, names
from selector.profiling.block_costs import BlockCosts
from selector.profiling.roofline import Point, Roofline
from selector.reporting.drawing import SYMBOLS, short

if TYPE_CHECKING:
    import plotly.graph_objects as go

# Okabe and Ito's palette, which readers with any colour vision can tell apart
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
GREY = "#767676"


def draw_roofline(chart: Roofline) -> "go.Figure":
    """Achieved against possible, both axes logarithmic: a colour for each runtime and precision, a symbol a family."""
    import plotly.graph_objects as go  # costs 0.3 s, and only a page needs it

    figure = go.Figure(layout=_layout(go, 520))
    peaks, ridge = chart.peaks, chart.ridge
    intensities = [p.intensity for p in chart.points] or [ridge]
    left, right = min(*intensities, ridge) / 3, max(*intensities, ridge) * 3
    figure.add_scatter(
        x=[short(left), short(ridge), short(right)],
        y=[short(left * peaks.gb_s), short(peaks.gflops), short(peaks.gflops)],
        mode="lines",
        line={"color": GREY, "width": 2},
        name=f"roof: {peaks.gflops:,.0f} GFLOP/s fp32, {peaks.gb_s:,.1f} GB/s",
        hoverinfo="skip",
    )
    series: dict[str, list[Point]] = {}
    for point in chart.points:
        series.setdefault(f"{point.runtime} {point.precision}", []).append(point)
    for (name, points), colour in zip(series.items(), COLOURS * 10, strict=False):
        figure.add_scatter(
            x=[short(p.intensity) for p in points],
            y=[short(p.gflops) for p in points],
            mode="markers",
            name=name,
            # hollow where the time is unstable
            marker={
                "color": colour,
                "size": 10,
                "symbol": [_symbol(p) + ("" if p.stable else "-open") for p in points],
                "line": {"width": 1.5},
            },
            hovertext=[_hover(p) for p in points],
            hoverinfo="text",
        )
    figure.update_xaxes(type="log", title="operations a byte moved, at least (FLOP/B)", **_ticks(left, right))
    heights = [peaks.gflops, left * peaks.gb_s, *(p.gflops for p in chart.points)]
    figure.update_yaxes(type="log", title="achieved, GFLOP/s", **_ticks(min(heights) / 2, max(heights) * 2))
    return figure


def _ticks(low: float, high: float) -> dict[str, Any]:
    """1, 2 and 5 of each decade, written out: the library's own marks are digits without their decade."""
    decades = range(floor(log10(low)), ceil(log10(high)) + 1)
    values = [v for k in decades for v in (1 * 10.0**k, 2 * 10.0**k, 5 * 10.0**k) if low / 2 <= v <= high * 2]
    return {"tickvals": values, "ticktext": [f"{v:,g}" for v in values]}


def draw_blocks(costs: BlockCosts) -> "go.Figure":
    """Each block's share of multiply-accumulates, activations and time, beside each other."""
    import plotly.graph_objects as go

    figure = go.Figure(layout=_layout(go, max(320, 30 * len(costs.blocks) + 120)))
    labels = [f"{b.number} {b.name}" for b in costs.blocks]
    shares = costs.shares()
    for i, (name, colour) in enumerate(zip(("MACs", "activations", "time"), COLOURS, strict=False)):
        figure.add_bar(
            y=labels,
            x=[short(100 * share[i]) for share in shares],
            name=name,
            orientation="h",
            marker={"color": colour},
            hovertemplate=f"%{{y}}: %{{x:.1f}} % of {name}<extra></extra>",
        )
    figure.update_layout(barmode="group", bargap=0.25)
    figure.update_xaxes(title="% of the whole pass")
    figure.update_yaxes(autorange="reversed", type="category")
    return figure


def _symbol(point: Point) -> str:
    return SYMBOLS[backbone(point.backbone).family] if point.backbone in names() else SYMBOLS[Family.RESNET]


def _hover(point: Point) -> str:
    doubt = "" if point.stable else ", unstable"
    return (
        f"<b>{escape(point.backbone)}</b> {escape(point.runtime)} {point.precision}, {point.resolution} px, "
        f"batch {point.batch_size}<br>p50 {point.latency_ms:.2f} ms{doubt}<br>{point.gflops:,.1f} GFLOP/s at "
        f"{point.intensity:.1f} FLOP/B: {point.share:.0%} of the fp32 roof there"
    )


def _layout(go: Any, height: int) -> dict[str, Any]:
    axis = {"gridcolor": "#e3e3e3", "linecolor": GREY, "zeroline": False, "automargin": True, "ticks": "outside"}
    return {
        "template": go.layout.Template(),  # the default one is 7 kB in each figure
        "height": height,
        "plot_bgcolor": "#ffffff",
        "paper_bgcolor": "#ffffff",
        "font": {"size": 12.5, "family": "system-ui, sans-serif", "color": "#1a1a1a"},
        "margin": {"l": 10, "r": 14, "t": 10, "b": 10},
        "legend": {"orientation": "h", "yanchor": "bottom", "y": 1.01, "x": 0, "xanchor": "left"},
        "xaxis": axis,
        "yaxis": axis,
    }
