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
"""The most of the whole budget that is kept back for finishing with the int8 model and parity."""

SLACK = 0.2
"""How much more than what has to be done at the end is expected to take is kept back for it."""

CLOSING_S = 1.5  # writing the card, handing over

CALIBRATION_IMAGES = 96  # that an int8 model is quantised on


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

    @property
    def late_s(self) -> float:
        """Seconds after the end that even a budget counts as kept in: 5 % of it, 5 at least."""
        return max(5.0, 0.05 * self.asked_s)

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

    def after_training_s(self, asked_s: float) -> float:
        """What is kept for after the last training step: int8 and parity only as far as they leave room for training.

        The finished model is held against torch on as many images as the time then allows.
        """
        whole, most = self.after_more_training_s(asked_s), FINISHING_SHARE * asked_s
        return whole if whole <= most else whole - self._parity_beyond_slack_s

    def after_more_training_s(self, asked_s: float) -> float:
        """What a retraining beyond the wanted ones has to leave: whole parity, and an int8 model that is kept for."""
        must = (1 + SLACK) * self.finishing_s
        int8 = self.int8_s if must + self.int8_s <= FINISHING_SHARE * asked_s else 0.0
        return must + int8 + self._parity_beyond_slack_s

    @property
    def _parity_beyond_slack_s(self) -> float:
        """Parity gives way where the rest takes longer: the slack is time for it, and it is slack."""
        return max(0.0, self.parity_s - SLACK * self.finishing_s)

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
    *, image_s: float, test_images: int, views: int, train_images: int, start_s: float
) -> tuple[float, float, float]:
    """Seconds of everything after the last training step: what has to be, parity with torch, and the int8 model.

    `image_s` is ONNX Runtime's time for one image on all threads together; torch takes two to three times as long.
    Loading, exporting, a latency measurement and 1000 bootstrap resamples came to 6 s.
    """
    a_pass = test_images * image_s
    must = 6.0 + 2 * start_s + a_pass * views
    return must, 2.5 * a_pass, int8_seconds(a_pass * views, test_images * views, train_images)


def int8_seconds(test_seconds: float, answers: int, train_images: int) -> float:
    """Seconds of quantising and testing a model that took `test_seconds` for `answers` inferences side by side.

    Calibration, on some of the `train_images`, keeps every intermediate result. Five networks took
    0.8 to 1.9 times as long as this on two busy cores, and 0.5 to 0.8 times on idle ones.
    """
    calibration = 2.5 * min(CALIBRATION_IMAGES, train_images) * test_seconds / max(1, answers)
    return 5.0 + test_seconds + calibration
