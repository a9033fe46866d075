"""How close a configuration comes to what its device can do: the roofline model (Williams, Waterman, Patterson 2009).

Operations are twice the multiply-accumulates of the layer table. Bytes are the least that has to move if every layer
reads its input and weights and writes its output once, and norm and activation ride along: an approximation, since a
runtime that fuses layers or keeps them in its caches moves fewer, and one that does not moves more. So a point may lie
above the slope, whose bandwidth is that of memory and not of caches.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from selector.backbones.layers import layers
from selector.evidence.record import Record
from selector.profiling.peaks import Peaks

BYTES = {"fp32": 4, "tf32": 4, "int8-dynamic": 4, "fp16": 2, "bf16": 2, "amp": 2, "int8-static": 1}
"""Bytes an element; dynamic quantisation leaves convolutions in fp32, and mixed precision computes them in half."""


@dataclass(frozen=True, slots=True)
class Point:
    """One measured configuration."""

    backbone: str
    runtime: str
    precision: str
    resolution: int
    batch_size: int
    threads: int | None
    latency_ms: float
    intensity: float  # operations a byte
    gflops: float  # achieved
    stable: bool  # whether its time settled
    share: float  # of the fp32 roof at this intensity; above 1 where int8 outruns fp32, or caches outrun memory


@dataclass(frozen=True, slots=True)
class Roofline:
    """A device's roof at one thread count and the configurations under it."""

    device: str
    peaks: Peaks
    points: tuple[Point, ...]

    @property
    def ridge(self) -> float:
        """Operations a byte from which on arithmetic is the limit and not memory."""
        return self.peaks.gflops / self.peaks.gb_s


def roofline(device: str, records: Iterable[Record], peaks: Peaks) -> Roofline:
    """The p50 records of `peaks`' thread count against it (all of them where the peaks name none), fastest first."""
    points = [
        point(record, peaks)
        for record in records
        if record.figure.metric.name == "latency_ms_p50"
        and record.conditions.precision in BYTES
        and record.conditions.resolution is not None
        and peaks.threads in (None, record.conditions.threads)
    ]
    return Roofline(device, peaks, tuple(sorted(points, key=lambda p: -p.gflops)))


def point(record: Record, peaks: Peaks) -> Point:
    """Where one p50 record lies. Raises UnknownName for a network without a layer table."""
    at = record.conditions
    batch, resolution = at.batch_size or 1, at.resolution or 0
    operations, moved = work(at.backbone, resolution, at.precision or "fp32", batch)
    gflops = operations / record.figure.value / 1e6  # ms → GFLOP/s
    intensity = operations / moved
    roof = min(peaks.gflops, intensity * peaks.gb_s)
    return Point(
        at.backbone,
        at.runtime or "",
        at.precision or "fp32",
        resolution,
        batch,
        at.threads,
        record.figure.value,
        intensity,
        gflops,
        record.stable is not False,
        gflops / roof,
    )


def work(
    backbone: str, resolution: int, precision: str, batch: int, sizes: Mapping[str, int] = BYTES
) -> tuple[int, int]:
    """Operations and bytes of one batch: layers' inputs, outputs and weights, each moved once."""
    rows = layers(backbone, resolution)
    operations = 2 * batch * sum(layer.macs for layer in rows)
    images = sum(layer.in_channels * layer.in_h * layer.in_w + layer.activations for layer in rows)
    weights = sum(layer.params for layer in rows)
    return operations, sizes[precision] * (batch * images + weights)
