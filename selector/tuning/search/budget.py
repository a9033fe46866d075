"""The wall-clock budget, and what is kept back of it for the winner."""

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

SEEDS = 3
"""Runs that the winner is averaged over, as far as the time that is kept back for them goes …"""

MOST_SEEDS = 6
"""… and with what the search and the first of them have left."""

RETRAINING_SHARE = 0.4
"""The most of the whole budget that is kept back for them."""


FINISHING_SHARE = 0.45
"""The most of the whole budget that is kept back for finishing with parity and the int8 model."""


@dataclass
class Budget:
    """Seconds from the moment it is made. `phases` adds up what each part took."""

    asked_s: float
    started: float = field(default_factory=time.monotonic)
    phases: dict[str, float] = field(default_factory=dict)

    @property
    def used_s(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self.started

    @property
    def left_s(self) -> float:
        """Seconds until the end; negative after it."""
        return self.asked_s - self.used_s

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Count the block's time under `name`."""
        began = time.monotonic()
        try:
            yield
        finally:
            self.phases[name] = self.phases.get(name, 0.0) + time.monotonic() - began


@dataclass(frozen=True, slots=True)
class Reserve:
    """Seconds that the winner needs.

    `finishing_s`: saving, exporting, testing; `parity_s`: holding the exported model against torch; `int8_s`:
    quantising and testing that; `run_s`: one retraining, alone on all cores.
    """

    finishing_s: float
    parity_s: float
    int8_s: float
    run_s: float

    @property
    def whole_finishing_s(self) -> float:
        """Seconds of everything after the last training step, parity and int8 with it."""
        return self.finishing_s + self.parity_s + self.int8_s

    def after_training_s(self, asked_s: float) -> float:
        """What is kept for after the last training step: parity and int8 only as far as they leave room for training.

        The finished model is held against torch on as many images as the time then allows.
        """
        kept = self.finishing_s
        for more in (self.parity_s, self.int8_s):
            if kept + more > FINISHING_SHARE * asked_s:
                break
            kept += more
        return kept

    def total_s(self, asked_s: float) -> float:
        """What the search has to leave: the finishing, and three whole retrainings, or as many as their share holds.

        Where not even one fits, the share is left for a shorter one.
        """
        share = RETRAINING_SHARE * asked_s
        runs = min(SEEDS, max(1, int(share / self.run_s))) if self.run_s else 0
        return self.after_training_s(asked_s) + min(runs * self.run_s, share)


def faster_alone(workers: int) -> float:
    """How many times as fast a run of one of `workers` side by side is taken to be, once it has all cores to itself.

    Their square root, a choice: small steps do not scale with the cores, and what is expected too late is made up for
    by further seeds, while what is expected too early costs epochs. From the first retraining on its own time counts.
    """
    return math.sqrt(workers)


def finishing_seconds(
    *, image_s: float, test_images: int, views: int, calibration_images: int, start_s: float
) -> tuple[float, float, float]:
    """Seconds of everything after the last training step: what has to be, parity with torch, and the int8 model.

    `image_s` is ONNX Runtime's time for one image on all threads together. torch takes two to three times as long,
    an int8 model about as long as fp32; calibration keeps every intermediate result. Loading, exporting, a
    latency measurement and 1000 bootstrap resamples came to 6 s, the quantiser's own work to 5 s; a fifth is slack.
    """
    must = 6.0 + 2 * start_s + test_images * image_s * views
    parity = test_images * image_s * 2.5
    int8 = 6.0 + test_images * image_s * 1.5 * views + calibration_images * image_s * 5
    return 1.2 * must, 1.2 * parity, 1.2 * int8
