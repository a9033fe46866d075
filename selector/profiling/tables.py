"""What a session measured, as tables for the terminal."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from selector.evidence.record import Conditions, Figure, Record
from selector.profiling.throughput import saturation

if TYPE_CHECKING:
    from rich.table import Table

RATE = "ms_per_sample"
GAP = 2  # blanks between columns
SOMETIMES = (
    *("energy_mj", "agreement_top1", "cosine_logits"),
    *("train_memory_allocated_peak_bytes", "train_memory_reserved_peak_bytes", "train_memory_device_peak_bytes"),
    *("macs_backward", "prefix_cache_bytes"),
)
INFERENCE_COLUMNS = (
    ("latency_ms_p50", "p50"),
    ("latency_ms_p90", "p90 ≤"),
    ("agreement_top1", "= fp32 %"),
    ("cosine_logits", "cosine"),
    ("energy_mj", "mJ"),
    ("load_ms", "load"),
    ("first_inference_ms", "first"),
    ("memory_rss_peak_bytes", "peak MB"),
    ("artifact_bytes", "file MB"),
)
"""Metric and heading, the most important first: what finds no room follows in a further table."""
TRAINING_COLUMNS = (
    ("train_step_ms", "step ms"),
    ("train_memory_rss_peak_bytes", "peak MB"),
    ("train_memory_allocated_peak_bytes", "torch MB"),
    ("train_memory_reserved_peak_bytes", "held MB"),
    ("train_memory_device_peak_bytes", "GPU MB"),
    ("params_trainable", "trainable M"),
    ("macs_backward", "backward MMACs"),
    ("prefix_cache_bytes", "cache MB/image"),
)


def tables(records: Sequence[Record], width: int | None = None) -> "Iterator[Table]":
    """Tables for each runtime, precision and thread count, for training, and for throughput.

    Columns that find no room in `width` follow in a further table of the same rows; names are never broken.
    """
    groups: dict[str, list[Record]] = {}
    for record in records:
        if record.figure.metric.name == RATE:
            continue
        at = record.conditions
        what = f"{at.runtime} {at.precision}" if at.freeze is None else f"Training in {at.runtime} {at.precision}"
        groups.setdefault(f"{what}, batch {at.batch_size}, threads {at.threads}, times in ms", []).append(record)
    for title, group in groups.items():
        training = group[0].conditions.freeze is not None
        yield from _figures(group, TRAINING_COLUMNS if training else INFERENCE_COLUMNS, title, width)
    yield from _throughput([record for record in records if record.figure.metric.name == RATE])


def _figures(
    records: Sequence[Record], columns: Sequence[tuple[str, str]], title: str, width: int | None
) -> "Iterator[Table]":
    rows: dict[Conditions, dict[str, Record]] = {}
    for record in records:
        rows.setdefault(record.conditions, {})[record.figure.metric.name] = record
    told = {record.figure.metric.name for record in records}
    named = _naming(list(rows))
    figures = [
        (heading, tuple(cell(of.get(metric)) for of in rows.values()))
        for metric, heading in columns
        # what not every run measures is no column of dashes
        if metric in told or metric not in SOMETIMES
    ]
    for number, part in enumerate(_parts(named, figures, width)):
        yield _table(f"{title}, continued" if number else title, named, part)


Column = tuple[str, tuple[str, ...]]  # heading and cells


def _naming(rows: Sequence[Conditions]) -> list[Column]:
    """The columns that say what a row is about."""
    named = [("backbone", tuple(at.backbone for at in rows))]
    if any(at.freeze for at in rows):
        points = [at.freeze for at in rows]
        named.append(("frozen", tuple(f"{p.name} ({p.frozen_blocks}/{p.total_blocks})" if p else "" for p in points)))
    return [*named, ("px", tuple(str(at.resolution) for at in rows))]


def _parts(named: Sequence[Column], figures: Sequence[Column], width: int | None) -> list[list[Column]]:
    """The figures' columns in their order, cut so that each part fits into `width` beside the naming columns."""
    taken = sum(map(_width, named))
    parts: list[list[Column]] = [[]]
    used = taken
    for column in figures:
        if parts[-1] and width is not None and used + _width(column) - GAP > width:
            parts.append([])
            used = taken
        parts[-1].append(column)
        used += _width(column)
    return parts


def _width(column: Column) -> int:
    """What a column takes, the gap after it included."""
    heading, cells = column
    return max(map(len, (heading, *cells))) + GAP


def _table(title: str, named: Sequence[Column], figures: Sequence[Column]) -> "Table":
    from rich.table import Table

    table = Table(title=title, title_justify="left", box=None, pad_edge=False, padding=(0, GAP, 0, 0))
    for heading, _ in named:
        table.add_column(heading, justify="right" if heading == "px" else "left", overflow="fold")
    for heading, _ in figures:
        table.add_column(heading, justify="right", no_wrap=True)
    for row in zip(*(cells for _, cells in (*named, *figures)), strict=True):
        table.add_row(*row)
    return table


def _throughput(records: Sequence[Record]) -> "Iterator[Table]":
    """Images a second at each batch size; a mark at the size beyond which little is gained."""
    groups: dict[str, dict[tuple[str, int | None], dict[int, Record]]] = {}
    for record in records:
        at = record.conditions
        title = f"Throughput of {at.runtime} {at.precision}, threads {at.threads}"
        groups.setdefault(title, {}).setdefault((at.backbone, at.resolution), {})[at.batch_size or 1] = record
    for title, models in groups.items():
        rows: list[tuple[str, ...]] = []
        for (backbone, resolution), sizes in models.items():
            enough = saturation({size: record.figure.value for size, record in sizes.items()})
            for size, record in sorted(sizes.items()):
                rate = f"{'~' if record.stable is False else ''}{1e3 / record.figure.value:,.1f}"
                mark = "enough" if size == enough else ""
                rows.append((backbone, str(resolution), str(size), rate, cell(record), mark))
        backbones, pixels, *figures = zip(*rows, strict=True)
        headings = ("batch", "images/s", "ms/image", "")
        yield _table(title, [("backbone", backbones), ("px", pixels)], list(zip(headings, figures, strict=True)))


def cell(record: Record | None) -> str:
    """The figure with its interval's half width; ~ marks one that never settled, – one that there is not."""
    if record is None:
        return "–"
    mark = "~" if record.stable is False else ""
    figure = record.figure
    if figure.low is None or figure.high is None:
        return mark + _number(figure, figure.value)
    half = max(figure.high - figure.value, figure.value - figure.low) / figure.value
    return f"{mark}{_number(figure, figure.value)} ±{half:.1%}"


def _number(figure: Figure, value: float) -> str:
    if figure.metric.name == "prefix_cache_bytes":
        return f"{value / 1e6:,.3f}"
    if figure.metric.unit == "B" or figure.metric.name == "macs_backward":
        return f"{value / 1e6:,.1f}"
    if figure.metric.name == "params_trainable":
        return f"{value / 1e6:,.2f}"
    return f"{value:,.{figure.metric.digits}f}"
