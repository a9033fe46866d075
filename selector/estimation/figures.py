"""Figures to learn from, read from a folder of CSV files.

A file counts when it has the columns device, runtime, runtime_version, precision, model, resolution, batch_size and
p50_ms or ms_per_sample; layout and threads are optional. Several figures of one subject: the latest round's median.
"""

import csv
from collections import defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from selector.backbones.layers import networks
from selector.errors import InvalidInput
from selector.estimation.configuration import Configuration, Series, Subject
from selector.estimation.specification import precisions
from selector.hardware.profiles import HardwareProfile

NEEDED = ("device", "runtime", "runtime_version", "precision", "model", "resolution", "batch_size")
MINIMUM = 11  # figures below which a configuration's rates are not fitted
PRECISIONS = {"amp-fp16": "fp16", "int8": "int8-static"}  # as sources write them
# the same submitter's "firefly" became another board: mlcommons/inference_results_v2.1 open/Krai/systems/firefly-*.json
SUCCESSORS = {"firefly-rk3399": ("v2.1", "firefly-rk3588s")}
# TFLite's fp32 kernels compute with one thread unless told otherwise, and the "master" series ran its defaults: an AGX
# Orin is six times slower there than in the series of the same month that states its threads, and as fast at int8
SINGLE_THREADED = frozenset({("tflite", "master", "fp32")})


def read_series(folder: Path, profiles: Mapping[str, HardwareProfile]) -> tuple[Series, ...]:
    """Every configuration with at least MINIMUM figures, the newest version of each, in alphabetical order.

    Raises InvalidInput where the folder holds no such file. Figures of networks outside the layer table and of devices
    without a profile are left out.
    """
    known = frozenset(networks())
    found: dict[Configuration, dict[Subject, list[tuple[str, float]]]] = defaultdict(lambda: defaultdict(list))
    for row in _rows(folder):
        device = _device(row)
        profile = profiles.get(device)
        precision = PRECISIONS.get(row["precision"], row["precision"])
        if profile is None or precision not in precisions() or row["model"] not in known:
            continue
        runtime, version = row["runtime"], row["runtime_version"]
        threads = int(row["threads"]) if row.get("threads") else None
        if (runtime, version, precision) in SINGLE_THREADED:
            threads = 1
        configuration = Configuration(
            device, profile.device_kind, runtime, version, precision, row.get("layout") or "", threads
        )
        batch = int(row["batch_size"])
        per_image = float(row["ms_per_sample"]) if row.get("ms_per_sample") else float(row["p50_ms"]) / batch
        found[configuration][Subject(row["model"], int(row["resolution"]), batch)].append(
            (row.get("round") or "", per_image)
        )
    series = [_series(c, of) for c, of in found.items() if len(of) >= MINIMUM]
    if not series:
        raise InvalidInput(
            f"{folder}: no CSV file with figures; columns {', '.join(NEEDED)} and p50_ms or ms_per_sample"
        )
    return newest(series)


def newest(series: Iterable[Series]) -> tuple[Series, ...]:
    """The newest version of each configuration and generation of its runtime, in alphabetical order."""
    best: dict[Configuration, Series] = {}
    for s in sorted(series, key=lambda s: version_key(s.configuration.version)):
        c = s.configuration
        best[Configuration(c.device, c.kind, c.runtime, c.generation, c.precision, c.layout, c.threads)] = s
    return tuple(sorted(best.values(), key=lambda s: _order(s.configuration)))


def version_key(version: str) -> tuple[int, ...]:
    """Versions in order; what is no number comes first."""
    return tuple(int(part) for part in version.split(".") if part.isdigit())


def _device(row: Mapping[str, str]) -> str:
    """The device of a row; a later round of some sources is about its successor."""
    name = row["device"]
    since, successor = SUCCESSORS.get(name, ("", name))
    return successor if since and (row.get("round") or "") >= since else name


def _series(configuration: Configuration, of: Mapping[Subject, list[tuple[str, float]]]) -> Series:
    values = []
    for figures in of.values():
        last = max(r for r, _ in figures)
        values.append(float(np.median([v for r, v in figures if r == last])))
    return Series(configuration, tuple(of), np.array(values))


def _rows(folder: Path) -> Iterable[dict[str, str]]:
    for path in sorted(folder.glob("*.csv")):
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            columns = reader.fieldnames or []
            if all(c in columns for c in NEEDED) and ("p50_ms" in columns or "ms_per_sample" in columns):
                yield from reader


def _order(c: Configuration) -> tuple[str, ...]:
    return (c.device, c.runtime, c.precision, c.layout, c.version)
