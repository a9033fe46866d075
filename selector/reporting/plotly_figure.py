"""A figure as plotly.js takes it, put together without Plotly's Python package.

That package's own figures look every property up and check it, which with its import was a sixth of the time that an
answer takes. The methods and their arguments are the package's, and a test holds what they make against it.
"""

import json
from collections.abc import Mapping
from typing import Any


class PlotlyFigure:
    """Traces and layout of one figure; the arguments of each method are Plotly's properties, None leaves one out."""

    def __init__(self, layout: Mapping[str, Any]) -> None:
        self.data: list[dict[str, Any]] = []
        self.layout: dict[str, Any] = dict(layout)

    def add_scatter(self, **properties: Any) -> None:
        """One trace of points or lines."""
        self._add("scatter", properties)

    def add_bar(self, **properties: Any) -> None:
        """One trace of bars."""
        self._add("bar", properties)

    def add_heatmap(self, **properties: Any) -> None:
        """One trace of shaded cells."""
        self._add("heatmap", properties)

    def add_annotation(self, **properties: Any) -> None:
        """A text at a place of its own."""
        self.layout.setdefault("annotations", []).append(_given(properties))

    def add_shape(self, **properties: Any) -> None:
        """A line or an area beside the traces."""
        self.layout.setdefault("shapes", []).append(_given(properties))

    def update_layout(self, **properties: Any) -> None:
        """Set properties of the layout; of one that holds several, those that are given."""
        for name, value in _given(properties).items():
            before = self.layout.get(name)
            self.layout[name] = {**before, **value} if isinstance(before, dict) and isinstance(value, dict) else value

    def update_xaxes(self, *, title: str | None = None, **properties: Any) -> None:
        """Set properties of the horizontal axis."""
        self.update_layout(xaxis=_axis(title, properties))

    def update_yaxes(self, *, title: str | None = None, **properties: Any) -> None:
        """Set properties of the vertical axis."""
        self.update_layout(yaxis=_axis(title, properties))

    def as_json(self) -> str:
        """`data` and `layout`. Raises ValueError for a number that JSON has no word for."""
        return json.dumps({"data": self.data, "layout": self.layout}, separators=(",", ":"), allow_nan=False)

    def _add(self, kind: str, properties: Mapping[str, Any]) -> None:
        self.data.append({"type": kind, **_given(properties)})


def _axis(title: str | None, properties: Mapping[str, Any]) -> dict[str, Any]:
    return _given({**properties, "title": None if title is None else {"text": title}})


def _given(properties: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in properties.items() if value is not None}
