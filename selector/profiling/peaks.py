"""What this machine reaches at best: the two ceilings of a roofline. Runs in a worker process that does nothing else.

Measured, because a peak cannot be read from a system: the fastest of several large fp32 matrix products (NumPy's BLAS)
and of several copies far larger than any cache (STREAM's Copy: bytes read plus bytes written). Both are what software
reaches here, a little below what the hardware could.
"""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

SIDE = 2048
COPY_BYTES = 256 << 20
TIMES = 7


@dataclass(frozen=True, slots=True)
class Peaks:
    """Ceilings of one device with so many threads; `source` says where they come from."""

    gflops: float  # fp32, two operations a fused multiply-add
    gb_s: float
    threads: int | None
    source: str


def measure_peaks(threads: int) -> Peaks:
    """The best of several runs, about two seconds. The BLAS has to be limited to `threads` by its environment."""
    generator = np.random.default_rng(0)
    a, b = (generator.standard_normal((SIDE, SIDE), dtype=np.float32) for _ in range(2))
    out = np.empty_like(a)
    gflops = 2 * SIDE**3 / _fastest(lambda: np.matmul(a, b, out=out)) / 1e9
    source, target = np.ones(COPY_BYTES // 8), np.zeros(COPY_BYTES // 8)
    edges = np.linspace(0, len(source), threads + 1, dtype=np.int64)
    parts = [slice(int(start), int(end)) for start, end in pairwise(edges)]
    with ThreadPoolExecutor(threads) as pool:  # NumPy copies without the interpreter's lock
        seconds = _fastest(lambda: list(pool.map(lambda part: np.copyto(target[part], source[part]), parts)))
    gb_s = 2 * COPY_BYTES / seconds / 1e9
    return Peaks(
        gflops,
        gb_s,
        threads,
        f"measured: best of {TIMES} fp32 matrix products of side {SIDE}, of {TIMES} copies of {COPY_BYTES >> 20} MiB",
    )


def _fastest(run: Callable[[], object]) -> float:
    """Seconds of the fastest of TIMES calls, after one uncounted."""
    run()
    times = []
    for _ in range(TIMES):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times)
