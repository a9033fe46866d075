"""The profiler's pages: what the store holds of a device with its roofline, and one backbone's blocks.

One HTML file each, which needs no network and makes no request.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import jinja2
from markupsafe import Markup

from selector import __version__
from selector.evidence.record import Record
from selector.profiling.block_costs import BlockCosts
from selector.profiling.roofline import Roofline
from selector.reporting.numbers import shown
from selector.reporting.profile_drawing import draw_blocks, draw_roofline
from selector.resources import shipped_folder

if TYPE_CHECKING:
    import plotly.graph_objects as go


@dataclass(frozen=True, slots=True)
class Section:
    """One heading with its picture and its table."""

    title: str
    says: tuple[str, ...]
    picture: Markup | None
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numbers: range  # the columns that hold numbers


def render_profile(
    device: str, records: Sequence[Record], rooflines: Sequence[Roofline], notes: Sequence[str] = ()
) -> str:
    """A page about one device: rooflines, then every figure with its conditions and source."""
    sections = [_roofline_section(chart, i) for i, chart in enumerate(rooflines, 1)]
    return _page(f"What was measured on {device}", tuple(notes), (*sections, _figures_section(records)))


def render_blocks(costs: BlockCosts, says: str) -> str:
    """A page about the blocks of one backbone."""
    rows = [
        (
            f"{b.number} {b.name}",
            f"{b.macs / 1e6:,.1f}",
            f"{b.activations / 1e6:,.3f}",
            f"{b.params / 1e6:,.3f}",
            f"{b.ms:,.3f}",
            f"{share[2]:.1%}",
        )
        for b, share in zip(costs.blocks, costs.shares(), strict=True)
    ]
    section = Section(
        "Blocks, from the input",
        (says,),
        _picture(draw_blocks(costs), "blocks"),
        ("block", "MACs, M", "activations, M", "parameters, M", "ms", "of time"),
        tuple(rows),
        range(1, 6),
    )
    return _page(f"Where {costs.backbone} spends its work", (), (section,))


def _roofline_section(chart: Roofline, number: int) -> Section:
    count = chart.peaks.threads
    threads = "" if count is None else f", {count} thread{'s' * (count != 1)}"
    rows = [
        (
            p.backbone,
            f"{p.runtime} {p.precision}",
            str(p.resolution),
            f"{'' if p.stable else '~'}{p.latency_ms:,.2f}",
            f"{p.intensity:,.1f}",
            f"{p.gflops:,.1f}",
            f"{p.share:.0%}",
        )
        for p in chart.points
    ]
    return Section(
        f"Roofline of {chart.device}{threads}",
        (
            f"Roof: {chart.peaks.source}. Where it was measured, it is that of the moment at which this page was made: "
            "a busy machine lowers it.",
            "Bytes are the least that has to move if each layer reads its input and weights and writes its output "
            "once: an approximation. Caches and fused layers can lift a point above the slope, 8-bit arithmetic above "
            "the fp32 roof.",
            "A colour is a runtime and precision, a shape a family: circle ResNet, square VGG, diamond EfficientNet, "
            "triangle MobileNet. Hollow, and ~ in the table: an unstable time.",
        ),
        _picture(draw_roofline(chart), f"roofline-{number}"),
        ("backbone", "runtime", "px", "p50, ms", "FLOP/B", "GFLOP/s", "of the roof"),
        tuple(rows),
        range(2, 7),
    )


def _figures_section(records: Sequence[Record]) -> Section:
    rows = []
    for record in records:
        at = record.conditions
        frozen = f"{at.freeze.name} ({at.freeze.frozen_blocks}/{at.freeze.total_blocks})" if at.freeze else ""
        rows.append(
            (
                at.backbone,
                " ".join(filter(None, (at.runtime, at.runtime_version, at.precision))),
                frozen,
                str(at.resolution or ""),
                str(at.batch_size or ""),
                str(at.threads or ""),
                record.figure.metric.name,
                shown(record.figure).text,
                "" if record.stable is not False else "unstable",
                record.figure.source,
            )
        )
    headings = ("backbone", "runtime", "frozen", "px", "batch", "threads", "metric", "value", "", "source")
    return Section("Figures", (), None, headings, tuple(rows), range(3, 6))


def _picture(figure: "go.Figure", name: str) -> Markup:
    from plotly.io import to_html

    config = {"displaylogo": False, "displayModeBar": False, "responsive": True}
    # values come from measurements, names from the catalog; hover texts are escaped where they are made
    return Markup(to_html(figure, full_html=False, include_plotlyjs=False, div_id=name, config=config))


def _page(title: str, notes: tuple[str, ...], sections: tuple[Section, ...]) -> str:
    from plotly.offline import get_plotlyjs  # imports all of plotly

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(shipped_folder("reports/templates")),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    drawn = any(section.picture for section in sections)
    plotly = Markup(get_plotlyjs()) if drawn else None
    template = environment.get_template("profile.html.jinja")
    return template.render(title=title, notes=notes, sections=sections, plotly=plotly, version=__version__)
