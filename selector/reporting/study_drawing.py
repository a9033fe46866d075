"""Draws a search on the user's images with Plotly. Decides nothing."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING

from selector.reporting.drawing import BAR_HEIGHT, layout, short
from selector.reporting.words import text

if TYPE_CHECKING:
    import plotly.graph_objects as go

    from selector.reporting.study import Confusion, Curve, HistoryPoint, Parallel


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
    """One line a trial through all its settings to its score, the better the less faint; the winner's is thick.

    Lines of an ordinary figure: Plotly's own parallel coordinates need WebGL, which not every reader has.
    """
    import plotly.graph_objects as go

    figure = go.Figure(layout=layout(go, height=440))
    low, high = min(beside.scores), max(beside.scores)
    for i in sorted(range(len(beside.trials)), key=lambda i: beside.scores[i]):
        winner = beside.trials[i] == beside.winner
        figure.add_scatter(
            x=list(range(len(beside.coordinates))),
            y=[short(c.places[i]) for c in beside.coordinates],
            mode="lines+markers",
            line={"color": "var(--accent)" if winner else "var(--ink-soft)", "width": 3.5 if winner else 1.5},
            marker={"size": 6},
            opacity=1.0 if winner else short(0.15 + 0.6 * (beside.scores[i] - low) / ((high - low) or 1.0)),
            name=f"{text('study_trial', language)} {beside.trials[i]}",
            showlegend=winner,
            hovertext=f"{beside.trials[i]}: {beside.scores[i]:.3f}",
            hoverinfo="text",
        )
    for place, coordinate in enumerate(beside.coordinates):
        for at, label in coordinate.ticks:
            figure.add_annotation(
                x=place,
                y=at,
                text=escape(label),
                font={"size": 11, "color": "var(--ink)"},
                showarrow=False,
                xanchor="left",
                xshift=6,
                yshift=8,
            )
    names = [text(f"study_setting_{c.name}", language) for c in beside.coordinates]
    figure.update_xaxes(
        tickvals=list(range(len(names))), ticktext=names, side="top", range=[-0.45, len(names) - 0.4], ticks=""
    )
    figure.update_yaxes(visible=False, range=[-0.08, 1.12])
    figure.update_layout(legend={"y": -0.06, "yanchor": "top"})
    return figure
