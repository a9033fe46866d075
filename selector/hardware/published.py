"""Published figures put together for reading: by group, and as one table of backbones against runtimes."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from selector.hardware.profiles import PublishedFigure


@dataclass(frozen=True, slots=True)
class FigureGroup:
    """Figures of one metric that share runtime, version, precision, batch size, threads and source."""

    metric: str
    runtime: str
    runtime_version: str
    precision: str
    batch_size: int
    threads: int | None
    count: int
    lowest: float
    highest: float
    source: str  # what the sources of all figures have in common, with … for what differs


@dataclass(frozen=True, slots=True)
class FigureTable:
    """Times of one image in milliseconds: `cells[backbone, resolution][column]`, several where sources disagree.

    A column is (runtime, precision, metric); p90 figures are left out.
    """

    columns: tuple[tuple[str, str, str], ...]
    cells: dict[tuple[str, int], dict[tuple[str, str, str], tuple[float, ...]]]


def group_figures(published: Iterable[PublishedFigure]) -> tuple[FigureGroup, ...]:
    """The groups of `published`, in the order in which they first appear.

    Sources are taken for one when they differ in one part between slashes at most: the log of each figure.
    """
    groups: dict[tuple[object, ...], list[tuple[str, list[PublishedFigure]]]] = defaultdict(list)
    for figure in published:
        same = groups[
            figure.metric,
            figure.runtime,
            figure.runtime_version,
            figure.precision,
            figure.batch_size,
            figure.threads,
        ]
        for number, (source, figures) in enumerate(same):
            common = _common(source, figure.source)
            if common is not None:
                figures.append(figure)
                same[number] = (common, figures)
                break
        else:
            same.append((figure.source, [figure]))
    return tuple(_group(source, figures) for same in groups.values() for source, figures in same)


def tabulate_figures(published: Iterable[PublishedFigure]) -> FigureTable:
    """One row a backbone and resolution, sorted; one column a runtime, precision and metric, as they first appear."""
    cells: dict[tuple[str, int], dict[tuple[str, str, str], tuple[float, ...]]] = {}
    columns: dict[tuple[str, str, str], None] = {}
    for f in published:
        if f.metric == "latency_ms_p90":
            continue
        column = (f.runtime, f.precision, f.metric)
        columns[column] = None
        row = cells.setdefault((f.backbone, f.resolution), {})
        row[column] = (*row.get(column, ()), f.value)
    return FigureTable(tuple(columns), dict(sorted(cells.items())))


def _group(source: str, figures: list[PublishedFigure]) -> FigureGroup:
    first, values = figures[0], [f.value for f in figures]
    return FigureGroup(
        first.metric,
        first.runtime,
        first.runtime_version,
        first.precision,
        first.batch_size,
        first.threads,
        len(figures),
        min(values),
        max(values),
        source,
    )


def _common(source: str, other: str) -> str | None:
    """Both sources as one with … for the part that differs; None where more than one part does."""
    parts, others = source.split("/"), other.split("/")
    if len(parts) != len(others):
        return None
    common = [a if a == b else "…" for a, b in zip(parts, others, strict=True)]
    return "/".join(common) if common.count("…") <= 1 else None
