"""Folders in the making: each appears in its place whole or not at all, and what a killed maker leaves is removed.

A maker holds its draft locked (flock) as long as it lives. A draft whose lock is free was left by one that was killed.
A lock on a folder of a network disk holds on its own host alone, so drafts bear their host's name and no other's are
looked at.
"""

import fcntl
import os
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from glob import escape
from pathlib import Path

YOUNG_S = 10.0
"""A draft that is younger is left alone: it may not be locked yet."""


@contextmanager
def draft(cache: Path, prefix: str) -> Iterator[Path]:
    """An empty folder in `cache` to make something in; removed when the context is left, unless it was put in place.

    Drafts of the same prefix that nobody is making any more are removed first. Raises OSError where the disk is full.
    """
    cache.mkdir(parents=True, exist_ok=True)
    here = f"{prefix}{socket.gethostname()}-"
    for other in cache.glob(f"{escape(here)}*"):
        if _left_behind(other):
            shutil.rmtree(other, ignore_errors=True)
    made = Path(tempfile.mkdtemp(prefix=here, dir=cache))
    lock = os.open(made, os.O_RDONLY)
    with suppress(OSError):  # a disk without locks: nobody will find it free either
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)
        os.close(lock)


def put_in_place(made: Path, folder: Path) -> None:
    """Move a finished draft; where another process was faster, its equal stays."""
    try:
        os.rename(made, folder)
    except OSError:
        if not folder.is_dir():
            raise


def _left_behind(other: Path) -> bool:
    try:
        if time.time() - other.stat().st_mtime < YOUNG_S:
            return False
        handle = os.open(other, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return False  # it has been put in place meanwhile, or is none of ours
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False  # somebody is at it, or the disk knows no locks
    finally:
        os.close(handle)
    return True
