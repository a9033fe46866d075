"""The images that quantisation is calibrated on and that agreement is measured on: the user's, or made ones.

Two disjoint sets, "calibration" and "agreement", each the same for everyone who starts from the same images. Without
a folder they are synthetic: noise whose amplitude falls with 1/frequency, as that of photographs does (Field, 1987),
with colours that go together, drawn from a seed. They exercise a network's activations more as photographs do than
white noise would; they show no objects.
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from selector.backbones import catalog
from selector.backbones.catalog import Preprocessing
from selector.errors import InvalidInput

if TYPE_CHECKING:
    from PIL.Image import Image

Pixels = NDArray[np.float32]  # [3, side, side]
Role = Literal["calibration", "agreement"]
SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
SYNTHETIC = {"calibration": 32, "agreement": 32}
MOST: dict[Role, int] = {"calibration": 64, "agreement": 256}
_SEEDS = {"calibration": 1, "agreement": 2}


@dataclass(frozen=True, slots=True)
class ImageSet:
    """Images for one purpose. `folder` is searched with all folders in it; empty: synthetic images."""

    role: Role
    folder: str = ""

    @property
    def digest(self) -> str:
        """Names the set's content: equal digests, equal images."""
        return _digest(self.role, self.folder)

    @property
    def count(self) -> int:
        """How many images."""
        return len(_chosen(self.role, self.folder)) if self.folder else SYNTHETIC[self.role]

    def __str__(self) -> str:
        kind = f"{self.folder} (content {self.digest})" if self.folder else "seeded synthetic images of 1/f noise"
        return f"{self.count} of {kind}" if self.folder else f"{self.count} {kind}"

    def each(self, backbone: str, resolution: int) -> Iterator[Pixels]:
        """The images one after another, [3, resolution, resolution], preprocessed as for the backbone's pretraining
        (P12). Raises InvalidInput for a file that is no image; `unreadable` tells of all such files at once.
        """
        how = catalog.backbone(backbone).preprocessing
        mean, std = (np.asarray(v, dtype=np.float32)[:, None, None] for v in (how.mean, how.std))
        found: Iterator[Pixels]
        if self.folder:
            found = (_read(file, resolution, how) for file in _chosen(self.role, self.folder))
        else:
            found = synthetic(SYNTHETIC[self.role], resolution, seed=_SEEDS[self.role])
        for pixels in found:
            yield np.ascontiguousarray((pixels - mean) / std, dtype=np.float32)


def synthetic(count: int, side: int, *, seed: int) -> Iterator[Pixels]:
    """Images [3, side, side] in 0…1, each of another brightness, contrast and smoothness."""
    random = np.random.default_rng(seed)
    frequency = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None, :])
    frequency[0, 0] = 1 / side  # the mean is set below
    for _ in range(count):
        falloff = random.uniform(0.8, 1.4)  # the exponents of single photographs spread about 1
        noise = np.fft.rfft2(random.standard_normal((4, side, side))) / frequency**falloff
        fields = np.fft.irfft2(noise, s=(side, side))
        fields /= fields.std(axis=(1, 2), keepdims=True)
        grey, colours = fields[0], fields[1:]
        image = random.uniform(0.3, 0.6) + random.uniform(0.1, 0.25) * (0.9 * grey + 0.4 * colours)
        yield np.clip(image.astype(np.float32), 0, 1)


def image_files(folder: str) -> list[Path]:
    """All images under `folder`, sorted. Raises InvalidInput where there is no such folder or too few images."""
    root = Path(folder)
    if not root.is_dir():
        raise InvalidInput(f"images folder {folder!r} does not exist")
    files = sorted(path for path in root.rglob("*") if path.suffix.lower() in SUFFIXES and path.is_file())
    if len(files) < 2:
        raise InvalidInput(
            f"images folder {folder!r} holds {len(files)} images ({', '.join(SUFFIXES)}); at least 2 are needed, "
            "one to calibrate on and another to compare on"
        )
    return files


def files_of(folder: str, roles: Iterable[Role]) -> list[Path]:
    """The images that serve these purposes. Raises InvalidInput as `image_files` does, without a purpose, too."""
    chosen = {role: _chosen(role, folder) for role in MOST}
    return [file for role in roles for file in chosen[role]]


def unreadable(file: Path) -> tuple[str, ...]:
    """A sentence where the file cannot be decoded as an image. Raises MemoryError, which is no fault of the file's."""
    try:
        _decoded(file, small=True)
    except InvalidInput as error:
        return error.faults
    return ()


@lru_cache(maxsize=16)
def _chosen(role: Role, folder: str) -> tuple[Path, ...]:
    """The role's files: drawn from all by a seed, every fifth for calibration as far as there is room."""
    files = image_files(folder)
    order = [files[i] for i in np.random.default_rng(0).permutation(len(files))]
    for_calibration = min(MOST["calibration"], max(1, len(files) // 5))
    if role == "calibration":
        return tuple(order[:for_calibration])
    return tuple(order[for_calibration : for_calibration + MOST["agreement"]])


@lru_cache(maxsize=16)
def _digest(role: Role, folder: str) -> str:
    text = hashlib.sha256(f"{role} {SYNTHETIC[role]} {_SEEDS[role]} 1/f v1".encode())
    if folder:
        text = hashlib.sha256(role.encode())
        for file in _chosen(role, folder):
            with file.open("rb") as stream:
                text.update(hashlib.file_digest(stream, "sha256").digest())
    return text.hexdigest()[:12]


def _read(file: Path, resolution: int, how: Preprocessing) -> Pixels:
    """A file as [3, resolution, resolution] in 0…1: the short side resized, the middle cut out."""
    from PIL.Image import Resampling

    filters = {"bilinear": Resampling.BILINEAR, "nearest": Resampling.NEAREST}
    picture = _decoded(file)
    scale = resolution / how.crop_pct / min(picture.size)
    size = [max(resolution, round(side * scale)) for side in picture.size]
    picture = picture.resize((size[0], size[1]), filters.get(how.interpolation, Resampling.BICUBIC))
    left, top = ((side - resolution) // 2 for side in size)
    cut = picture.crop((left, top, left + resolution, top + resolution))
    return np.asarray(cut, dtype=np.float32).transpose(2, 0, 1) / np.float32(255)


def _decoded(file: Path, *, small: bool = False) -> "Image":
    """The whole file decoded as RGB; with `small` no larger than the format can without decoding more, which is quick.

    Raises InvalidInput with the file's name for whatever is wrong with it.
    """
    from PIL import Image

    try:
        with Image.open(file) as opened:
            if small:
                opened.draft(None, (1, 1))
            return opened.convert("RGB")
    except MemoryError:  # no fault of the file
        raise
    except Exception as error:  # damaged data make decoders raise what they like: SyntaxError, struct.error, …
        why = str(error) or type(error).__name__
        raise InvalidInput(f"{file} cannot be read as an image: {why}") from error
