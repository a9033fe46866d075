"""What was measured on the user's own images: accuracies that replace the prior, and what they say of the rest.

A measured setup is stated as it was measured. All others keep the prior, conditioned on the measurements: draws are
paired (column i is one possible world), so a measurement of one setup moves the task that all share, and with it the
level of every other; what differs between backbones and depths stays as uncertain as the studies leave it. The update
is the ensemble Kalman filter's in log-odds (Evensen 1994): exact where the draws are jointly normal, else close to it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from selector.decision.answer import Candidate
from selector.estimation.accuracy import Draws, log_odds
from selector.evidence.record import Figure

LEAST_SD = 0.02  # log-odds; two trainings of the same recipe differ by as much
Z95 = 1.96

Place = tuple[str, int, int]
"""(backbone, frozen blocks, resolution)."""


@dataclass(frozen=True, slots=True)
class Measured:
    """One setup that was trained on the user's images.

    `accuracy` in percent with its 95 % interval over images, of one inference an image as latencies are;
    `train_seconds` of that one training on this machine. Where the trained model's own answer is the mean over
    `views` > 1 views of an image, and so takes as many inferences, `of_views` is the accuracy of that mean.
    """

    backbone: str
    freeze_name: str
    frozen_blocks: int
    resolution: int
    accuracy: Figure
    train_seconds: Figure | None
    views: int = 1
    of_views: Figure | None = None

    @property
    def place(self) -> Place:
        """What tells setups apart."""
        return self.backbone, self.frozen_blocks, self.resolution


@dataclass(frozen=True, slots=True)
class Study:
    """A search on the user's images, as far as decisions need it. The first of `measured` is the winner."""

    measured: tuple[Measured, ...]
    hyperparameters: dict[str, str | float | int]  # the winner's
    trials: int
    images: int  # test images that no choice was made on
    macro_f1: float  # of the winner on them, with one inference an image
    budget_s: float
    command: str  # asks the same question again
    random_init: bool
    classes: int = 0
    tested_classes: int = 0  # those of them with a test image: macro-F1 is over these
    macro_f1_of_views: float | None = None  # of the winner's mean over several views, where it answers so

    @property
    def winner(self) -> Measured:
        """The setup whose model was handed over."""
        return self.measured[0]

    def handed_over(self, candidate: Candidate) -> bool:
        """Whether the winner's model is what `candidate` runs."""
        return place_of(candidate) == self.winner.place

    def by_place(self) -> Mapping[Place, Measured]:
        """The measured setups by what tells them apart."""
        return {m.place: m for m in self.measured}


def place_of(candidate: Candidate) -> Place:
    """The setup that a candidate runs."""
    return candidate.backbone, candidate.freeze.frozen_blocks, candidate.resolution


def conditioned(draws: Draws, measured: Sequence[tuple[int, Figure]], *, seed: int) -> Draws:
    """`draws` [setups, n] in percent, given that the setups at these rows were measured.

    A measured row is drawn anew around its figure; the others move with it as far as they moved together before.
    """
    rng = np.random.default_rng([seed, 4])
    odds = np.asarray(log_odds(draws), dtype=np.float64)
    drawn: dict[int, Draws] = {}
    for row, figure in measured:
        sd = _sd(figure)
        seen = np.asarray(rng.normal(float(log_odds(figure.value)), sd, odds.shape[1]), dtype=np.float64)
        deviation = odds[row] - float(odds[row].mean())
        spread = deviation @ deviation + sd**2 * len(deviation)
        gain = ((odds - odds.mean(axis=1, keepdims=True)) @ deviation) / spread
        odds = odds + gain[:, None] * (seen - odds[row])[None, :]
        drawn[row] = seen
    for row, values in drawn.items():
        odds[row] = values
    return np.asarray(100 / (1 + np.exp(-odds)), dtype=np.float64)


def _sd(figure: Figure) -> float:
    """The standard deviation of a measured accuracy in log-odds, from its 95 % interval."""
    if figure.low is None or figure.high is None:
        return LEAST_SD
    return max(LEAST_SD, float(log_odds(figure.high) - log_odds(figure.low)) / (2 * Z95))
