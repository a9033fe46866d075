"""Latency on hardware that is not here: the question, the answer, and who answers it."""

from dataclasses import dataclass
from typing import Protocol

from selector.evidence.record import Figure


@dataclass(frozen=True, slots=True)
class LatencyQuery:
    """Which latency is asked for, on the device that the estimator was made for."""

    backbone: str
    resolution: int
    runtime: str
    precision: str
    batch_size: int = 1


class LatencyEstimator(Protocol):
    """Estimates latency on one device. Made from a hardware profile and its published or measured figures."""

    def estimate(self, query: LatencyQuery) -> Figure | None:
        """The p50 with an 80 % interval, provenance "estimated"; None where nothing can honestly be said."""
        ...
