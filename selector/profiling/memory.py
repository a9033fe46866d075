"""Memory as the kernel counts it: the peak of a process, and what is still free for others."""

import ctypes
import os
import resource
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from selector.hardware.control_groups import memory_left

PAGE = resource.getpagesize()


def peak_rss_bytes() -> int:
    """The most memory that this process ever held resident, in bytes, shared libraries included.

    `VmHWM` where the kernel tells it, because it starts anew with a fork; otherwise `ru_maxrss`.
    """
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass  # no /proc: the next line asks the C library
    scale = 1 if sys.platform == "darwin" else 1024  # getrusage(2): bytes there, KiB elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * scale


def free_memory() -> int:
    """Bytes that processes started now can take: of the machine's, and of what a container's limit leaves of it."""
    import psutil  # not in worker processes, whose memory is a figure

    available, left = int(psutil.virtual_memory().available), memory_left()
    return available if left is None else min(available, left)


def give_back_freed_memory() -> None:
    """Give the kernel what this process has freed and its allocator has kept (`workers.KEEP_FREED_MEMORY`).

    Loading a VGG, whose weights have 0.5 GB, leaves up to 1 GB of that. What is freed from now on is kept again. Only
    where the C library is glibc.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if sys.platform.startswith("linux") else None
    if trim is not None:
        trim(0)


def peak_rss_of_fork(inherited: NDArray[np.int64]) -> int:
    """`peak_rss_bytes` of a process that had loaded its libraries itself.

    `inherited` is what `mapped_library_pages` gave before the fork; those that the fork has not touched are added.
    """
    untouched = np.setdiff1d(inherited, mapped_library_pages(), assume_unique=True)
    return peak_rss_bytes() + len(untouched) * PAGE


def gpu_memory_of_process(uuid: str) -> int | None:
    """Bytes that this process holds on the GPU called `uuid`, by NVML; None where it does not tell.

    In a container the driver may know the process by another number, and then it does not tell.
    """
    try:
        import pynvml  # the module of the package nvidia-ml-py
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return None
    try:
        handle = pynvml.nvmlDeviceGetHandleByUUID(uuid)
        own = [p for p in pynvml.nvmlDeviceGetComputeRunningProcesses(handle) if p.pid == os.getpid()]
        return int(own[0].usedGpuMemory) if own and own[0].usedGpuMemory else None
    except pynvml.NVMLError:
        return None
    finally:
        pynvml.nvmlShutdown()


def mapped_library_pages() -> NDArray[np.int64]:
    """Numbers of the pages of mapped files (libraries, above all) that count as resident in this process.

    A fork does not inherit them: its page tables start without them, though any process that had loaded the libraries
    itself would hold them. Empty where the kernel does not tell (/proc/self/pagemap).
    """
    pages: list[NDArray[np.int64]] = []
    try:
        with open("/proc/self/maps") as maps, open("/proc/self/pagemap", "rb", buffering=0) as pagemap:
            for line in maps:
                span, _, _, _, inode, *_ = line.split()
                if inode == "0":
                    continue
                start, end = (int(address, 16) // PAGE for address in span.split("-"))
                pagemap.seek(start * 8)
                entries = np.frombuffer(pagemap.read((end - start) * 8), dtype=np.uint64)
                pages.append(start + np.flatnonzero(entries >> np.uint64(63)))  # bit 63: present
    except OSError:
        pass  # hidden in some sandboxes
    return np.concatenate(pages) if pages else np.empty(0, dtype=np.int64)
