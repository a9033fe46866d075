"""What samples of latency say of the median and of the 90th percentile, with bounds and without a distribution.

Pure arithmetic. Samples come in windows: those of one window were taken right after each other, and whatever slowed the
machine at that moment slowed them all.
"""

from collections.abc import Sequence
from functools import lru_cache
from math import comb, exp, lgamma, log, sqrt
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float64]

P90_SAMPLES = 64
"""Fewest samples that bound a 90th percentile at 99 % confidence with one sample beyond the bound (MLPerf's early
stopping, inference rules: 64 queries for p90, 662 for p99)."""


def median_interval(samples: Sequence[float] | Samples, confidence: float = 0.95) -> tuple[float, float]:
    """Confidence interval of the median from order statistics, without assuming a distribution.

    The k-th smallest and k-th largest sample, k the largest with P(Bin(n, ½) < k) ≤ (1 - confidence) / 2 (Conover,
    Practical Nonparametric Statistics, 3.2). With fewer samples than that needs (6 at 95 %) the interval is the whole
    range, and narrower than its confidence; `Tracker` never stops on one. Raises ValueError without samples.
    """
    if not len(samples):
        raise ValueError("a median needs at least one sample")
    ordered = np.sort(np.asarray(samples, dtype=np.float64))
    k = max(1, lower_rank(len(ordered), (1 - confidence) / 2))
    return float(ordered[k - 1]), float(ordered[len(ordered) - k])


def median_interval_of_windows(windows: Sequence[Sequence[float]], confidence: float = 0.95) -> tuple[float, float]:
    """`median_interval` of all samples, wider where those of a window are more alike than those of different windows.

    Windows are then what was drawn, and samples parts of them (cluster sampling): the share of samples below the median
    has the standard error that the windows' own shares show, and the interval's ends are the quantiles at ½ ± t of that
    error (Woodruff 1952, JASA 47:635; t with a degree of freedom fewer than windows). A spell in which two windows of
    nine fell leaves it narrow, one in which four did does not. With windows of one sample, and where windows do not
    differ, it is the interval of independent samples.
    """
    samples = np.array([x for window in windows for x in window], dtype=np.float64)
    low, high = median_interval(samples, confidence)
    m, n = len(windows), len(samples)
    if m < 2 or n == m:
        return low, high
    sides = np.sign(np.median(samples) - samples) / 2  # ½ below the median, -½ above it
    starts = np.cumsum([0, *(len(window) for window in windows[:-1])])
    error = sqrt(m / (m - 1) * np.sum(np.add.reduceat(sides, starts) ** 2)) / n
    reach = min(0.5, students_t(confidence, m - 1) * error)
    lower, upper = np.quantile(samples, [0.5 - reach, 0.5 + reach])
    return min(low, float(lower)), max(high, float(upper))


def students_t(confidence: float, freedom: int) -> float:
    """The two-sided quantile of Student's t, by its expansion about the normal one (Abramowitz and Stegun 26.7.5).

    At 95 % within 0.2 % from three degrees of freedom on, 0.7 % too small with two and 11 % with one. Not scipy's: a
    worker would import it, and its memory is a figure.
    """
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    terms = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
        (79 * z**9 + 776 * z**7 + 1482 * z**5 - 1920 * z**3 - 945 * z) / 92160,
    )
    return z + sum([term / freedom**power for power, term in enumerate(terms, 1)], 0.0)


@lru_cache(maxsize=4096)
def lower_rank(n: int, tail: float) -> int:
    """Largest k with P(Bin(n, ½) ≤ k - 1) ≤ tail; 0 where even k = 1 is too much."""
    cumulative, k = 0.0, 0
    while k < n:
        cumulative += exp(lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1) - n * log(2))
        if cumulative > tail:
            return k
        k += 1
    return k


def p90_bound(samples: Sequence[float]) -> float | None:
    """Upper bound of the 90th percentile at 99 % confidence; None with fewer than 64 samples.

    The smallest order statistic X(k) with P(Bin(n, 0.9) ≥ k) ≤ 1 %, which is the criterion of MLPerf's early stopping.
    """
    n = len(samples)
    if n < P90_SAMPLES:
        return None
    above, k = 0.0, n  # P(Bin(n, 0.9) ≥ k), summed from k = n downwards
    while k > 0:
        above += comb(n, k) * 0.1 ** (n - k) * 0.9**k if n < 1000 else _binomial(n, k)
        if above > 0.01:
            break
        k -= 1
    return float(np.sort(np.asarray(samples, dtype=np.float64))[k])  # k + 1 is the smallest that holds; 0-based k


def _binomial(n: int, k: int) -> float:
    """P(Bin(n, 0.9) = k), in logarithms: the plain product overflows for large n."""
    return exp(lgamma(n + 1) - lgamma(k + 1) - lgamma(n - k + 1) + k * log(0.9) + (n - k) * log(0.1))
