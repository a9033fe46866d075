"""What this machine reaches at best: the two ceilings of a roofline. Runs in a worker process that does nothing else.

Measured, because a peak cannot be read from a system: the fastest of several large fp32 matrix products (NumPy's BLAS;
on a GPU torch's, without TF32) and of several copies far larger than any cache (STREAM's Copy: bytes read plus bytes
written). Both are what software reaches here, a little below what the hardware could.
"""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

SIDE = 2048
COPY_BYTES = 256 << 20
GPU_SIDE = 8192
GPU_COPY_BYTES = 1 << 30
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
    return Peaks(gflops, gb_s, threads, _source(SIDE, COPY_BYTES))


def measure_gpu_peaks() -> Peaks:
    """The best of several runs on the first GPU, with any number of threads. Needs torch and CUDA."""
    import torch

    from selector.profiling.runtimes.torch_cuda import tf32

    with tf32(False):
        a, b = (torch.randn(GPU_SIDE, GPU_SIDE, device="cuda") for _ in range(2))
        out = torch.empty_like(a)

        def product() -> None:
            torch.mm(a, b, out=out)
            torch.cuda.synchronize()

        gflops = 2 * GPU_SIDE**3 / _fastest(product) / 1e9
    source, target = (torch.ones(GPU_COPY_BYTES // 4, device="cuda") for _ in range(2))

    def copy() -> None:
        target.copy_(source)
        torch.cuda.synchronize()

    return Peaks(gflops, 2 * GPU_COPY_BYTES / _fastest(copy) / 1e9, None, _source(GPU_SIDE, GPU_COPY_BYTES))


def _source(side: int, copied: int) -> str:
    return f"measured: best of {TIMES} fp32 matrix products of side {side}, of {TIMES} copies of {copied >> 20} MiB"


def _fastest(run: Callable[[], object]) -> float:
    """Seconds of the fastest of TIMES calls, after one uncounted."""
    run()
    times = []
    for _ in range(TIMES):
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times)
