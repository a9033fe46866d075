"""What a trial trains on: the frozen prefix's output for an image and a view, cached or computed anew. Needs torch."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from selector.tuning.data.images import read_rgb
from selector.tuning.preprocess import Augmentation, Preprocess

Positions = npt.NDArray[np.int64]

PART = 32  # images that the prefix takes at once: a validation batch of a VGG in one would fill a small GPU


def fastest_device() -> torch.device:
    """Where networks are run and trained: the GPU that torch can use, or else the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


class FeatureSource(Protocol):
    """Features of images by their position among the trainable images (train and validation)."""

    @property
    def views(self) -> int:
        """How many views there are."""
        ...

    def batch(self, positions: Positions, views: Positions) -> torch.Tensor:
        """Features [n, …] float32 of n images, each in its view (0 is the plain one)."""
        ...


class CachedFeatures:
    """Features read from the activation cache: one half-precision array [images, …] a view, memory-mapped."""

    def __init__(self, files: Sequence[Path]) -> None:
        self._arrays = [np.load(file, mmap_mode="r") for file in files]

    @property
    def views(self) -> int:
        """How many views there are."""
        return len(self._arrays)

    def batch(self, positions: Positions, views: Positions) -> torch.Tensor:
        """See FeatureSource."""
        rows = np.empty((len(positions), *self._arrays[0].shape[1:]), dtype=np.float16)
        for i, (position, view) in enumerate(zip(positions, views, strict=True)):
            rows[i] = self._arrays[view][position]
        return torch.from_numpy(rows).float()


@dataclass
class LiveFeatures:
    """Features computed for each batch: read, preprocess, augment, run the prefix; for want of room to cache.

    The prefix runs on the device that it lies on; the features come back to the CPU's memory, as cached ones do.
    """

    paths: Sequence[str]
    digests: Sequence[str]
    preprocess: Preprocess
    augmentation: Augmentation
    prefix: nn.Module
    workers: int

    @property
    def views(self) -> int:
        """How many views there are."""
        return self.augmentation.views

    def batch(self, positions: Positions, views: Positions) -> torch.Tensor:
        """See FeatureSource."""
        with ThreadPoolExecutor(self.workers) as pool:
            pixels = list(pool.map(self._pixels, positions, views))
        device = next((parameter.device for parameter in self.prefix.parameters()), None)  # None: nothing is frozen
        with torch.no_grad():
            images = torch.from_numpy(np.stack(pixels)).contiguous(memory_format=torch.channels_last)
            return torch.cat([self.prefix(part.to(device)).cpu() for part in torch.split(images, PART)])

    def _pixels(self, position: int, view: int) -> npt.NDArray[np.float32]:
        image = read_rgb(Path(self.paths[position]))
        (pixels,) = self.augmentation.render(
            image, self.preprocess, name=self.digests[position], first=int(view), last=int(view) + 1
        )
        return pixels
