"""How much of the processors other work took while something was measured here, and how much the hypervisor.

Two counts of the Linux kernel, neither of which is enough by itself. /proc/stat says how long this process's processors
were busy, with whatever it was; less this process's own time, that is others' work. It is counted in ticks of 10 ms,
and in a container it may be the work of neighbours that have processors of their own. /proc/self/task/*/schedstat says
to the nanosecond how long this process's threads stood in the queue for a processor; behind each other, where there are
more of them than processors. What both say, others took. What the hypervisor took ("steal") /proc/stat alone knows.
"""

import os
import resource
import time
from dataclasses import dataclass
from pathlib import Path

STAT = Path("/proc/stat")
TASKS = Path("/proc/self/task")
_BUSY = (0, 1, 2, 5, 6)  # user, nice, system, irq, softirq of proc_stat(5); guests are within user and nice
_STEAL = 7


@dataclass(frozen=True, slots=True)
class Reading:
    """The counts at one moment, in seconds since some beginning."""

    at: float
    processors: int
    busy: float  # of the processors that this process may use
    stolen: float
    own: float
    waited: float | None  # of this process's threads in the queue; None: the kernel does not say


def read(stat: Path = STAT, tasks: Path = TASKS) -> Reading | None:
    """The counts now; None where the kernel does not show them."""
    try:
        usable = {f"cpu{number}" for number in os.sched_getaffinity(0)}
        tick = 1 / os.sysconf("SC_CLK_TCK")
        rows = [line.split() for line in stat.read_text().splitlines() if line.startswith("cpu")]
        counts = [[int(count) * tick for count in row[1:]] for row in rows if row[0] in usable]
        busy, stolen = (sum(row[i] for row in counts for i in fields) for fields in (_BUSY, (_STEAL,)))
    except (OSError, AttributeError, ValueError, IndexError):
        return None
    if not counts or not busy:
        return None
    used = resource.getrusage(resource.RUSAGE_SELF)
    return Reading(time.monotonic(), len(counts), busy, stolen, used.ru_utime + used.ru_stime, _waited(tasks))


def _waited(tasks: Path) -> float | None:
    total = 0
    try:
        for task in tasks.iterdir():
            total += int((task / "schedstat").read_text().split()[1])  # nanoseconds
    except (OSError, ValueError, IndexError):
        return None  # no such count; or a thread ended just now, whose own is lost
    return total / 1e9


def share(before: Reading | None, after: Reading | None, threads: int) -> float | None:
    """What others and the hypervisor took of the processors that `threads` threads keep busy, between two readings.

    0 to 1; None where a reading is missing.
    """
    if before is None or after is None or after.at <= before.at or after.processors != before.processors:
        return None
    seconds, threads = after.at - before.at, min(after.processors, threads)
    busy, own = after.busy - before.busy, after.own - before.own
    taken = max(0.0, busy - own)
    if before.waited is not None and after.waited is not None:
        taken = min(taken, max(0.0, after.waited - before.waited))
    else:  # others' work takes nothing that would have been idle
        taken = max(0.0, taken - (after.processors - threads) * seconds)
    # of all processors; ours is the part of it that our work is of all work there
    stolen = max(0.0, after.stolen - before.stolen) * (min(1.0, own / busy) if busy > 0 else 1.0)
    return min(1.0, (taken + stolen) / (threads * seconds))
