"""From an RGB image to what the network sees: the pretraining's preprocessing (P12) and augmented views (P5).

Augmentation is a finite set of views a picture, drawn once from a seed, so that a frozen prefix can be computed once
for each. View 0 is always the picture as evaluation sees it. Needs Pillow and numpy; torchvision only for "document".
"""

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

Pixels = npt.NDArray[np.float32]

_RESAMPLING = {
    "bicubic": Image.Resampling.BICUBIC,
    "bilinear": Image.Resampling.BILINEAR,
    "lanczos": Image.Resampling.LANCZOS,
}

# in which order the eight symmetries of a square are taken: (mirrored, quarter turns), identity first
_SYMMETRIES = ((False, 0), (True, 0), (False, 2), (True, 2), (False, 1), (False, 3), (True, 1), (True, 3))

STANDING_ON_ITS_HEAD = 3
"""The view of "dihedral" that is upside down and otherwise as before."""


@dataclass(frozen=True, slots=True)
class Preprocess:
    """What happens to every image before the network, stored with the model.

    `crop_pct` is the part of the resized short side that the centred crop keeps; 1.0 keeps all of it.
    """

    resolution: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    interpolation: str
    crop_pct: float

    def as_json(self) -> dict[str, Any]:
        """Plain values, as stored with the model."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Preprocess":
        """Read what `as_json` wrote."""
        return cls(
            int(data["resolution"]),
            tuple(data["mean"]),
            tuple(data["std"]),
            str(data["interpolation"]),
            float(data["crop_pct"]),
        )

    def crop(self, image: Image.Image) -> Image.Image:
        """Resize the short side, cut the centre: [resolution × resolution], as the pretraining's evaluation did."""
        short = math.floor(self.resolution / self.crop_pct)
        scale = short / min(image.size)
        size = (max(short, round(image.width * scale)), max(short, round(image.height * scale)))
        resized = image.resize(size, _RESAMPLING[self.interpolation])
        left, top = (size[0] - self.resolution) // 2, (size[1] - self.resolution) // 2
        return resized.crop((left, top, left + self.resolution, top + self.resolution))

    def normalise(self, image: Image.Image) -> Pixels:
        """Pixels [3, resolution, resolution], normalised with the pretraining's mean and deviation."""
        pixels = np.asarray(image, dtype=np.float32) / np.float32(255)
        mean, std = np.asarray(self.mean, dtype=np.float32), np.asarray(self.std, dtype=np.float32)
        return np.ascontiguousarray(((pixels - mean) / std).transpose(2, 0, 1))

    def __call__(self, image: Image.Image) -> Pixels:
        """Crop and normalise: the input of evaluation and of `selector predict`."""
        return self.normalise(self.crop(image))


AUGMENTATIONS = {
    "none": "the picture as it is",
    "flip": "the picture and its mirror image",
    "dihedral": "the symmetries of a square (mirror images, then quarter turns): for pictures without an upright side",
    "document": "P5: random resized crop, mirror image, brightness and contrast by up to 0.2, scaled by the strength",
}


@dataclass(frozen=True, slots=True)
class Augmentation:
    """A finite set of views. `strength` scales "document" (1.0 is P5 as the document states it)."""

    kind: str = "none"
    strength: float = 1.0
    views: int = 1
    seed: int = 0

    @classmethod
    def of(cls, kind: str, strength: float, views: int, seed: int) -> "Augmentation":
        """The augmentation with what its kind does not use set to fixed values, so that equal ones compare equal."""
        most = {"none": 1, "flip": 2, "dihedral": 8}.get(kind, views)
        if kind != "document":
            return cls(kind, 1.0, min(views, most), 0)
        return cls(kind, strength, views, seed)

    def render(
        self, image: Image.Image, preprocess: Preprocess, *, name: str, first: int, last: int
    ) -> Iterator[Pixels]:
        """Views `first` to `last` (excluded) of the image called `name`; the same ones on every call."""
        plain = preprocess(image)
        for view in range(first, last):
            if view == 0:
                yield plain
            elif self.kind == "document":
                rng = np.random.default_rng([self.seed, view, *name.encode()])
                yield preprocess.normalise(_random_view(image, preprocess, self.strength, rng))
            else:
                mirrored, turns = _SYMMETRIES[view]
                turned = np.rot90(plain, turns, axes=(1, 2))
                yield np.ascontiguousarray(turned[:, :, ::-1] if mirrored else turned)


def _random_view(image: Image.Image, preprocess: Preprocess, strength: float, rng: np.random.Generator) -> Image.Image:
    """One draw of P5. Parameters come from `rng`: torchvision's own classes draw from one global generator."""
    from torchvision.transforms import InterpolationMode
    from torchvision.transforms.v2 import functional

    top, left, height, width = _resized_crop(image.width, image.height, strength, rng)
    size = [preprocess.resolution, preprocess.resolution]
    view = functional.resized_crop(
        image, top, left, height, width, size, interpolation=InterpolationMode(preprocess.interpolation)
    )
    if rng.random() < 0.5:
        view = functional.horizontal_flip(view)
    brightness, contrast = 1 + rng.uniform(-0.2, 0.2, size=2) * strength
    return functional.adjust_contrast(functional.adjust_brightness(view, brightness), contrast)  # type: ignore[no-any-return]


def _resized_crop(width: int, height: int, strength: float, rng: np.random.Generator) -> tuple[int, int, int, int]:
    """RandomResizedCrop's draw: at strength 1 area 8 to 100 %, ratio 3/4 to 4/3. Top, left, height, width."""
    for _ in range(10):
        area = width * height * rng.uniform(1 - 0.92 * strength, 1.0)
        ratio = math.exp(rng.uniform(-math.log(4 / 3), math.log(4 / 3)) * strength)
        w, h = round(math.sqrt(area * ratio)), round(math.sqrt(area / ratio))
        if 0 < w <= width and 0 < h <= height:
            return int(rng.integers(0, height - h + 1)), int(rng.integers(0, width - w + 1)), h, w
    side = min(width, height)
    return (height - side) // 2, (width - side) // 2, side, side
