"""How good the estimator is on a device that it does not know, and how wide its intervals have to be.

Everything of a device is taken away, the rest is fitted, and each of the device's configurations is predicted twice:
from the specification alone, and with a few figures at the subjects that `plan` chooses.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import t as student

from selector.estimation.belief import Belief
from selector.estimation.configuration import Configuration, Series, Subject
from selector.estimation.features import Vector
from selector.estimation.fit import fit
from selector.estimation.intervals import NORMAL_80
from selector.estimation.kinship import Settings, kernels
from selector.estimation.knowledge import BLIND, BLIND_QUANTISED, CALIBRATED, QUANTISED, Knowledge
from selector.estimation.physical import Promise
from selector.estimation.plan import most_informative

CALIBRATION = int(CALIBRATED)  # figures of the device that are given
JUDGED = 16  # figures below which a configuration is not judged
PRIOR_DEVICES = 2.0  # a group's widening is drawn towards that of all groups as by so many devices


@dataclass(frozen=True, slots=True, eq=False)
class Prediction:
    """Predictions for figures that were left out: their logs, and means and standard deviations [n] of the logs."""

    configuration: Configuration
    given: tuple[Subject, ...]
    subjects: tuple[Subject, ...]
    logs: Vector
    means: Vector
    deviations: Vector

    @property
    def relative_errors(self) -> Vector:
        """|predicted − true| / true."""
        errors: Vector = np.abs(np.exp(self.means - self.logs) - 1)
        return errors

    @property
    def standardised(self) -> Vector:
        """Errors in standard deviations."""
        z: Vector = (self.logs - self.means) / self.deviations
        return z


def leave_devices_out(
    series: Sequence[Series],
    promised: Mapping[Configuration, Promise],
    settings: Mapping[str, Settings],
    *,
    given: int = CALIBRATION,
    done: Callable[[str], None] = lambda device: None,
) -> tuple[list[Prediction], list[Prediction]]:
    """Predictions without any figure, and with `given` ones, of every configuration with at least JUDGED figures."""
    without, calibrated = [], []
    for device in dict.fromkeys(s.configuration.device for s in series):
        judged = [s for s in series if s.configuration.device == device and len(s.subjects) >= JUDGED]
        if not judged:
            continue
        others = [s for s in series if s.configuration.device != device]
        knowledge = Knowledge(fit(others, promised, settings), settings, {})
        for s in judged:
            zero, eight = predict_left_out(s, promised[s.configuration], knowledge, given)
            without.append(zero)
            calibrated.append(eight)
        done(device)
    return without, calibrated


def predict_left_out(
    series: Series, promised: Promise, knowledge: Knowledge, given: int
) -> tuple[Prediction, Prediction]:
    """Predictions of a series that `knowledge` does not hold: all of it blindly, then what is left of `given`."""
    c, subjects, logs = series.configuration, series.subjects, series.logs
    prior, shared, settings = knowledge.prior(c, promised), knowledge.shared(c), knowledge.settings_of(c)
    blind = Belief(prior, shared, settings)
    zero = Prediction(c, (), subjects, logs, *blind.predict(subjects))
    chosen = most_informative(*blind.covariance(subjects), given)
    left = [i for i in range(len(subjects)) if i not in set(chosen)]
    told = tuple(subjects[i] for i in chosen)
    asked = tuple(subjects[i] for i in left)
    informed = Belief(prior, shared, settings, told, logs[chosen])
    return zero, Prediction(c, told, asked, logs[left], *informed.predict(asked))


def widening(without: Sequence[Prediction], calibrated: Sequence[Prediction]) -> dict[str, dict[str, float]]:
    """Factors on the standard deviation under which 80 % intervals hold 80 % of what was left out, by kernel group.

    Every configuration counts alike, however many figures it has. A group of few devices is drawn towards all groups,
    which count alike. Without figures quantised precisions count apart: no specification of a CPU says what int8
    arithmetic it has. And without figures a device's level is one draw for all its networks, so that a group knows its
    spread from as many draws as it has devices: the factor for the next device is Student's, not the normal one.
    """
    quantised = [p for p in without if p.configuration.precision in QUANTISED]
    table: dict[str, dict[str, float]] = defaultdict(dict)
    for label, predictions in (
        (BLIND, [p for p in without if p.configuration.precision not in QUANTISED]),
        (BLIND_QUANTISED, quantised),
        (CALIBRATED, calibrated),
    ):
        groups = {g: [p for p in predictions if kernels(p.configuration) == g] for g in ("gpu", "x86", "arm")}
        own = {group: float(np.log(_factor(of))) for group, of in groups.items() if of}
        everyone = float(np.mean(list(own.values()))) if own else 0.0
        for group, of in groups.items():
            draws = len({p.configuration.device for p in of}) + PRIOR_DEVICES
            pull = PRIOR_DEVICES / draws
            factor = np.exp((1 - pull) * own.get(group, everyone) + pull * everyone)
            table[group][label] = round(float(factor) * (1.0 if label == CALIBRATED else _next_draw(draws)), 3)
    return dict(table)


def _next_draw(draws: float) -> float:
    """How much wider than a normal distribution's the 80 % interval of a further draw is, after so many.

    The mean is known to be none: every draw is an error of what its relatives and its specification promised.
    """
    return float(student.ppf(0.9, draws)) / NORMAL_80


def _factor(predictions: Sequence[Prediction]) -> float:
    """The weighted 80 % quantile of |z|, over that of a normal distribution."""
    z = np.concatenate([np.abs(p.standardised) for p in predictions])
    weights = np.concatenate([np.full(len(p.subjects), 1 / len(p.subjects)) for p in predictions])
    order = np.argsort(z, kind="stable")
    reached = np.cumsum(weights[order]) / weights.sum()
    return float(z[order][np.searchsorted(reached, 0.8)]) / NORMAL_80
