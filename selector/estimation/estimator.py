"""The latency estimator of one device: its figures calibrate it, its specification does where there are none."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np

from selector.backbones.catalog import backbones
from selector.backbones.layers import networks
from selector.errors import InvalidInput
from selector.estimation.belief import Belief
from selector.estimation.configuration import Configuration, Series, Subject
from selector.estimation.features import TERMS, Vector, work
from selector.estimation.figures import SINGLE_THREADED, version_key
from selector.estimation.fit import fit_series
from selector.estimation.intervals import NORMAL_80
from selector.estimation.kinship import kernels
from selector.estimation.knowledge import Knowledge, shipped
from selector.estimation.latency import LatencyQuery
from selector.estimation.physical import log_latency
from selector.estimation.specification import numbers, precisions, promise
from selector.evidence.metrics import LATENCY_P50, TIME_PER_SAMPLE
from selector.evidence.record import Conditions, Figure, Provenance, Record
from selector.hardware.profiles import HardwareProfile, PublishedFigure

RESOLUTIONS = (96, 672)  # that the estimator was judged on
OUTSIDE = 1.5  # further widening for each way in which a query lies outside what the estimator was judged on
FAR_BATCH = 8  # times the largest batch of the figures at hand, from where on an answer is extrapolated
SIBLING_MINIMUM = 4  # figures of another configuration of the device, below which its rates are not fitted
FOREIGN_MARGIN = 0.15  # share of the time by which a kind of arithmetic must exceed every figure's to be foreign
FOREIGN_RATE = 5.0
"""How many times as long foreign arithmetic may take. An assumption, held against the one case at hand: ResNet-50 on a
Raspberry Pi 4, whose own figures are MobileNets', is published at 553 (TFLite 2.11) and 289 ms (Arm NN 22.11)."""
WIDEST = 20.0  # times either way, of any interval: left-out devices stray up to 11 times from their specification
SMALL_BATCH, BIG_BATCH = 8, 64
LAUNCH_SPAN = (
    3.0  # either way, an order of magnitude in all: what launches cost at batch 1 where only big batches are known
)
UNDREAMT = frozenset({"accelerator"})  # device kinds whose kernels no figure describes


@dataclass(frozen=True, slots=True)
class Known:
    """One known figure of the device, milliseconds per image."""

    configuration: Configuration
    subject: Subject
    milliseconds: float
    measured: bool


@dataclass(frozen=True, slots=True, eq=False)
class _Case:
    """What is believed of one runtime and precision, from which figures, and what its answers have to say."""

    belief: Belief
    configuration: Configuration
    figures: int
    siblings: int
    batches: tuple[int, int] | None  # smallest and largest batch of the figures that the belief rests on
    remarks: tuple[str, ...]


