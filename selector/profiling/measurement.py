"""What a configuration's measurement comes to: its figure, its bounds, and how far to trust it."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, Self

from selector.profiling.pace import Pace, Sensitivity


@dataclass(frozen=True, slots=True)
class OwnPace:
    """The pace of a configuration's steady windows, and how its figure goes with it (`pace`)."""

    ms: Pace  # of the reference workloads that it goes with, the middle of those windows
    sensitivity: Sensitivity
    as_timed: float  # median of the samples as they were timed, milliseconds
    p90_as_timed: float | None  # the bound of their 90th percentile
    reference: Pace | None = None  # that the figure is given at; None: its own
    state: Pace = ()  # of the workloads beyond, which tell the machine's state

    def state_at_reference(self, powers: Sequence[float]) -> float | None:
        """What told the state, as it would be at the reference if it went with the pace by `powers`; None: nothing."""
        if not self.state:
            return None
        away = zip(self.ms, self.reference or self.ms, powers, strict=True)
        return self.state[0] / prod(float((ms / reference) ** power) for ms, reference, power in away)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """As it comes out of a pipe."""
        reference = data["reference"] and tuple(data["reference"])
        plain = {"ms": tuple(data["ms"]), "state": tuple(data["state"])}
        sensitive = Sensitivity.from_json(data["sensitivity"])
        return cls(**{**data, **plain, "reference": reference, "sensitivity": sensitive})


@dataclass(frozen=True, slots=True)
class Measurement:
    """The figure of one configuration, in milliseconds; where the pace was read, at its windows' own or its reference.

    `low` and `high` bound the median at the settings' confidence (order statistics of samples in windows; no
    distribution is assumed, but of how they go with the pace where it was read).
    `p90` is an upper bound of the 90th percentile at 99 % confidence; None below 64 samples.
    `reason` says why it is unstable. `disturbed` windows were left out; 0 where they count, which `reason` then says.
    """

    p50: float
    low: float
    high: float
    p90: float | None
    n: int
    windows: int
    warmup_samples: int
    stable: bool
    reason: str | None
    energy_mj: float | None = None  # of one inference, over the steady windows; None: it could not be read
    disturbed: int = 0
    slower: int = 0  # windows of a slower state of the machine, left out …
    slower_times: float | None = None  # … and how many times as long they took; None: there were none
    pace: OwnPace | None = None  # None: it was not read, and samples count as they were timed

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """As it comes out of a pipe."""
        return cls(**{**data, "pace": data.get("pace") and OwnPace.from_json(data["pace"])})
