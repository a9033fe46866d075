"""Reference workloads: they are read, take time, and are the same ones in every process."""

import numpy as np
import pytest

from selector.profiling.gauges import NUMPY, Gauge
from selector.profiling.runtimes.torch_gauge import TORCH


@pytest.mark.parametrize("gauge", [NUMPY, TORCH], ids=lambda gauge: gauge.library)
def test_a_gauge_is_read_and_takes_time(gauge: Gauge) -> None:
    found = gauge.read()
    assert len(found) == len(gauge.workloads) == len(gauge.powers)
    assert min(found) > 0


def test_the_blocks_are_those_that_are_named_and_the_same_ones_each_time() -> None:
    first, second = ([np.asarray(work()) for work in TORCH.make()] for _ in range(2))
    assert [answer.shape for answer in first] == [(1, 24, 56, 56), (1, 64, 28, 28)]
    for one, other, named in zip(first, second, TORCH.workloads, strict=True):
        assert np.array_equal(one, other)
        assert np.isfinite(one).all()
        assert f"{one.shape[1]} channels at {one.shape[2]} by {one.shape[3]}" in named


def test_what_is_told_of_a_gauge_names_the_threads_where_they_matter() -> None:
    assert [TORCH.label(threads) for threads in (None, 1, 2)] == [
        "an inverted residual block and a residual block",
        "an inverted residual block and a residual block on 1 thread",
        "an inverted residual block and a residual block on 2 threads",
    ]
