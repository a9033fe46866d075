"""Who else used the processors: read from files of known content, and for real beside a process that works."""

import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from selector.profiling.others import Reading, read, share

BEFORE = Reading(at=10.0, processors=2, busy=100.0, stolen=1.0, own=50.0, waited=3.0)


def after(*, busy: float, own: float, stolen: float = 0.0, waited: float | None = 0.0) -> Reading:
    """A second later."""
    now = None if waited is None else 3.0 + waited
    return Reading(at=11.0, processors=2, busy=100.0 + busy, stolen=1.0 + stolen, own=50.0 + own, waited=now)


def test_work_that_made_this_one_wait_counts() -> None:
    assert share(BEFORE, after(busy=2.0, own=1.5, waited=0.5), 2) == pytest.approx(0.25)
    assert share(BEFORE, after(busy=2.0, own=2.0), 2) == 0.0


def test_neighbours_with_processors_of_their_own_do_not_count() -> None:
    assert share(BEFORE, after(busy=2.0, own=1.0, waited=0.0), 2) == 0.0


def test_threads_that_wait_for_each_other_do_not_count() -> None:
    assert share(BEFORE, after(busy=2.0, own=2.0, waited=4.0), 2) == 0.0


def test_what_the_hypervisor_took_counts_by_itself() -> None:
    assert share(BEFORE, after(busy=1.0, own=1.0, stolen=0.5), 2) == pytest.approx(0.25)


def test_without_the_queues_count_all_other_work_counts() -> None:
    assert share(BEFORE, after(busy=2.0, own=1.0, waited=None), 2) == pytest.approx(0.5)


def test_one_thread_loses_as_much_on_many_processors() -> None:
    many = [replace(reading, processors=64) for reading in (BEFORE, after(busy=1.0, own=0.5, waited=0.5))]
    assert share(*many, 1) == pytest.approx(0.5)
    assert share(*many, 64) == pytest.approx(0.5 / 64)
    assert share(*many, 128) == pytest.approx(0.5 / 64)  # no more than there are processors


def test_neighbours_that_would_leave_processors_idle_take_nothing() -> None:
    many = [replace(reading, processors=64) for reading in (BEFORE, after(busy=3.0, own=1.0, waited=None))]
    assert share(*many, 1) == 0.0
    assert share(*many, 62) == 0.0
    assert share(*many, 64) == pytest.approx(2 / 64)


def test_what_the_hypervisor_took_is_shared_out_by_who_works() -> None:
    many = [replace(reading, processors=64) for reading in (BEFORE, after(busy=50.0, own=1.0, stolen=0.5, waited=0.0))]
    assert share(*many, 1) == pytest.approx(0.01)


def test_without_a_reading_nothing_is_said() -> None:
    assert share(None, BEFORE, 2) is None
    assert share(BEFORE, None, 2) is None
    assert share(BEFORE, BEFORE, 2) is None


def test_a_kernel_that_shows_nothing_is_not_asked_again(tmp_path: Path) -> None:
    assert read(tmp_path / "absent") is None
    empty = tmp_path / "stat"
    empty.write_text("cpu  0 0 0 0 0 0 0 0 0 0\n" + "".join(f"cpu{n} 0 0 0 0 0 0 0 0 0 0\n" for n in range(1024)))
    assert read(empty) is None


def test_only_processors_that_may_be_used_are_counted(tmp_path: Path) -> None:
    usable = os.sched_getaffinity(0)
    stat = tmp_path / "stat"
    rows = [f"cpu{n} 100 0 0 0 0 0 0 7 0 0" for n in sorted(usable)] + ["cpu4096 900 0 0 0 0 0 0 900 0 0"]
    stat.write_text("cpu  9999 0 0 0 0 0 0 9999 0 0\n" + "\n".join(rows) + "\nintr 5\n")
    found = read(stat, tmp_path / "no tasks")
    tick = 1 / os.sysconf("SC_CLK_TCK")
    assert found is not None
    assert (found.processors, found.waited) == (len(usable), None)
    assert (found.busy, found.stolen) == (
        pytest.approx(100 * tick * len(usable)),
        pytest.approx(7 * tick * len(usable)),
    )


def test_a_process_on_the_same_processor_is_seen() -> None:
    if read() is None:
        pytest.skip("this kernel shows no use of its processors")
    mine = os.sched_getaffinity(0)
    one = {min(mine)}
    os.sched_setaffinity(0, one)
    other = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        before = read()
        end = time.process_time() + 0.5
        while time.process_time() < end:
            pass
        taken = share(before, read(), 1)
    finally:
        other.kill()
        other.wait()
        os.sched_setaffinity(0, mine)
    assert taken is not None
    assert taken > 0.03
