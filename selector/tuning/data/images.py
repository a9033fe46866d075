"""One image file as RGB pixels, whatever it is stored as.

EXIF orientation    applied
palette, grey, YCbCr, CMYK …   converted to RGB; transparency is laid on white
16 bits a channel   scaled to 8 (Pillow's own conversion would clip them)
32-bit integers     taken as 16 bits; refused where no value is above 255, or one above 65535: their range is not known
animated            the first frame, and the file is named in the notes
32-bit float        refused: its range is not known
smaller than 8 px   refused: nothing can be seen in it
"""

import hashlib
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from selector.errors import InvalidInput

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp", ".gif", ".ppm", ".pgm"})
MIN_SIDE = 8  # pixels


class UnreadableImage(InvalidInput):
    """A file that cannot be used as an image; the message says why."""


@dataclass(frozen=True, slots=True)
class ImageFacts:
    """What a file turned out to be. `digest` is of the decoded pixels: equal for the same picture in two formats."""

    digest: str
    width: int
    height: int
    handled: tuple[str, ...]  # conversions that were needed: "EXIF rotation", "CMYK", "16 bit" …
    largest_of_16: int | None = None  # the largest value of a picture that is stored with 16 bits


def read_rgb(path: Path) -> Image.Image:
    """The image as RGB, upright. Raises UnreadableImage with the reason."""
    return _read(path)[0]


def inspect(path: Path) -> ImageFacts:
    """Decode the whole file and say what it is. Raises UnreadableImage with the reason."""
    image, handled, largest = _read(path)
    digest = hashlib.sha256(f"{image.size}".encode() + image.tobytes()).hexdigest()[:32]
    return ImageFacts(digest, image.width, image.height, handled, largest)


def _read(path: Path) -> tuple[Image.Image, tuple[str, ...], int | None]:
    """The picture, what had to be done to it, and its largest value where it has 16 bits."""
    handled: list[str] = []
    largest: int | None = None
    try:
        # a picture of a hundred megapixels is legitimate here: only the limit against bombs (twice that) stands
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path) as image:
                if getattr(image, "n_frames", 1) > 1:
                    handled.append("animated")
                    image.seek(0)
                image.load()
                # getexif before anything else: a damaged EXIF block must not lose the picture
                rotated = image.getexif().get(0x0112, 1) in range(2, 9)
                upright = ImageOps.exif_transpose(image) if rotated else image
                if rotated:
                    handled.append("EXIF rotation")
                if upright.mode.startswith("I"):  # I;16, I;16B, I;16L, I
                    handled.append("16 bit")
                    rgb, largest = _from_16_bits(upright, wide=image.mode == "I" and image.format == "TIFF")
                else:
                    rgb = _to_rgb(upright, handled)
    except UnreadableImage:
        raise
    except UnidentifiedImageError:
        raise UnreadableImage("not an image that can be read") from None
    except Image.DecompressionBombError:
        raise UnreadableImage("too many pixels to be decoded safely") from None
    except (OSError, ValueError, SyntaxError, EOFError, IndexError, TypeError, MemoryError) as error:
        # Pillow's decoders raise any of these on damaged data
        raise UnreadableImage(f"damaged: {error}".rstrip(".: ")) from None
    if min(rgb.size) < MIN_SIDE:
        raise UnreadableImage(f"{rgb.width}×{rgb.height} pixels, smaller than {MIN_SIDE}")
    return rgb, tuple(handled), largest


def _from_16_bits(image: Image.Image, *, wide: bool) -> tuple[Image.Image, int]:
    """The picture scaled to 8 bits, and its largest value. `wide`: stored with 32 bits, so its range is a guess.

    Pillow makes such a mode of 16 bits in other formats, too; those it has already scaled to 65535.
    """
    pixels = np.asarray(image, dtype=np.float64)
    least, largest = pixels.min(initial=65535), pixels.max(initial=0)
    if largest > 65535 or least < 0 or (wide and largest <= 255):
        raise UnreadableImage(
            f"32-bit integer pixels from {least:.0f} to {largest:.0f}, whose range is unknown; "
            "store it with 8 or 16 bits"
        )
    return Image.fromarray(np.round(pixels / 257).astype(np.uint8)).convert("RGB"), int(largest)


def _to_rgb(image: Image.Image, handled: list[str]) -> Image.Image:
    mode = image.mode
    if mode == "RGB" and "transparency" not in image.info:
        return image.copy()
    if mode == "L":
        return image.convert("RGB")
    if mode == "F":
        raise UnreadableImage("32-bit floating point pixels, whose range is unknown; store it with 8 or 16 bits")
    if mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        handled.append("palette" if mode in ("P", "PA") else "transparency")
        layer = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", layer.size, "white"), layer).convert("RGB")
    handled.append("palette" if mode == "P" else mode)
    return image.convert("RGB")