class DeviceEstimator:
    """Estimates latency on one device; implements `LatencyEstimator`. Made by `latency_estimator`."""

    def __init__(self, profile: HardwareProfile, known: Sequence[Known], knowledge: Knowledge) -> None:
        self.profile = profile
        self._specification = numbers(profile)
        self._by_configuration: dict[Configuration, list[Known]] = defaultdict(list)
        for figure in known:
            self._by_configuration[figure.configuration].append(figure)
        # the shipped figures of this very device are those of its profile, which may have been added to or corrected
        self._knowledge = knowledge.without(profile.name) if known else knowledge
        self._cases: dict[tuple[str, str], _Case | None] = {}
        self._answers: dict[tuple[str, str, Subject], tuple[float, float]] = {}

    def estimate(self, query: LatencyQuery) -> Figure | None:
        """The p50 with an 80 % interval; None for an unknown network, precision or kind of kernel."""
        case = self._case(query.runtime, query.precision)
        subject = Subject(query.backbone, query.resolution, query.batch_size)
        if case is None or not _computable(subject):
            return None
        key = (query.runtime, query.precision, subject)
        if key not in self._answers:
            self._answer(case, key)
        mean, deviation = self._answers[key]
        widening, remarks = self._beyond(case, subject)
        half = NORMAL_80 * deviation * widening * self._knowledge.widening_of(case.configuration, case.figures)
        if _unlike_batch(case, subject):
            half = max(half, float(np.log(LAUNCH_SPAN)))
        foreign = self._foreign(case, subject)
        if foreign > 0:
            half = max(half, float(np.log1p(foreign * (FOREIGN_RATE - 1))))
            remarks = (
                *remarks,
                f"{foreign:.0%} of its time goes into arithmetic that hardly any figure of this device holds: its "
                "speed is inferred from related devices and from pointwise convolutions",
            )
        half = min(half, float(np.log(WIDEST)))
        batch = query.batch_size
        low, value, high = (batch * float(np.exp(mean + shift)) for shift in (-half, 0.0, half))
        source = "; ".join([_rests_on(case), *case.remarks, *remarks])
        return Figure(LATENCY_P50, value, low, high, Provenance.ESTIMATED, source)

    def covariance(self, runtime: str, precision: str, subjects: Sequence[Subject]) -> tuple[Vector, float]:
        """Covariance [n, n] of log latencies at `subjects` and the variance of a figure's noise.

        Raises InvalidInput where nothing can be said of the runtime and precision.
        """
        case = self._case(runtime, precision)
        if case is None:
            raise InvalidInput(f"nothing can be estimated for {runtime} {precision} on {self.profile.name}")
        return case.belief.covariance(subjects)

    def known_subjects(self, runtime: str, precision: str) -> frozenset[Subject]:
        """What the device has figures of under this runtime and precision."""
        return frozenset(
            k.subject
            for c, figures in self._by_configuration.items()
            if (c.runtime, c.precision) == (runtime, precision)
            for k in figures
        )

    def _answer(self, case: _Case, key: tuple[str, str, Subject]) -> None:
        """Predict the subject asked for, and with it the whole catalog at its own resolutions: it is asked for next."""
        runtime, precision, subject = key
        subjects = [subject]
        if not any(k[:2] == key[:2] and k[2].batch_size == subject.batch_size for k in self._answers):
            subjects += [Subject(b.name, b.resolution, subject.batch_size) for b in backbones()]
        mean, deviation = case.belief.predict(subjects)
        for each, m, d in zip(subjects, mean, deviation, strict=True):
            self._answers[runtime, precision, each] = (float(m), float(d))

    def _case(self, runtime: str, precision: str) -> _Case | None:
        key = (runtime, precision)
        if key not in self._cases:
            self._cases[key] = self._make_case(runtime, precision)
        return self._cases[key]

    def _make_case(self, runtime: str, precision: str) -> _Case | None:
        if precision not in precisions() or self.profile.device_kind in UNDREAMT:
            return None
        own = [c for c in self._by_configuration if (c.runtime, c.precision) == (runtime, precision)]
        target = max(own, key=self._preference) if own else self._bare(runtime, precision)
        anywhere = {f.configuration.runtime for f in self._knowledge.fitted}
        if not own and runtime not in anywhere and target.accelerated:
            return None
        promised = promise(target, self._specification)
        siblings = [c for c in self._by_configuration if c != target and self._enough(c)]
        knowledge = self._with(siblings)
        figures = self._by_configuration.get(target, [])
        belief = Belief(
            knowledge.prior(target, promised),
            knowledge.shared(target),
            knowledge.settings_of(target),
            [k.subject for k in figures],
            np.log([k.milliseconds for k in figures]),
        )
        remarks = []
        if not own and runtime not in anywhere:
            remarks.append(
                f"no figure of {runtime} on any device was learnt from: its rates are those of other runtimes"
            )
        if not figures and not siblings:
            remarks.append("no figure of this device: its speed is what its specification promises, " + self._stated())
        batches = [k.subject.batch_size for k in figures]
        batches = batches or [k.subject.batch_size for c in siblings for k in self._by_configuration[c]]
        batches = batches or [
            s.batch_size
            for f in knowledge.fitted
            if f.configuration.runtime == runtime and kernels(f.configuration) == kernels(target)
            for s in f.residuals.subjects
        ]
        span = (min(batches), max(batches)) if batches else None
        return _Case(belief, target, len(figures), len(siblings), span, tuple(remarks))

    def _with(self, siblings: Sequence[Configuration]) -> Knowledge:
        """The knowledge with the device's other configurations fitted into it."""
        fitted = []
        for sibling in siblings:
            promised = promise(sibling, self._specification)
            prior = self._knowledge.prior(sibling, promised)
            figures = self._by_configuration[sibling]
            series = Series(sibling, tuple(k.subject for k in figures), np.array([k.milliseconds for k in figures]))
            fitted.append(
                fit_series(
                    series, promised, prior.mean, np.linalg.inv(prior.covariance), self._knowledge.settings_of(sibling)
                )
            )
        return replace(self._knowledge, fitted=(*self._knowledge.fitted, *fitted))

    def _enough(self, configuration: Configuration) -> bool:
        return len(self._by_configuration[configuration]) >= SIBLING_MINIMUM

    def _preference(self, configuration: Configuration) -> tuple[bool, int, tuple[int, ...], int]:
        """Measured before published, all cores before one, then the newest version, then the most figures."""
        figures = self._by_configuration[configuration]
        many = 0 if configuration.threads == 1 else 1
        return (any(k.measured for k in figures), many, version_key(configuration.version), len(figures))

    def _bare(self, runtime: str, precision: str) -> Configuration:
        return Configuration(self.profile.name, self.profile.device_kind, runtime, "", precision)

    def _stated(self) -> str:
        stated = [n for n in _PROMISES if n in self._specification]
        return "of which " + (", ".join(stated) + " are stated" if stated else "nothing is stated")

    def _foreign(self, case: _Case, subject: Subject) -> float:
        """Share of the time that is arithmetic of kinds which the figures at hand hardly contain.

        0 where the device has no figure at all: the prior of its rates is wide enough.
        """
        figures = self._by_configuration.get(case.configuration, [])
        known = [k.subject for k in figures or (k for c in self._siblings(case) for k in self._by_configuration[c])]
        if not known:
            return 0.0
        promised = promise(case.configuration, self._specification)
        theta = case.belief.theta
        _, asked = log_latency(promised.costs([subject]), theta)
        _, held = log_latency(promised.costs(known), theta)
        foreign = _ARITHMETIC & (asked[0] > held.max(axis=0) + FOREIGN_MARGIN)
        return float(asked[0][foreign].sum())

    def _siblings(self, case: _Case) -> list[Configuration]:
        """The device's other configurations whose kernels are of the same sort: a GPU's say nothing of the CPU's."""
        ours = case.configuration
        alike = [c for c in self._by_configuration if c != ours and c.accelerated == ours.accelerated]
        return [c for c in alike if self._enough(c)]

    def _beyond(self, case: _Case, subject: Subject) -> tuple[float, tuple[str, ...]]:
        """How much wider the interval has to be for what the estimator was not judged on, and the reasons.

        Once for each reason, for a resolution once a doubling: every cache is met anew.
        """
        remarks = []
        doublings = 0.0
        if not RESOLUTIONS[0] <= subject.resolution <= RESOLUTIONS[1]:
            low, high = RESOLUTIONS
            remarks.append(f"extrapolated to {subject.resolution} px, outside the {low} to {high} px judged")
            doublings = float(np.log2(max(subject.resolution / high, low / subject.resolution)))
        if case.batches and _unlike_batch(case, subject):
            remarks.append(
                f"rests on figures at batch {case.batches[0]} to {case.batches[1]}: what a launch costs at batch "
                f"{subject.batch_size} is known by its order of magnitude only"
            )
        if case.batches and subject.batch_size >= FAR_BATCH * case.batches[1]:
            remarks.append(
                f"extrapolated to batch {subject.batch_size} from figures at batch {case.batches[1]} at most"
            )
        ways = len(remarks) + max(0.0, doublings - 1.0)
        if case.figures or case.siblings:
            ways += len(case.remarks)
        return OUTSIDE**ways, tuple(remarks)


