"""Which batch sizes throughput is measured at, and where it has saturated. Pure arithmetic on what is known so far."""

from collections.abc import Mapping

GAIN = 0.05
"""A larger batch has to save so much of the time an image takes to count as faster."""

LARGEST = 64
"""The largest batch that is tried; TensorRT's engines are built for no larger ones."""

SIZES = tuple(1 << k for k in range(LARGEST.bit_length()))
"""All that may be tried: 1, 2, 4 … LARGEST."""

LONGEST_BATCH_S = 2.0
"""A batch that would take longer is not tried: nobody waits for it, and its median would take minutes."""


def next_batch(known: Mapping[int, float]) -> int | None:
    """The next batch size to measure, 1 first and then doubling; None where it is enough.

    `known` holds milliseconds an image by batch size. It is enough when the last two sizes brought less than GAIN over
    the best before them, or when the next one is too large or would take too long.
    """
    if not known:
        return 1
    sizes = sorted(known)
    if len(sizes) > 2:
        best_before = min(known[size] for size in sizes[:-2])
        if min(known[size] for size in sizes[-2:]) > best_before * (1 - GAIN):
            return None
    size = sizes[-1] * 2
    too_long = known[sizes[-1]] * size / 1e3 > LONGEST_BATCH_S
    return None if size > LARGEST or too_long else size


def saturation(known: Mapping[int, float]) -> int:
    """The smallest batch size that comes within GAIN of the best time an image. Raises ValueError for none."""
    if not known:
        raise ValueError("saturation needs the time of at least one batch size")
    best = min(known.values())
    return min(size for size, time in known.items() if time * (1 - GAIN) <= best)
