"""Does a lossy precision still answer as fp32 does? The same images through both, and what became of the answers.

The same file, reference, library and processor give the same answers each time. So it is measured once and then kept
in a file beside the model's; who clears the cache of models clears it, too.
"""

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from selector.profiling.images import ImageSet
from selector.profiling.keeping import write_whole
from selector.profiling.runtimes.base import Logits, Runtime

LOSSY = ("tf32", "fp16", "bf16", "amp", "int8-dynamic", "int8-static")
"""Precisions whose figures carry their agreement with fp32."""

WITHOUT = "measured without its agreement with fp32: "
"""How the failure of an agreement begins, which loses no other figure."""


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


def answers(loaded: Runtime, images: ImageSet) -> Iterator[Logits]:
    """Logits [1, classes] of a loaded model for each image, one by one as they are asked for."""
    for image in images.each(loaded.model.backbone, loaded.model.resolution):
        yield loaded.run(image[None])


def kept_agreement(place: Path, of: Mapping[str, object]) -> Agreement | None:
    """What `keep_agreement` has put there for the same `of`; None where there is nothing of use."""
    with suppress(OSError, ValueError, TypeError, KeyError):
        kept = json.loads(place.read_text(encoding="utf-8"))
        if kept["of"] == dict(of):
            return Agreement(**kept["agreement"])
    return None


def keep_agreement(place: Path, of: Mapping[str, object], found: Agreement) -> None:
    """Keep an agreement in a file that appears whole or not at all; `of` is all that it follows from.

    Where it cannot be written it is measured again next time.
    """
    with suppress(OSError):
        write_whole(place, {"of": dict(of), "agreement": asdict(found)})
