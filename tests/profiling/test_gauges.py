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


def test_the_blocks_are_the_same_ones_each_time_they_are_made() -> None:
    first, second = ([np.asarray(work()) for work in TORCH.make()] for _ in range(2))
    for one, other in zip(first, second, strict=True):
        assert np.array_equal(one, other)
        assert np.isfinite(one).all()
        assert one.std() > 0.1
