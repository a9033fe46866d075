"""What a session measured, as tables; drawing them is the command line's."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from selector.evidence.record import Conditions, Figure, Record
from selector.profiling.throughput import marks

RATE = "ms_per_sample"
SOMETIMES = (
    *("energy_mj", "agreement_top1", "cosine_logits", "build_ms"),
    *("train_memory_allocated_peak_bytes", "train_memory_reserved_peak_bytes", "train_memory_device_peak_bytes"),
    *("macs_backward", "prefix_cache_bytes"),
)
INFERENCE_COLUMNS = (
    ("latency_ms_p50", "p50"),
    ("latency_ms_p90", "p90 ≤"),
    ("agreement_top1", "= fp32 %"),
    ("cosine_logits", "cosine"),
    ("energy_mj", "mJ"),
    ("build_ms", "build"),
    ("load_ms", "load"),
    ("first_inference_ms", "first"),
    ("memory_rss_peak_bytes", "peak MB"),
    ("artifact_bytes", "file MB"),
)
"""Metric and heading, the most important first."""
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


Column = tuple[str, tuple[str, ...]]
"""Heading and cells."""


@dataclass(frozen=True, slots=True)
class FigureTable:
    """A table: columns that say what a row is about, and those of its figures, the most important first."""

    title: str
    named: tuple[Column, ...]
    figures: tuple[Column, ...]


def tables(records: Sequence[Record]) -> Iterator[FigureTable]:
    """A table for each runtime, precision and thread count, for training, and for throughput."""
    groups: dict[str, list[Record]] = {}
    for record in records:
        if record.figure.metric.name == RATE:
            continue
        at = record.conditions
        what = f"{at.runtime} {at.precision}" if at.freeze is None else f"Training in {at.runtime} {at.precision}"
        groups.setdefault(f"{what}, batch {at.batch_size}, threads {at.threads}, times in ms", []).append(record)
    for title, group in groups.items():
        training = group[0].conditions.freeze is not None
        yield _figures(group, TRAINING_COLUMNS if training else INFERENCE_COLUMNS, title)
    yield from _throughput([record for record in records if record.figure.metric.name == RATE])


def _figures(records: Sequence[Record], columns: Sequence[tuple[str, str]], title: str) -> FigureTable:
    rows: dict[Conditions, dict[str, Record]] = {}
    for record in records:
        rows.setdefault(record.conditions, {})[record.figure.metric.name] = record
    told = {record.figure.metric.name for record in records}
    figures = (
        (heading, tuple(cell(of.get(metric)) for of in rows.values()))
        for metric, heading in columns
        # what not every run measures is no column of dashes
        if metric in told or metric not in SOMETIMES
    )
    return FigureTable(title, _naming(list(rows)), tuple(figures))


def _naming(rows: Sequence[Conditions]) -> tuple[Column, ...]:
    named = [("backbone", tuple(at.backbone for at in rows))]
    if any(at.freeze for at in rows):
        points = [at.freeze for at in rows]
        named.append(("frozen", tuple(f"{p.name} ({p.frozen_blocks}/{p.total_blocks})" if p else "" for p in points)))
    return (*named, ("px", tuple(str(at.resolution) for at in rows)))


def _throughput(records: Sequence[Record]) -> Iterator[FigureTable]:
    """Images a second at each batch size; a mark at the size beyond which little is gained, or at the largest."""
    groups: dict[str, dict[tuple[str, int | None], dict[int, Record]]] = {}
    for record in records:
        at = record.conditions
        title = f"Throughput of {at.runtime} {at.precision}, threads {at.threads}"
        groups.setdefault(title, {}).setdefault((at.backbone, at.resolution), {})[at.batch_size or 1] = record
    for title, models in groups.items():
        rows: list[tuple[str, ...]] = []
        for (backbone, resolution), sizes in models.items():
            marked = marks({size: record.figure.value for size, record in sizes.items()})
            for size, record in sorted(sizes.items()):
                rate = f"{'~' if record.stable is False else ''}{1e3 / record.figure.value:,.1f}"
                rows.append((backbone, str(resolution), str(size), rate, cell(record), marked.get(size, "")))
        headings = ("backbone", "px", "batch", "images/s", "ms/image", "")
        columns = tuple(zip(headings, zip(*rows, strict=True), strict=True))
        yield FigureTable(title, columns[:2], columns[2:])


def cell(record: Record | None) -> str:
    """The figure with its interval's half width; ~ marks an unstable one, – one that there is not."""
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