def _unlike_batch(case: _Case, subject: Subject) -> bool:
    """Whether the figures are of big batches and the question is of a small one, where launches set the pace."""
    return case.batches is not None and case.batches[0] >= BIG_BATCH and subject.batch_size <= SMALL_BATCH


_ARITHMETIC = np.array([counted == "mac" for _, counted in TERMS])
_PROMISES = ("cores", "clock_ghz", "peak_gflops_fp32", "peak_gflops_fp16", "peak_gops_int8", "bandwidth_gb_s")


def latency_estimator(
    profile: HardwareProfile, measured: Sequence[Record] = (), *, knowledge: Knowledge | None = None
) -> DeviceEstimator:
    """The estimator for `profile`, calibrated by its published figures and by `measured` records of the device.

    Where both have a figure of the same subject, runtime and precision, the measured one counts. `knowledge` is what
    the product ships unless given.
    """
    return DeviceEstimator(profile, known_figures(profile, measured), knowledge or shipped())


def known_figures(profile: HardwareProfile, measured: Sequence[Record] = ()) -> list[Known]:
    """The latencies that the profile and the records hold, one a configuration and subject; measured ones win."""
    published = (_known(profile, p.metric, _conditions(profile, p), p.value, measured=False) for p in profile.published)
    own = (
        _known(profile, r.figure.metric.name, r.conditions, r.figure.value, measured=True)
        for r in measured
        if r.figure.provenance is not Provenance.ESTIMATED
    )
    return _merged(published, own)


