from math import comb

import numpy as np
import pytest

from selector.profiling.intervals import median_interval, median_interval_of_windows, p90_bound, students_t


def test_the_medians_interval_is_the_tables_one() -> None:
    # Conover's table and every textbook: n = 10 at 95 % is the 2nd and the 9th value
    assert median_interval(list(range(1, 11))) == (2, 9)
    assert median_interval(list(range(1, 7))) == (1, 6)
    assert median_interval(list(range(1, 101))) == (40, 61)


def test_the_medians_interval_holds_the_median_as_often_as_it_says() -> None:
    random = np.random.default_rng(0)
    draws = random.lognormal(size=(2000, 40))
    intervals = [median_interval(list(row)) for row in draws]
    covered = np.mean([low <= 1.0 <= high for low, high in intervals])
    assert 0.945 <= covered <= 0.99


def test_a_p90_needs_64_samples() -> None:
    assert p90_bound(list(range(63))) is None
    assert p90_bound(list(range(64))) == 62  # one sample lies beyond it: MLPerf's smallest run


@pytest.mark.parametrize("n", [64, 100, 999, 1000, 3000])
def test_the_p90_bound_is_the_smallest_that_holds_at_99_percent(n: int) -> None:
    bound = p90_bound([float(i) for i in range(n)])
    assert bound is not None
    k = int(bound) + 1  # its rank from below
    # P(Bin(n, 0.9) ≥ k) in exact integers: 9^i of 10^n
    at_least = [sum(comb(n, i) * 9**i for i in range(rank, n + 1)) / 10**n for rank in (k, k - 1)]
    assert at_least[0] <= 0.01 < at_least[1]


@pytest.mark.parametrize(("between", "within"), [(1.0, 1.0), (2.0, 0.5), (0.0, 1.0)])
@pytest.mark.parametrize(("windows", "size"), [(6, 8), (9, 2), (9, 8), (15, 3)])
def test_the_interval_of_windows_holds_the_median_however_alike_their_samples_are(
    between: float, within: float, windows: int, size: int
) -> None:
    random = np.random.default_rng(0)
    levels = between * random.standard_normal((1000, windows, 1))
    runs = levels + within * random.standard_normal((1000, windows, size))
    intervals = [median_interval_of_windows(run.tolist()) for run in runs]
    assert np.mean([low <= 0.0 <= high for low, high in intervals]) >= 0.94
    if between and size > 2:  # the samples of a window taken for independent ones: far too sure
        assert np.mean([a <= 0.0 <= b for a, b in (median_interval(run.ravel()) for run in runs)]) < 0.9


def test_a_spell_in_a_few_windows_leaves_the_interval_narrow_and_in_many_does_not() -> None:
    quiet, slow = [1.0, 1.01, 0.99, 1.0], [1.2, 1.21, 1.19, 1.2]
    for spells, wide in ((0, False), (1, False), (2, False), (4, True)):
        low, high = median_interval_of_windows([slow] * spells + [quiet] * (9 - spells))
        assert (high - low > 0.1) == wide


def test_windows_of_one_sample_are_independent_samples() -> None:
    samples = [float(x) for x in np.random.default_rng(0).standard_normal(20)]
    assert median_interval_of_windows([[x] for x in samples]) == median_interval(samples)
    assert median_interval_of_windows([samples]) == median_interval(samples)
    assert median_interval_of_windows([[1.0] * 4] * 9) == (1.0, 1.0)


def test_students_t_is_the_tables_one() -> None:
    for freedom, value in ((3, 3.182), (5, 2.571), (8, 2.306), (30, 2.042)):
        assert students_t(0.95, freedom) == pytest.approx(value, rel=2e-3)
    assert students_t(0.99, 8) == pytest.approx(3.355, rel=2e-3)


def test_nothing_has_no_median() -> None:
    with pytest.raises(ValueError, match="at least one"):
        median_interval([])
