"""How figures are written: three significant digits, units that people read, the interval beside the value."""

import math
from dataclasses import dataclass

from selector.evidence.record import Figure

_SCALES = {
    "B": ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")),
    "MACs": ((1e9, "G"), (1e6, "M")),
    "s": ((3600, "h"), (60, "min")),
}


@dataclass(frozen=True, slots=True)
class Shown:
    """A figure as it is shown. `interval` is empty where the source states none, or the figure is exact."""

    value: str
    interval: str
    unit: str
    provenance: str
    source: str
    exact: bool = False  # counted, not measured: the interval is the value itself

    @property
    def text(self) -> str:
        """Value and unit."""
        return f"{self.value} {self.unit}".strip()


def rounded(value: float, digits: int = 3) -> str:
    """`value` in three significant digits, with at most `digits` decimals: 0.63, 8.49, 29.9, 103, 1,234.

    As many more as one significant digit takes: never 0 where it is not.
    """
    if value == 0 or not math.isfinite(value):
        return "0" if value == 0 else "∞"
    magnitude = math.floor(math.log10(abs(value)))
    decimals = max(0, min(digits, 2 - magnitude))
    if abs(value) < 0.5 * 10**-decimals:
        decimals = -magnitude
    return f"{value:,.{decimals}f}"


def scaled(value: float, unit: str) -> tuple[float, str]:
    """What to divide by, and the unit that then stands: bytes as MB, seconds as minutes."""
    for factor, name in _SCALES.get(unit, ()):
        if abs(value) >= factor:
            return factor, name
    return 1.0, unit


def shown(figure: Figure) -> Shown:
    """The figure as it is shown. The interval takes the value's unit."""
    return _written(figure, *scaled(figure.value, figure.metric.unit))


def percent(share: float | None) -> str:
    """A probability in percent; never 0 or 100 where it is neither."""
    if share is None:
        return ""
    if 0 < share < 0.005:
        return "< 0.5 %"
    if 0.995 < share < 1:
        return "> 99.5 %"
    return f"{100 * share:.0f} %"


def in_column(figure: Figure) -> Shown:
    """The figure as a table's column shows it: bytes always as MB, times in the metric's own unit."""
    factor, unit = (1e6, "MB") if figure.metric.unit == "B" else (1.0, figure.metric.unit)
    return _written(figure, factor, unit)


def _written(figure: Figure, factor: float, unit: str) -> Shown:
    digits = figure.metric.digits if factor == 1 else 2
    interval, exact = "", figure.low == figure.high == figure.value
    if figure.low is not None and figure.high is not None and not exact:
        interval = f"{rounded(figure.low / factor, digits)}–{rounded(figure.high / factor, digits)}"
    return Shown(rounded(figure.value / factor, digits), interval, unit, figure.provenance.value, figure.source, exact)
