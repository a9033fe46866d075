"""What a container or a job may use of a machine: the limits of its control groups, version 1 and 2.

Sources: the kernel's Documentation/admin-guide/cgroup-v2.rst (cpu.max, memory.max) and
Documentation/scheduler/sched-bwc.rst (cpu.cfs_quota_us, cpu.cfs_period_us).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

# version 1 writes "no limit" as the largest multiple of the page size below 2^63
UNLIMITED_BYTES = 1 << 62


@dataclass(frozen=True, slots=True)
class Quota:
    """Processor time in CPUs (2.5: two and a half) and memory in bytes. None: unlimited or unreadable."""

    cpus: float | None
    memory_bytes: int | None


def quota(root: Path = Path("/")) -> Quota:
    """The narrowest limits over this process's control groups and all above them."""
    cpus: list[float] = []
    memory: list[int] = []
    for folder in _folders(root, controller=None):
        cpus += _cpu_max(folder)
        memory += _number(folder / "memory.max")
    for folder in _folders(root, controller="cpu"):
        cpus += _cfs_quota(folder)
    for folder in _folders(root, controller="memory"):
        memory += _number(folder / "memory.limit_in_bytes")
    memory = [limit for limit in memory if 0 < limit < UNLIMITED_BYTES]
    return Quota(min(cpus, default=None), min(memory, default=None))


def memory_left(root: Path = Path("/")) -> int | None:
    """Bytes that this process's control groups still grant, the least over all of them; None: unlimited or unreadable.

    What they hold of files counts as free, as it does in MemAvailable: the kernel drops it before it refuses memory
    (memory.stat, "inactive_file" and "active_file"; Documentation/admin-guide/cgroup-v2.rst).
    """
    left: list[int] = []
    for controller, limit, usage, whole in (
        (None, "memory.max", "memory.current", ""),
        ("memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_"),
    ):
        for folder in _folders(root, controller):
            granted = [number for number in _number(folder / limit) if 0 < number < UNLIMITED_BYTES]
            files = sum(_statistic(folder / "memory.stat", f"{whole}{kind}_file") for kind in ("inactive", "active"))
            used = sum(_number(folder / usage)) - files
            left += [max(0, number - max(0, used)) for number in granted]
    return min(left, default=None)


def _folders(root: Path, controller: str | None) -> Iterator[Path]:
    """Folders of this process's group and of its ancestors, narrowest first. `controller` None: the version 2 tree."""
    mount = root / "sys/fs/cgroup"
    for line in (_read(root / "proc/self/cgroup") or "").splitlines():
        number, _, rest = line.partition(":")
        controllers, _, group = rest.partition(":")
        if controller is None:
            if number != "0":
                continue
            # a machine with both versions mounts the second beside the first
            bases = [mount, mount / "unified"]
        elif controller in controllers.split(","):
            bases = [mount / controllers, mount / controller]
        else:
            continue
        for base in bases:
            # inside a container the path may be the host's, of which only the mount's root is visible
            here = base / group.lstrip("/")
            yield from (folder for folder in (here, *here.parents) if folder.is_relative_to(base) and folder.is_dir())


def _read(path: Path) -> str | None:
    try:
        return path.read_text("utf-8", "replace").strip()
    except OSError:
        return None


def _number(path: Path) -> list[int]:
    text = _read(path)
    return [int(text)] if text and text.lstrip("-").isdigit() else []


def _statistic(file: Path, name: str) -> int:
    """The number after `name` in a file of pairs, one a line; 0 where it is not there."""
    pairs = (line.split() for line in (_read(file) or "").splitlines())
    return next((int(pair[1]) for pair in pairs if len(pair) == 2 and pair[0] == name and pair[1].isdigit()), 0)


def _cpu_max(folder: Path) -> list[float]:
    """`cpu.max` is "QUOTA PERIOD" in microseconds, or "max PERIOD" without a limit."""
    words = (_read(folder / "cpu.max") or "").split()
    if len(words) == 2 and all(word.isdigit() for word in words) and int(words[1]) > 0:
        return [int(words[0]) / int(words[1])]
    return []


def _cfs_quota(folder: Path) -> list[float]:
    """`cpu.cfs_quota_us` over `cpu.cfs_period_us`; a quota of −1 is no limit."""
    granted, period = _number(folder / "cpu.cfs_quota_us"), _number(folder / "cpu.cfs_period_us")
    return [granted[0] / period[0]] if granted and period and granted[0] > 0 and period[0] > 0 else []
