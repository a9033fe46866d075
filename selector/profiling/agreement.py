"""Does a lossy precision still answer as fp32 does? The same images through both, and what became of the answers."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from selector.profiling.images import ImageSet
from selector.profiling.runtimes.base import Logits, Runtime

LOSSY = ("tf32", "fp16", "bf16", "int8-dynamic", "int8-static")
"""Precisions whose figures carry their agreement with fp32."""


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far two models agree on the same images."""

    top1: float  # percent of images with the same highest logit
    cosine: float  # of the two logit vectors, mean over the images
    images: int


def agreement(reference: Logits, answer: Logits) -> Agreement:
    """Agreement of logits [n, classes] with those of the reference. Raises ValueError for other shapes or none.

    An answer that is not finite agrees with nothing: its cosine counts as 0 and its class as another one.
    """
    if reference.shape != answer.shape or reference.ndim != 2 or not len(reference):
        raise ValueError(f"logits of one shape [n, classes] are needed; got {reference.shape} and {answer.shape}")
    a, b = reference.astype(np.float64), answer.astype(np.float64)
    sound = np.isfinite(b).all(axis=1)
    b[~sound] = 0.0
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    cosines = np.divide((a * b).sum(axis=1), lengths, out=np.zeros(len(a)), where=lengths > 0)
    same = (a.argmax(axis=1) == b.argmax(axis=1)) & sound
    return Agreement(float(100 * same.mean()), float(cosines.mean()), len(a))


def measure_agreement(loaded: Runtime, images: ImageSet, reference: Path) -> Agreement:
    """Run the images through a loaded model, one by one, and compare with the reference's logits (`export`)."""
    batch = images.load(loaded.model.backbone, loaded.model.resolution)
    answers = np.concatenate([loaded.run(image[None]) for image in batch])
    return agreement(np.load(reference), answers)
