"""Which windows of a configuration are of a slower state of the machine, that no counter shows.

A hypervisor may move the processors of a virtual machine, so that they answer each other through one cache at one
moment and across the chip at the next. On two cores of a shared AMD EPYC such states lasted for seconds to minutes,
without a trace in what other work took: EfficientNet-Lite0 in ONNX Runtime took 6.5 ms in the one and 14.3 ms in the
other (benchmarks/results/profile_grid_fifth_pair.md); ResNet-18, whose threads exchange less, differed little. Nothing
lies between two states, which tells them from noise. Pure arithmetic.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil
from statistics import median

from selector.profiling.pace import Pace

GAP = 1.15
"""How many times as long as the last window before it the first one of a slower state takes at least. A choice: moments
of one state differ by less, one from the next in order of size."""

FEWEST = 3
"""Windows that make the faster state one, and not luck."""

SHARE = 0.1
"""Of many readings of a session, those that make the faster state one: a cold processor's first are a few."""

FEWEST_SLOWER = 2
"""Windows that make a slower state one: a single one was hit by something."""

LEAST_MS = 0.001
"""What two states differ by at least: steps of a clock are none."""


def faster_state(middles: Sequence[float], *, fewest: int = FEWEST, fewest_slower: int = FEWEST_SLOWER) -> list[int]:
    """Which windows are of the machine's fastest state, by their medians in milliseconds: all of them where it had one.

    In their own order. The state ends where nothing lies for GAP and more; `fewest` windows and more are of it, and
    `fewest_slower` and more are not.
    """
    ordered = sorted(middles)
    for i in range(fewest, len(ordered) + 1 - fewest_slower):
        if ordered[i] >= GAP * ordered[i - 1] and ordered[i] - ordered[i - 1] >= LEAST_MS:
            return [place for place, middle in enumerate(middles) if middle < ordered[i]]
    return list(range(len(middles)))


def faster_paces(paces: Sequence[Pace]) -> list[int]:
    """Which readings of the pace are of the machine's fastest state, by each of the workloads.

    Where threads work on one of these together, it is slower in a slower state, whatever becomes of a model. A reading
    or two that an interrupt fell on are no state. All of them, where the workloads do not agree.
    """
    found, fewest = set(range(len(paces))), max(FEWEST, ceil(SHARE * len(paces)))
    for times in zip(*paces, strict=True):
        found &= set(faster_state(times, fewest=fewest, fewest_slower=FEWEST))
    return sorted(found) if len(found) >= FEWEST else list(range(len(paces)))


@dataclass(frozen=True, slots=True)
class States:
    """Windows by the state that the machine was in."""

    fast: list[int]
    slower: list[int]
    times: float | None  # how many times as long the model took in the slower ones; None: there are none

    def doubt(self, *, mixed: bool) -> str | None:
        """That most windows are of slower states, or, where a figure is of all (`mixed`), that some are; or None."""
        if self.times is None or (len(self.slower) < len(self.fast) and not mixed):
            return None
        both = len(self.fast) + len(self.slower)
        return f"{len(self.slower)} of {both} windows took {self.times:.2f} times as long as the rest"


def apart(middles: Sequence[float], paces: Sequence[Pace | None]) -> States:
    """The states of windows, by their medians in milliseconds and, where all were read, by the paces beside them."""
    read = [pace for pace in paces if pace is not None]
    calm = set(faster_paces(read) if len(read) == len(paces) else range(len(paces)))
    fast = faster_state(middles)
    if len(both := calm & set(fast)) >= FEWEST:
        fast = sorted(both)
    slower = sorted(set(range(len(middles))) - set(fast))
    usual = median(middles[i] for i in fast) if fast else 0.0
    times = median(middles[i] for i in slower) / usual if slower and usual > 0 else None
    return States(fast, slower, times)
