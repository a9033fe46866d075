"""Draws a search on the user's images with Plotly. Decides nothing."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING

from selector.reporting.drawing import BAR_HEIGHT, layout, short
from selector.reporting.words import text

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from selector.reporting.study import Confusion, Coordinate, Curve, HistoryPoint, Parallel

TICKS = 5  # of a logarithmic axis


def draw_history(points: "Sequence[HistoryPoint]", language: str) -> "go.Figure":
    """Complete trials filled, pruned ones open, and the best so far as a stepped line."""
    import plotly.graph_objects as go

    figure = go.Figure(layout=layout(go, height=360))
    so_far = [p for p in points if p.best is not None]
    figure.add_scatter(
        x=[p.number for p in so_far],
        y=[short(p.best or 0.0) for p in so_far],
        mode="lines",
        line={"color": "var(--ink-soft)", "width": 1.5, "shape": "hv", "dash": "dot"},
        name=text("study_best", language),
        hoverinfo="skip",
    )
    for complete, name, symbol in ((True, "study_complete", "circle"), (False, "study_pruned", "circle-open")):
        kept = [p for p in points if p.complete is complete]
        if kept:
            figure.add_scatter(
                x=[p.number for p in kept],
                y=[short(p.score) for p in kept],
                mode="markers",
                marker={"symbol": symbol, "size": 10, "color": "var(--accent)"},
                name=text(name, language),
                hovertext=[f"{p.number} · {escape(p.origin)}: {p.score:.3f}" for p in kept],
                hoverinfo="text",
            )
    figure.update_xaxes(title=text("study_axis_trial", language))
    figure.update_yaxes(title=text("study_axis_macro_f1", language))
    return figure


def draw_curves(curves: "Sequence[Curve]", language: str) -> "go.Figure":
    """One line a trial; the winner's is thick."""
    import plotly.graph_objects as go

    figure = go.Figure(layout=layout(go, height=400))
    for i, curve in enumerate(curves):
        colour = "var(--accent)" if curve.winner else f"var(--series-{i % 6})"
        figure.add_scatter(
            x=[short(x) for x, _ in curve.points],
            y=[short(y) for _, y in curve.points],
            mode="lines+markers",
            line={"color": colour, "width": 3.5 if curve.winner else 1.2},
            marker={"size": 5, "color": colour},
            opacity=1.0 if curve.winner else 0.6,
            name=escape(curve.label),
            showlegend=curve.winner,
            hovertext=[f"{escape(curve.label)}: {y:.3f}" for _, y in curve.points],
            hoverinfo="text",
        )
    figure.update_xaxes(title=text("study_axis_progress", language))
    figure.update_yaxes(title=text("study_axis_macro_f1", language))
    return figure


def draw_confusion(confusion: "Confusion", language: str) -> "go.Figure":
    """Shades are shares of the true class, numbers are images."""
    import plotly.graph_objects as go

    names = [escape(name) for name in confusion.classes]
    figure = go.Figure(layout=layout(go, height=140 + 44 * max(3, len(names))))
    shares = [[short(n / max(1, sum(row))) for n in row] for row in confusion.counts]
    figure.add_heatmap(
        x=names,
        y=names,
        z=shares,
        zmin=0,
        zmax=1,
        text=[[str(n) for n in row] for row in confusion.counts],
        texttemplate="%{text}" if len(names) <= 20 else None,
        hovertemplate="%{y} → %{x}: %{text}<extra></extra>",
        colorscale=[[0, "var(--panel)"], [1, "var(--series-5)"]],
        showscale=False,
    )
    figure.update_xaxes(title=text("study_axis_predicted", language), type="category", showgrid=False)
    figure.update_yaxes(title=text("study_axis_true", language), type="category", autorange="reversed", showgrid=False)
    return figure


def draw_importances(importances: Mapping[str, float], language: str) -> "go.Figure":
    """One bar a setting, the most important on top."""
    import plotly.graph_objects as go

    ordered = sorted(importances.items(), key=lambda item: -item[1])
    figure = go.Figure(layout=layout(go, height=110 + 1.4 * BAR_HEIGHT * max(4, len(ordered))))
    figure.add_bar(
        orientation="h",
        y=[name for name, _ in ordered],
        x=[short(share) for _, share in ordered],
        marker={"color": "var(--accent)"},
        hoverinfo="x+y",
    )
    figure.update_xaxes(title=text("study_axis_importance", language))
    figure.update_yaxes(autorange="reversed", showgrid=False, dtick=1)
    return figure


def draw_parallel(beside: "Parallel", language: str) -> "go.Figure":
    """One line a trial through all its settings to its score."""
    import plotly.graph_objects as go

    figure = go.Figure(layout=layout(go, height=440))
    score = {"label": text("study_axis_macro_f1", language), "values": [short(s) for s in beside.scores]}
    figure.add_parcoords(
        line={
            "color": [short(s) for s in beside.scores],
            "colorscale": [[0, "var(--line-strong)"], [1, "var(--accent)"]],
        },
        dimensions=[*(_axis(c) for c in beside.coordinates), score],
        labelfont={"color": "var(--ink)"},
        tickfont={"color": "var(--ink)"},
        rangefont={"color": "rgba(0,0,0,0)"},  # the ticks say it
    )
    figure.update_layout(margin={"l": 60, "r": 50, "t": 60, "b": 20})
    return figure


def _axis(coordinate: "Coordinate") -> dict[str, object]:
    import math

    if coordinate.names:
        ticks = list(range(len(coordinate.names)))
        return {
            "label": coordinate.name,
            "values": list(coordinate.values),
            "tickvals": ticks,
            "ticktext": [escape(name) for name in coordinate.names],
            "range": [-0.3, len(ticks) - 0.7],
        }
    if coordinate.logarithmic:
        values = [math.log10(v) for v in coordinate.values]
        ends = min(values), max(values)
        places = [ends[0] + (ends[1] - ends[0]) * i / (TICKS - 1) for i in range(TICKS)]
        return {
            "label": coordinate.name,
            "values": [short(v) for v in values],
            "tickvals": [short(p) for p in places],
            "ticktext": [f"{10**p:.1g}" for p in places],
        }
    return {"label": coordinate.name, "values": [short(v) for v in coordinate.values]}
