"""What a record must keep to before it enters the store or a file."""

import math

from selector.evidence.record import Record


def faults(record: Record) -> list[str]:
    """One sentence for each thing that is wrong with `record`; empty where it is sound."""
    found = [*_numbers(record), *_texts(record), *_freeze(record)]
    if record.recorded_at.tzinfo is None:
        found.append(f"recorded_at {record.recorded_at} has no time zone; times are UTC")
    return found


def _numbers(record: Record) -> list[str]:
    figure, at = record.figure, record.conditions
    found = []
    for name, number in (("value", figure.value), ("low", figure.low), ("high", figure.high)):
        if number is not None and not math.isfinite(number):
            found.append(f"{name} is {number}; a figure is a finite number")
    if figure.low is not None and figure.high is not None and figure.low > figure.high:
        found.append(f"low {figure.low:g} lies above high {figure.high:g}")
    counts = {"resolution": at.resolution, "batch_size": at.batch_size, "threads": at.threads, "n": record.n}
    found += [
        f"{name} is {count}; from 1 to 2^63 - 1"
        for name, count in counts.items()
        if count is not None and not 1 <= count < 1 << 63
    ]
    return found


def _texts(record: Record) -> list[str]:
    at = record.conditions
    found = []
    needed = {"backbone": at.backbone, "hardware": at.hardware, "source": record.figure.source}
    optional = {
        "runtime": at.runtime,
        "runtime_version": at.runtime_version,
        "precision": at.precision,
        "freeze": at.freeze.name if at.freeze else None,
        "fingerprint": record.fingerprint,
        "protocol": record.protocol,
    }
    for name, text in {**needed, **optional}.items():
        if text is None:
            continue
        if not text.strip():
            found.append(f"{name} is empty" + ("; no figure without its source" if name == "source" else ""))
        elif "\0" in text or any("\ud800" <= letter <= "\udfff" for letter in text):
            found.append(f"{name} {text!r} is no plain text")
    return found


def _freeze(record: Record) -> list[str]:
    freeze = record.conditions.freeze
    if freeze is None or 0 <= freeze.frozen_blocks <= freeze.total_blocks < 1 << 63:
        return []
    return [f"freeze: {freeze.frozen_blocks} frozen blocks of {freeze.total_blocks}"]
