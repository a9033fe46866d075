import subprocess
import sys

import pytest

from selector.profiling.workers import KEEP_FREED_MEMORY

FAULTS = """
import resource
def use():
    bytearray(b"x") * (40 << 20)  # beyond what glibc's own adaptation ever keeps
for _ in range(3): use()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10): use()
print((resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) / 10)
"""


def faults(environment: dict[str, str]) -> float:
    done = subprocess.run([sys.executable, "-c", FAULTS], env=environment, capture_output=True, text=True, check=True)
    return float(done.stdout)


def test_a_worker_keeps_the_memory_that_it_frees() -> None:
    if faults({}) < 1000:
        pytest.skip("this C library keeps freed memory by itself")
    assert faults(KEEP_FREED_MEMORY) < 100
