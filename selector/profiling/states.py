"""Which windows of a configuration are of a slower state of the machine, that no counter shows.

A hypervisor may move the processors of a virtual machine, so that they answer each other through one cache at one
moment and across the chip at the next. On two cores of a shared AMD EPYC such states lasted for seconds to half a
minute, without a trace in what other work took: EfficientNet-Lite0 in ONNX Runtime took 6.7 ms in the one and 14.4 ms
in the other, ResNet-18, whose threads exchange less, 17.3 and 17.9 ms. Nothing lies between two states, which tells
them from noise. Pure arithmetic.
"""

from collections.abc import Sequence

GAP = 1.15
"""How many times as long as the last window before it the first one of a slower state takes at least. A choice: moments
of one state differ by less, one from the next in order of size."""

FEWEST = 3
"""Windows that make the faster state one, and not luck."""

LEAST_MS = 0.001
"""What two states differ by at least: steps of a clock are none."""


def faster_state(middles: Sequence[float]) -> list[int]:
    """Which windows are of the machine's fastest state, by their medians in milliseconds: all of them where it had one.

    In their own order. The state ends where nothing lies for GAP and more.
    """
    ordered = sorted(middles)
    for i in range(FEWEST, len(ordered)):
        if ordered[i] >= GAP * ordered[i - 1] and ordered[i] - ordered[i - 1] >= LEAST_MS:
            return [place for place, middle in enumerate(middles) if middle < ordered[i]]
    return list(range(len(middles)))
