"""What the pace is read by: reference workloads, timed right before and after each window of a model (`pace`).

A gauge's workloads are slowed by what slows a runtime's models. `NUMPY`'s serve every runtime that keeps its buffers;
another runtime names a gauge of its own (`Runtime.gauge`). Times of two gauges, or of two versions of the library that
computes one, do not compare.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from math import prod
from mmap import mmap
from statistics import median
from time import perf_counter_ns

import numpy as np
from numpy.typing import NDArray

from selector.profiling.pace import Pace

Work = Callable[[], object]


@dataclass(frozen=True, slots=True)
class Gauge:
    """Reference workloads that take about a millisecond or less each, and how models go with them."""

    workloads: tuple[str, ...]  # what is timed, for who reads a figure's document
    short: str  # the same in a few words that are followed by "take … and … ms"
    library: str  # the distribution that computes them
    powers: tuple[float, ...]  # by which a runtime's models are taken to slow, one for each workload; empty: unknown
    make: Callable[[int], Sequence[Work]]  # the workloads, beside models of so many threads, with their memory
    repeats: int  # of each in a reading, after one that does not count
    threaded: bool = False  # whether they run on as many threads as the models

    def label(self, threads: int | None) -> str:
        """What is told to have taken so long, by a reading beside models on `threads` where those matter to it."""
        return self.short if threads is None else f"{self.short} on {threads} thread{'s' if threads > 1 else ''}"

    def read(self, threads: int) -> Pace:
        """The pace now, beside models of so many threads: of each workload the median of some repetitions."""
        return tuple(_median_ms(work, self.repeats) for work in _made(self, threads))


@cache
def _made(gauge: Gauge, threads: int) -> Sequence[Work]:
    return gauge.make(threads)


def _median_ms(work: Work, repeats: int) -> float:
    times = []
    for _ in range(1 + repeats):
        start = perf_counter_ns()
        work()
        times.append(perf_counter_ns() - start)
    return median(times[1:]) / 1e6


def _numpy_workloads(threads: int) -> tuple[Work, Work]:
    del threads
    matrices, products, right = _pages(4, 64, 64), _pages(4, 64, 64), _pages(1, 64, 64)[0]
    arrays, rectified = _pages(4, 49, 4096), _pages(4, 49, 4096)
    for operand in (matrices, right, arrays):
        operand[...] = np.random.default_rng(0).standard_normal(operand.shape, dtype=np.float32)

    def compute() -> None:
        for _ in range(7):
            np.matmul(matrices, right, out=products)

    def move() -> None:
        for array, out in zip(arrays, rectified, strict=True):
            np.maximum(array, 0, out=out)

    return compute, move


def _pages(*shape: int) -> NDArray[np.float32]:
    """Memory of its own from the start of a page on, [*shape] float32."""
    return np.frombuffer(mmap(-1, 4 * prod(shape)), dtype=np.float32).reshape(shape)


NUMPY = Gauge(
    workloads=(
        "28 products of 64 by 64 matrices in fp32",
        "4 arrays of 0.8 MB in fp32, rectified into 4 others",
    ),
    short="workloads that compute and move data",
    library="numpy",
    powers=(0.45, 0.3),
    make=_numpy_workloads,
    repeats=5,
)
"""One workload that computes and one that moves data, by numpy on one thread: its OpenBLAS multiplies matrices of this
size on one, whatever it is told. A reading takes two milliseconds.

All lie at the start of pages, since anywhere else a product takes up to 20 % longer. The matrices are few, so that the
second-level cache holds them; the arrays are more than most such caches hold.

The powers come from four runs of 48 configurations within 20 minutes, on two cores of a shared host whose pace went
from 0.95 to 1.09 and from 0.89 to 1.02: medians of ONNX Runtime and OpenVINO went with it by 0.4 and 0.3 (0.45 nearly
as well).
"""
