"""Which batch sizes throughput is measured at, and where it has saturated. Pure arithmetic on what is known so far."""

from collections.abc import Mapping
from enum import Enum

GAIN = 0.05
"""A larger batch has to save so much of the time an image takes to count as faster."""

LARGEST = 64
"""The largest batch that is tried; TensorRT's engines are built for no larger ones."""

SIZES = tuple(1 << k for k in range(LARGEST.bit_length()))
"""All that may be tried: 1, 2, 4 … LARGEST."""

LONGEST_BATCH_S = 2.0
"""A batch that would take longer is not tried: nobody waits for it, and its median would take minutes."""


class Ending(Enum):
    """Why no larger batch was measured, in words."""

    SATURATED = "nothing more is gained"
    LARGEST = f"limit {LARGEST}"
    TOO_LONG = f"next over {LONGEST_BATCH_S:g} s"
    BROKEN_OFF = "broken off"  # out of memory, another failure, or Ctrl-C: the sizes alone do not tell which


def next_batch(known: Mapping[int, float]) -> int | None:
    """The next batch size to measure, 1 first and then doubling; None where it is enough.

    `known` holds milliseconds an image by batch size. It is enough when the last two sizes brought less than GAIN over
    the best before them, or when the next one is too large or would take too long.
    """
    if not known:
        return 1
    return max(known) * 2 if ending(known) is Ending.BROKEN_OFF else None


def ending(known: Mapping[int, float]) -> Ending:
    """Why a search that measured `known`, milliseconds an image by batch size, went no further.

    Raises ValueError for none.
    """
    if not known:
        raise ValueError("a search has an end where the time of at least one batch size is known")
    sizes = sorted(known)
    if len(sizes) > 2:
        best_before = min(known[size] for size in sizes[:-2])
        if min(known[size] for size in sizes[-2:]) > best_before * (1 - GAIN):
            return Ending.SATURATED
    larger = sizes[-1] * 2
    if larger > LARGEST:
        return Ending.LARGEST
    if known[sizes[-1]] * larger / 1e3 > LONGEST_BATCH_S:
        return Ending.TOO_LONG
    return Ending.BROKEN_OFF


def marks(known: Mapping[int, float]) -> dict[int, str]:
    """What a table says beside a batch size: where it is enough or, where nothing has saturated, why none is larger."""
    why = ending(known)
    if why is Ending.SATURATED:
        return {saturation(known): "enough"}
    return {max(known): f"largest tried: {why.value}"}


def saturation(known: Mapping[int, float]) -> int:
    """The smallest batch size that comes within GAIN of the best time an image. Raises ValueError for none."""
    if not known:
        raise ValueError("saturation needs the time of at least one batch size")
    best = min(known.values())
    return min(size for size, time in known.items() if time * (1 - GAIN) <= best)
