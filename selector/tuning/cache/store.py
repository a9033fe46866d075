"""Where cached activations lie, how much room they may take, and which are thrown out first. Needs no torch.

One folder a key, one file a view: `<key>/view-3.npy`, an array [images, …] of half-precision features in the order of
the data set's train and validation images. A file appears whole or not at all. View 0 does not depend on the
augmentation and is shared by all.
"""

import hashlib
import json
import os
import shutil
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from selector.resources import home
from selector.tuning.preprocess import Augmentation, Preprocess

KEEP_FREE = 2 * 1024**3  # bytes of the disk that a cache never takes
DEFAULT_LIMIT = 20 * 1024**3


@dataclass(frozen=True, slots=True)
class CacheKey:
    """What the features depend on. `data` is the digest of the images' pixels in their order."""

    backbone: str
    weights: str  # digest of the weights in front of the classifier
    frozen_blocks: int
    preprocess: Preprocess
    augmentation: Augmentation
    data: str

    def folder(self, view: int) -> str:
        """The name of the folder that `view` lies in."""
        kind = Augmentation() if view == 0 else replace(self.augmentation, views=0)
        if kind.kind == "flip":  # the mirror image is the first of the eight symmetries
            kind = replace(kind, kind="dihedral")
        text = json.dumps(asdict(replace(self, augmentation=kind)), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:24]


@dataclass(frozen=True, slots=True)
class CacheStore:
    """The folder of all caches, and the bytes that they may take together."""

    folder: Path
    limit_bytes: int

    @classmethod
    def default(cls, limit_bytes: int = DEFAULT_LIMIT) -> "CacheStore":
        """The user's own, under `SELECTOR_HOME`."""
        return cls(home() / "activations", limit_bytes)

    def file(self, key: CacheKey, view: int) -> Path:
        """Where `view` of `key` lies, or would lie."""
        return self.folder / key.folder(view) / f"view-{view}.npy"

    def present(self, key: CacheKey, views: int) -> list[Path]:
        """The files of views 0, 1 … that are there, up to `views`, without a gap."""
        files: list[Path] = []
        for view in range(views):
            file = self.file(key, view)
            if not file.is_file():
                break
            files.append(file)
        return files

    def room(self) -> int:
        """Bytes that may be written now, if older caches give way as far as they must."""
        self.folder.mkdir(parents=True, exist_ok=True)
        free = shutil.disk_usage(self.folder).free - KEEP_FREE
        return max(0, min(self.limit_bytes, free + self.used()))

    def used(self) -> int:
        """Bytes that all caches take."""
        return sum(_size(file) for file in self.folder.rglob("*.npy"))

    def make_room(self, wanted: int, keep: set[str]) -> bool:
        """Throw out the caches that were used longest ago until `wanted` bytes fit; never those named in `keep`.

        Where they would not fit even then, nothing is thrown out.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        whole = (f for f in self.folder.iterdir() if f.is_dir() and not f.name.startswith("."))  # drafts are in use
        folders = sorted((f for f in whole if f.name not in keep), key=_last_use)
        if not self._fits(wanted, freed=sum(_size(file) for folder in folders for file in folder.glob("*.npy"))):
            return False
        while not self._fits(wanted):
            if not folders:
                return False
            shutil.rmtree(folders.pop(0), ignore_errors=True)
        return True

    def touch(self, key: CacheKey, views: int) -> None:
        """Note that the views are in use."""
        for view in range(views):
            folder = self.file(key, view).parent
            if folder.is_dir():
                os.utime(folder)

    def _fits(self, wanted: int, freed: int = 0) -> bool:
        more = wanted - freed
        return self.used() + more <= self.limit_bytes and shutil.disk_usage(self.folder).free - more >= KEEP_FREE


def _last_use(folder: Path) -> float:
    try:
        return folder.stat().st_mtime
    except FileNotFoundError:  # another process threw it out
        return 0.0


def _size(file: Path) -> int:
    try:
        return file.stat().st_size
    except FileNotFoundError:
        return 0
