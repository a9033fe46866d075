"""What a session measured, as tables for the terminal."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from selector.evidence.record import Conditions, Figure, Record

if TYPE_CHECKING:
    from rich.table import Table

INFERENCE_COLUMNS = (
    ("latency_ms_p50", "p50"),
    ("latency_ms_p90", "p90 ≤"),
    ("load_ms", "load"),
    ("first_inference_ms", "first"),
    ("memory_rss_peak_bytes", "peak MB"),
    ("artifact_bytes", "file MB"),
    ("agreement_top1", "= fp32 %"),
    ("cosine_logits", "cosine"),
)
TRAINING_COLUMNS = (
    ("train_step_ms", "step ms"),
    ("train_memory_rss_peak_bytes", "peak MB"),
    ("params_trainable", "trainable"),
)


def tables(records: Sequence[Record]) -> "Iterator[Table]":
    """A table for each runtime, precision and thread count, and one for training at each thread count."""
    groups: dict[str, list[Record]] = {}
    for record in records:
        at = record.conditions
        what = f"{at.runtime} {at.precision}" if at.freeze is None else "Training"
        groups.setdefault(f"{what}, batch {at.batch_size}, threads {at.threads}, times in ms", []).append(record)
    for title, group in groups.items():
        training = group[0].conditions.freeze is not None
        yield _table(group, TRAINING_COLUMNS if training else INFERENCE_COLUMNS, title)


def _table(records: Sequence[Record], columns: Sequence[tuple[str, str]], title: str) -> "Table":
    from rich import box
    from rich.table import Table

    rows: dict[Conditions, dict[str, Record]] = {}
    for record in records:
        rows.setdefault(record.conditions, {})[record.figure.metric.name] = record
    told = {record.figure.metric.name for record in records}
    # what lossy precisions add is no column of dashes where there are none
    columns = [
        column for column in columns if column[0] in told or column[0] not in ("agreement_top1", "cosine_logits")
    ]
    with_depth = any(at.freeze for at in rows)
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("backbone", overflow="fold")
    if with_depth:
        table.add_column("frozen", overflow="fold")
    table.add_column("px", justify="right")
    for _, heading in columns:
        table.add_column(heading, justify="right", no_wrap=True)
    for at, figures in rows.items():
        frozen = [f"{at.freeze.name} ({at.freeze.frozen_blocks}/{at.freeze.total_blocks})"] if at.freeze else []
        cells = (_cell(figures.get(metric)) for metric, _ in columns)
        table.add_row(at.backbone, *frozen, str(at.resolution), *cells)
    return table


def _cell(record: Record | None) -> str:
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
    if figure.metric.unit == "B":
        return f"{value / 1e6:,.1f}"
    return f"{value:,.{figure.metric.digits}f}"