def _conditions(profile: HardwareProfile, p: PublishedFigure) -> Conditions:
    return Conditions(
        p.backbone, profile.name, p.runtime, p.runtime_version, p.precision, p.resolution, p.batch_size, p.threads
    )


def _known(profile: HardwareProfile, metric: str, c: Conditions, value: float, *, measured: bool) -> Known | None:
    """The figure as the estimator takes it; None where it is no latency, or incomplete, or of an unknown network."""
    if metric not in (LATENCY_P50.name, TIME_PER_SAMPLE.name) or None in (c.runtime, c.resolution, c.precision):
        return None
    assert c.runtime is not None
    assert c.resolution is not None
    assert c.precision is not None
    subject = Subject(c.backbone, c.resolution, c.batch_size or 1)
    if c.precision not in precisions() or value <= 0 or not _computable(subject):
        return None
    version = c.runtime_version or ""
    threads = 1 if (c.runtime, version, c.precision) in SINGLE_THREADED else c.threads
    configuration = Configuration(profile.name, profile.device_kind, c.runtime, version, c.precision, "", threads)
    return Known(configuration, subject, value / subject.batch_size if metric == LATENCY_P50.name else value, measured)


def _merged(published: Iterable[Known | None], measured: Iterable[Known | None]) -> list[Known]:
    """One figure a configuration and subject; of several (repeated submissions, repeated measurements) the median."""
    groups: dict[tuple[Configuration, Subject, bool], list[float]] = defaultdict(list)
    for figure in (*published, *measured):
        if figure is not None:
            groups[figure.configuration, figure.subject, figure.measured].append(figure.milliseconds)
    return [
        Known(c, s, float(np.median(values)), m)
        for (c, s, m), values in groups.items()
        if m or (c, s, True) not in groups
    ]


def _computable(subject: Subject) -> bool:
    """Whether the layer table holds the network and the image is big enough for it."""
    if subject.backbone not in _networks() or subject.batch_size < 1:
        return False
    try:
        work(subject.backbone, subject.resolution)
    except InvalidInput:
        return False
    return True


@cache
def _networks() -> frozenset[str]:
    return frozenset(networks())


def _rests_on(case: _Case) -> str:
    """What an estimate rests on, for its source."""
    c = case.configuration
    version = f" {c.version}" if c.version else ""
    parts = ["estimated from layers"]
    parts.append(f"{case.figures} figures of {c.runtime}{version} {c.precision} on this device" if case.figures else "")
    parts.append(f"{case.siblings} other configurations of this device" if case.siblings else "")
    return ", ".join(p for p in parts if p) + ", rates and residuals of related devices"
