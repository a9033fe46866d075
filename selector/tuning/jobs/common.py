"""What every job reads: the data set as it was split, and where things lie. Values travel as JSON."""

import json
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from selector.backbones.catalog import backbone
from selector.tuning.cache.store import CacheKey, CacheStore
from selector.tuning.data.dataset import Dataset, Sample
from selector.tuning.data.split import Split
from selector.tuning.place import cannot_write
from selector.tuning.preprocess import Preprocess
from selector.tuning.recipe import Recipe

STATE = "state.safetensors"  # a trial's weights, in its folder
ANSWERS = "test.npy"  # the winner's logits [n, views, classes] of the test images, in its trial's folder

Emit = Callable[[dict[str, Any]], None]


def save_dataset(dataset: Dataset, file: Path) -> None:
    """Write what jobs need of the data set, and what people want to look up: files that are not used, and notes."""
    data = {
        "classes": dataset.classes,
        "root": dataset.root,
        "samples": [asdict(s) for s in dataset.samples],
        "left_out": [asdict(item) for item in dataset.left_out],
        "notes": dataset.notes,
    }
    write_whole(file, json.dumps(data, ensure_ascii=False))


def write_whole(file: Path, text: str) -> None:
    """Write `text` so that a process that is killed leaves the former file or the new one, never half of it.

    Raises OutputFailed where there is no room for it, or no right to write.
    """
    draft = file.with_name(f".{file.name}.{os.getpid()}.part")
    try:
        draft.write_text(text, encoding="utf-8")
        os.replace(draft, file)
    except OSError as error:
        with suppress(OSError):
            draft.unlink()
        raise cannot_write(file, error) from error


@dataclass(frozen=True)
class Task:
    """A job's surroundings: study folder, weights, cache, threads."""

    study: Path
    weights_folder: Path | None
    random_init: bool
    cache_folder: Path
    cache_limit: int  # bytes; 0: no cache
    threads: int

    def as_json(self) -> dict[str, Any]:
        """Plain values; `from_json` reads them."""
        return {
            "study": str(self.study),
            "weights_folder": None if self.weights_folder is None else str(self.weights_folder),
            "random_init": self.random_init,
            "cache_folder": str(self.cache_folder),
            "cache_limit": self.cache_limit,
            "threads": self.threads,
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Task":
        """Read what `as_json` wrote."""
        folder = data["weights_folder"]
        return cls(
            Path(data["study"]),
            None if folder is None else Path(folder),
            data["random_init"],
            Path(data["cache_folder"]),
            data["cache_limit"],
            data["threads"],
        )

    @cached_property
    def dataset(self) -> Dataset:
        """The data set of the study."""
        data = json.loads((self.study / "data.json").read_text(encoding="utf-8"))
        samples = tuple(Sample(**{**s, "split": Split(s["split"])}) for s in data["samples"])
        return Dataset(data["root"], tuple(data["classes"]), samples, (), ())

    @cached_property
    def trainable(self) -> list[Sample]:
        """Train and validation images, in the order of the cache's rows. Test images are never among them."""
        return [s for s in self.dataset.samples if s.split != Split.TEST]

    @cached_property
    def labels(self) -> npt.NDArray[np.int64]:
        """Labels of `trainable`."""
        return np.array([s.label for s in self.trainable], dtype=np.int64)

    def rows(self, *splits: Split) -> npt.NDArray[np.int64]:
        """Rows of the cache that belong to `splits`."""
        return np.array([i for i, s in enumerate(self.trainable) if s.split in splits], dtype=np.int64)

    @property
    def store(self) -> CacheStore:
        """The activation cache."""
        return CacheStore(self.cache_folder, self.cache_limit)

    @cached_property
    def data_digest(self) -> str:
        """Names the trainable images and their order."""
        return Dataset("", (), tuple(self.trainable), (), ()).digest

    def key(self, recipe: Recipe, weights_digest: str, frozen_blocks: int) -> CacheKey:
        """The cache key of a recipe's features."""
        return CacheKey(
            recipe.backbone,
            weights_digest,
            frozen_blocks,
            preprocess_of(recipe.backbone, recipe.resolution),
            recipe.augment(),
            self.data_digest,
        )


def preprocess_of(name: str, resolution: int) -> Preprocess:
    """The pretraining's preprocessing (P12) at `resolution`."""
    facts = backbone(name).preprocessing
    return Preprocess(resolution, facts.mean, facts.std, facts.interpolation, facts.crop_pct)
