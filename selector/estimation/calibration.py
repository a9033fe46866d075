"""A device's own figures from a CSV file, checked row by row, and what they say of the estimator there.

Columns: model, resolution, batch_size, runtime, precision, and p50_ms or ms_per_sample; optional: runtime_version,
threads, source.
"""

import csv
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from selector.backbones.layers import networks
from selector.errors import InvalidEvidence, InvalidInput, UnknownName
from selector.estimation.estimator import latency_estimator
from selector.estimation.features import work
from selector.estimation.latency import LatencyQuery
from selector.estimation.specification import precisions
from selector.evidence.metrics import LATENCY_P50, TIME_PER_SAMPLE
from selector.hardware.profiles import LARGEST_RESOLUTION, HardwareProfile, PublishedFigure, unknown_ids

COLUMNS = ("model", "resolution", "batch_size", "runtime", "precision")
VALUES = {"p50_ms": LATENCY_P50.name, "ms_per_sample": TIME_PER_SAMPLE.name}
WHOLE_DIGITS = 9  # more are a slip
LEAST_MS, MOST_MS = 1e-4, 1e7  # beyond them a time is a slip
CHECKED = 4  # figures of a configuration from which each can be predicted by the others


@dataclass(frozen=True, slots=True)
class CalibrationCheck:
    """How well the figures of one configuration predict each other: each left out in turn."""

    runtime: str
    precision: str
    figures: int
    mean_error_percent: float | None  # None: too few figures to leave one out
    within_interval: int | None  # how many of the figures their 80 % interval held


def read_figures(path: Path, *, offered: Sequence[str] = ()) -> tuple[PublishedFigure, ...]:
    """The figures in `path`; `offered` are the runtimes of the device, beside those that are known.

    Raises InvalidEvidence with every fault, each with its line.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            columns = reader.fieldnames or []
            _check_columns(path, columns)
            rows = [(reader.line_num, row) for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InvalidEvidence(f"{path}: cannot be read as CSV: {error}") from error
    figures, faults = [], []
    seen: dict[tuple[str, ...], int] = {}
    for line, row in rows:
        figure, wrong = _figure(row, f"{path.name}, line {line}", offered)
        key = tuple((row.get(c) or "").strip() for c in (*COLUMNS, "runtime_version", "threads"))
        if key in seen and not wrong:
            wrong = [f"says again what line {seen[key]} says"]
        seen.setdefault(key, line)
        faults += [f"{path}, line {line}: {fault}" for fault in wrong]
        if figure is not None:
            figures.append(figure)
    if not rows:
        faults.append(f"{path}: holds no figures")
    if faults:
        raise InvalidEvidence(faults)
    return tuple(figures)


def check_calibration(profile: HardwareProfile, figures: Sequence[PublishedFigure]) -> tuple[CalibrationCheck, ...]:
    """Each figure predicted from the specification and the others of its configuration, for each configuration."""
    groups: dict[tuple[str, str], list[PublishedFigure]] = defaultdict(list)
    for figure in figures:
        groups[figure.runtime, figure.precision].append(figure)
    return tuple(_check(profile, runtime, precision, own) for (runtime, precision), own in sorted(groups.items()))


def _check(profile: HardwareProfile, runtime: str, precision: str, own: Sequence[PublishedFigure]) -> CalibrationCheck:
    if len(own) < CHECKED:
        return CalibrationCheck(runtime, precision, len(own), None, None)
    errors, held = [], 0
    for figure in own:
        others = tuple(f for f in profile.published if f is not figure)
        figure_ms = figure.value * (figure.batch_size if figure.metric == TIME_PER_SAMPLE.name else 1)
        estimator = latency_estimator(replace(profile, published=others))
        query = LatencyQuery(figure.backbone, figure.resolution, runtime, precision, figure.batch_size)
        estimated = estimator.estimate(query)
        if estimated is None or estimated.low is None or estimated.high is None:
            continue
        errors.append(abs(estimated.value / figure_ms - 1))
        held += estimated.low <= figure_ms <= estimated.high
    return CalibrationCheck(runtime, precision, len(own), 100 * float(np.mean(errors)), held)


def _check_columns(path: Path, columns: Sequence[str]) -> None:
    missing = [c for c in COLUMNS if c not in columns]
    if not any(c in columns for c in VALUES):
        missing.append("p50_ms or ms_per_sample")
    if missing:
        needed = ", ".join(COLUMNS)
        raise InvalidEvidence(
            f"{path}: column {', '.join(missing)} is missing; needed: {needed}, p50_ms or ms_per_sample"
        )


def _figure(
    row: Mapping[str, str | None], place: str, offered: Sequence[str]
) -> tuple[PublishedFigure | None, list[str]]:
    """The figure of one row, or what is wrong with it."""
    cells = {name: (value or "").strip() for name, value in row.items() if isinstance(name, str)}
    faults = [f"{name} is missing" for name in COLUMNS if not cells.get(name)]
    if len(cells) < len(row):  # csv puts what is beyond the last column under None
        faults.append("has more cells than there are columns; is a comma meant as a decimal point?")
    model, precision = cells.get("model", ""), cells.get("precision", "")
    known = networks()
    if model and model not in known:
        faults.append(str(UnknownName("backbone", model, known, listing="selector catalog")))
    faults += unknown_ids([cells["runtime"]] if cells.get("runtime") else [], [], offered=offered)
    if precision and precision not in precisions():
        faults.append(f"precision {precision!r} is none of {', '.join(precisions())}")
    resolution = _whole(cells.get("resolution", ""), "resolution", faults)
    batch = _whole(cells.get("batch_size", ""), "batch_size", faults)
    threads = _whole(cells.get("threads", ""), "threads", faults)
    stated = [(name, cells[name]) for name in VALUES if cells.get(name)]
    if len(stated) != 1:
        faults.append("states both p50_ms and ms_per_sample" if stated else "states neither p50_ms nor ms_per_sample")
    value = _positive(*stated[0], faults) if stated else None
    if resolution is not None and resolution > LARGEST_RESOLUTION:
        faults.append(f"resolution {resolution} is above {LARGEST_RESOLUTION} pixels")
    elif model in known and resolution is not None:
        faults += _too_small(model, resolution)
    if faults or value is None or resolution is None or batch is None:
        return None, faults
    version, source = cells.get("runtime_version") or "unknown", cells.get("source") or place
    metric = VALUES[stated[0][0]]
    figure = PublishedFigure(
        metric, model, resolution, batch, cells["runtime"], version, precision, threads, value, source
    )
    return figure, []


def _too_small(model: str, resolution: int) -> list[str]:
    try:
        work(model, resolution)
    except InvalidInput as error:
        return list(error.faults)
    return []


def _whole(cell: str, name: str, faults: list[str]) -> int | None:
    if not cell:
        return None
    if not (cell.isascii() and cell.isdigit() and len(cell) <= WHOLE_DIGITS and int(cell) >= 1):
        faults.append(f"{name} {cell!r} is no whole number above 0")
        return None
    return int(cell)


def _positive(name: str, cell: str, faults: list[str]) -> float | None:
    try:
        value = float(cell if "_" not in cell else "no number")  # Python would take 1_000 for a thousand
    except ValueError:
        faults.append(f"{name} {cell!r} is no number")
        return None
    if not (0 < value < float("inf")):
        faults.append(f"{name} {cell!r} is no positive number of milliseconds")
        return None
    if not LEAST_MS <= value <= MOST_MS:
        faults.append(f"{name} {cell!r} is no time that an inference takes, {LEAST_MS:g} to {MOST_MS:g} milliseconds")
        return None
    return value
