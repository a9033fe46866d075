"""Filling the activation cache: one pass over the images for several depths and views. Needs torch.

Runs in a process of its own: ONNX Runtime's threads and PyTorch's slow each other down in one.
"""

import errno
import fcntl
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from torch import nn

from selector.tuning.cache.prefix import PrefixRunner, prefix_runner
from selector.tuning.cache.store import CacheKey, CacheStore
from selector.tuning.data.images import read_rgb

CHUNK = 8  # inputs a call; more does not speed a CPU up and takes memory
LARGEST_HALF = 65504.0
_DRAFT = ".filling-"
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})  # of the disk, of the user's share, of a file


@dataclass(frozen=True, slots=True)
class Filled:
    """What a pass over the images did. `views` is how many are there now, from 0 on; 0: no cache, and `why`."""

    views: int
    made: int  # of these, by this pass
    setup_seconds: float  # export and loading of the prefix
    seconds: float  # of the pass over the images
    bytes_written: int
    runtime: str
    why: str


def fill(
    store: CacheStore,
    keys: Sequence[CacheKey],
    views: int,
    *,
    model: nn.Module,
    paths: Sequence[str],
    digests: Sequence[str],
    threads: int,
    until: float | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Filled:
    """Make views 0 … `views` - 1 of all `keys`, which differ in their depth alone, as far as they are not there.

    Where the time until `until` (monotonic seconds) does not suffice for all views, or the room within the cache's
    limit, fewer are made. Where not one finds room, or the disk fills up meanwhile, none is, and training computes its
    features anew. `progress` is told (images done, all images).
    """
    started = time.monotonic()
    first = min(len(store.present(key, views)) for key in keys)
    if first >= views:
        return Filled(views, 0, 0.0, 0.0, 0, "none", "all views were there")
    preprocess = keys[0].preprocess
    store.folder.mkdir(parents=True, exist_ok=True)
    _clear_abandoned(store.folder)
    with (
        _alone(store, keys[0]),
        tempfile.TemporaryDirectory(dir=store.folder, prefix=f"{_DRAFT}{os.getpid()}-") as draft,
    ):
        first = min(len(store.present(key, views)) for key in keys)  # another worker may have made them meanwhile
        if first >= views:
            return Filled(views, 0, 0.0, 0.0, 0, "none", "all views were there")
        runner = prefix_runner(model, [k.frozen_blocks for k in keys], preprocess.resolution, Path(draft))
        blank = np.zeros((1, 3, preprocess.resolution, preprocess.resolution), dtype=np.float32)
        setup = time.monotonic() - started
        shapes = [features.shape[1:] for features in runner.run(blank)]
        per_view = sum(int(np.prod(shape)) for shape in shapes) * 2 * len(paths)
        keep = {key.folder(view) for key in keys for view in (0, views)}
        while not store.make_room(per_view * (views - first), keep):
            views -= 1
            if views <= first:
                return Filled(first, 0, setup, 0.0, 0, runner.runtime, "no room on disk within the limit")
        try:
            work = _Pass(keys, shapes, first, views, Path(draft), paths, digests, runner, threads)
        except OSError as error:
            if error.errno not in _NO_ROOM:
                raise
            why = f"no room on disk: {error.strerror}"
            return Filled(first, 0, setup, 0.0, 0, runner.runtime, why)
        done = work.run(until, progress)
        for key_number, key in enumerate(keys):
            for view in range(first, done):
                target = store.file(key, view)
                target.parent.mkdir(parents=True, exist_ok=True)
                os.replace(work.file(key_number, view), target)
    return Filled(
        done,
        done - first,
        setup,
        time.monotonic() - started - setup,
        per_view * (done - first),
        runner.runtime,
        runner.why,
    )


@contextmanager
def _alone(store: CacheStore, key: CacheKey) -> Iterator[None]:
    """Hold off other processes that want the same features; the kernel frees the lock when a holder dies."""
    # whatever the depth: a pass may make several, and another worker's begin with another of them
    with (store.folder / f".lock-{replace(key, frozen_blocks=0).folder(1)}").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _clear_abandoned(folder: Path) -> None:
    """Remove the drafts of processes that were killed."""
    for draft in folder.glob(f"{_DRAFT}*"):
        pid = draft.name.removeprefix(_DRAFT).split("-")[0]
        if pid.isdigit() and not Path(f"/proc/{pid}").exists():
            shutil.rmtree(draft, ignore_errors=True)


class _Pass:
    """One pass over the images, written view by view into files of the draft folder."""

    def __init__(
        self,
        keys: Sequence[CacheKey],
        shapes: Sequence[tuple[int, ...]],
        first: int,
        last: int,
        draft: Path,
        paths: Sequence[str],
        digests: Sequence[str],
        runner: PrefixRunner,
        threads: int,
    ) -> None:
        self._threads = threads if runner.runtime == "onnxruntime" else 1
        self._key, self._first, self._last, self._draft = keys[0], first, last, draft
        self._paths, self._digests, self._runner = paths, digests, runner
        self._arrays = [
            [_draft(self.file(k, view), (len(paths), *shapes[k])) for view in range(first, last)]
            for k in range(len(keys))
        ]

    def file(self, key_number: int, view: int) -> Path:
        """The draft of one view of one depth."""
        return self._draft / f"{key_number}-{view}.npy"

    def run(self, until: float | None, progress: Callable[[int, int], None] | None) -> int:
        """Compute all; returns the number of views that are complete (counted from 0)."""
        started = time.monotonic()
        done = 0
        with ThreadPoolExecutor(self._threads) as pool:
            for number in pool.map(self._one, range(len(self._paths))):
                done = number + 1
                if progress is not None and (done % 64 == 0 or done == len(self._paths)):
                    progress(done, len(self._paths))
                if until is not None and done in (32, 128, 512, 2048):
                    self._shorten(until, time.monotonic() - started, done)
        for arrays in self._arrays:
            for array in arrays:
                array.flush()
        return self._last

    def _shorten(self, until: float, spent: float, done: int) -> None:
        """Give up the last views if the pass would otherwise end too late. The first of the pass is always made."""
        left = (len(self._paths) - done) * spent / done
        allowed = max(0.0, until - time.monotonic())
        if left > allowed:
            views = self._last - self._first
            self._last = self._first + max(1, int(views * allowed / left))

    def _one(self, number: int) -> int:
        image = read_rgb(Path(self._paths[number]))
        last = self._last
        rendered = list(
            self._key.augmentation.render(
                image, self._key.preprocess, name=self._digests[number], first=self._first, last=last
            )
        )
        for start in range(0, len(rendered), CHUNK):
            inputs = np.stack(rendered[start : start + CHUNK])
            for arrays, features in zip(self._arrays, self._runner.run(inputs), strict=True):
                for offset, row in enumerate(features):
                    arrays[start + offset][number] = _half(row)
        return number


def _draft(file: Path, shape: tuple[int, ...]) -> np.memmap[tuple[int, ...], np.dtype[np.float16]]:
    """A new array in `file` whose room on disk is taken at once: OSError where there is none.

    numpy makes the file sparse, and a disk that is full when its pages are written would end the process (SIGBUS).
    """
    array = np.lib.format.open_memmap(file, mode="w+", dtype=np.float16, shape=shape)
    with file.open("r+b") as opened:
        os.posix_fallocate(opened.fileno(), 0, file.stat().st_size)
    return array


def _half(features: npt.NDArray[np.float32]) -> npt.NDArray[np.float16]:
    """Half precision; what lies beyond its range is clipped (no network of the catalog gets near it)."""
    return np.clip(features, -LARGEST_HALF, LARGEST_HALF).astype(np.float16)
