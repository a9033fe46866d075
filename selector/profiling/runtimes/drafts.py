"""Folders in the making: each appears in its place whole or not at all, and what a killed maker leaves is removed.

A maker holds its draft locked (flock) as long as it lives. A draft whose lock is free was left by one that was killed.
"""

import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def draft(cache: Path, prefix: str) -> Iterator[Path]:
    """An empty folder in `cache` to make something in; removed when the context is left, unless it was put in place.

    Drafts of the same prefix that nobody is making any more are removed first. Raises OSError where the disk is full.
    """
    cache.mkdir(parents=True, exist_ok=True)
    with _held(cache):  # nobody looks between the making of a draft and its lock
        for other in cache.glob(f"{prefix}*"):
            if _left_behind(other):
                shutil.rmtree(other, ignore_errors=True)
        made = Path(tempfile.mkdtemp(prefix=prefix, dir=cache))
        lock = os.open(made, os.O_RDONLY)
        with suppress(OSError):  # a network disk without locks: nobody will find it free either
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


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    handle = os.open(folder, os.O_RDONLY)
    try:
        with suppress(OSError):
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _left_behind(other: Path) -> bool:
    try:
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
