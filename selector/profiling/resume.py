"""What a broken run has left in the store, so that the next one does not measure it again."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from selector.evidence.record import Record
from selector.profiling.agreement import LOSSY
from selector.profiling.intervals import P90_SAMPLES
from selector.profiling.jobs import InferenceJob, Job, ThroughputJob, TrainingJob
from selector.profiling.machine_pace import TOO_FAR, Paces
from selector.profiling.machine_state import SLOWER, SLOWER_STATE, MachineStates
from selector.profiling.protocol import INFERENCE, PROTOCOL_VERSION
from selector.profiling.results import AT_PACE, Scribe, conditions, reference_note, state_note
from selector.profiling.runtimes import runtime

MAX_AGE = timedelta(hours=24)
"""Older figures are measured again: the fingerprint does not tell of a cooler that has come loose since."""

NEARLY = 0.85
"""A figure at the reference pace may be so much lower than what was timed, which said whether a p90 is affordable."""

COLD = frozenset({"load_ms", "first_inference_ms", "memory_rss_peak_bytes", "artifact_bytes"})
AGREEMENT = frozenset({"agreement_top1", "cosine_logits"})
STEADY = frozenset({"latency_ms_p50"})
TRAINING = frozenset({"train_step_ms", "train_memory_rss_peak_bytes", "params_trainable"})
COUNTED = (
    "macs_backward",
    "prefix_cache_bytes",
    "train_memory_allocated_peak_bytes",
    "train_memory_reserved_peak_bytes",
    "train_memory_device_peak_bytes",
)
"""What comes with a training step where there is such a thing."""

RATE = frozenset({"ms_per_sample"})


@dataclass(frozen=True, slots=True)
class Kept:
    """The parts of jobs that need no measuring, and their records."""

    records: tuple[Record, ...] = ()
    cold: frozenset[InferenceJob] = frozenset()  # whose first moments are known
    steady: frozenset[InferenceJob] = frozenset()  # whose latency is known
    trained: frozenset[TrainingJob] = frozenset()
    rates: tuple[tuple[ThroughputJob, int, float], ...] = ()  # job, batch size, milliseconds an image

    def rates_of(self, job: ThroughputJob) -> dict[int, float]:
        """Milliseconds an image at each batch size that is known."""
        return {batch: value for other, batch, value in self.rates if other == job}

    @property
    def parts(self) -> int:
        """How many measurements need not be made again."""
        return len(self.cold) + len(self.steady) + len(self.trained) + len(self.rates)


def find_kept(
    jobs: Sequence[Job],
    records: Iterable[Record],
    scribe: Scribe,
    paces: Paces,
    states: MachineStates,
    *,
    now: datetime | None = None,
    max_age: timedelta = MAX_AGE,
    tail_budget_s: float = INFERENCE.tail_budget_s,
) -> Kept:
    """What `records` hold of `jobs` as `scribe` would write it: same fingerprint, protocol, conditions and material.

    A figure that never settled counts as measured: it is what the deadline allows. A latency without a p90 does not
    where the samples of one cost clearly less than `tail_budget_s`: it was measured without `--p90`. Nor does one at
    another pace than the machine keeps by its runtime's gauge (`paces`), or from a moment too far from it, or in a
    slower state than the machine can be in (`states`).
    """
    since = (now or datetime.now(UTC)) - max_age
    usable = [
        record
        for record in records
        if record.fingerprint == scribe.fingerprint
        and record.protocol == PROTOCOL_VERSION
        and record.recorded_at >= since
    ]
    newest: dict[tuple[object, str], Record] = {}
    for record in sorted(usable, key=lambda r: r.recorded_at):
        newest[record.conditions, record.figure.metric.name] = record
    search = _Search(scribe, newest, tail_budget_s, paces, states)
    cold = {job: found for job in jobs if isinstance(job, InferenceJob) and (found := search.cold(job))}
    steady = {job: found for job in jobs if isinstance(job, InferenceJob) and (found := search.steady(job))}
    trained = {job: found for job in jobs if isinstance(job, TrainingJob) and (found := search.trained(job))}
    rates = [rate for job in jobs if isinstance(job, ThroughputJob) for rate in search.rates(job)]
    kept = [record for part in (cold, steady, trained) for found in part.values() for record in found]
    return Kept(
        records=tuple(sorted([*kept, *(record for _, record in rates)], key=lambda r: r.recorded_at)),
        cold=frozenset(cold),
        steady=frozenset(steady),
        trained=frozenset(trained),
        rates=tuple((job, record.conditions.batch_size or 1, record.figure.value) for job, record in rates),
    )


@dataclass(frozen=True, slots=True)
class _Search:
    scribe: Scribe
    newest: dict[tuple[object, str], Record]
    tail_budget_s: float
    paces: Paces
    states: MachineStates

    def of(self, job: Job, metrics: Iterable[str], *, batch_size: int | None = None) -> list[Record]:
        """The records of all `metrics`; empty where one is missing or is of other weights, calibration or settings."""
        at = conditions(job, _version(job), batch_size=batch_size)
        ending = self.scribe.ending(job)
        found = [self.newest.get((at, name)) for name in sorted(metrics)]
        whole = [record for record in found if record is not None and record.figure.source.endswith(ending)]
        return whole if len(whole) == len(found) else []

    def cold(self, job: InferenceJob) -> list[Record]:
        records = self.of(job, COLD)
        if not records or job.precision not in LOSSY:
            return [*records, *(self.of(job, {"build_ms"}) if records else [])]
        agreed = self.of(job, AGREEMENT)
        note = self.scribe.agreement_note()
        same_images = agreed and all(note in record.figure.source for record in agreed)
        return [*records, *self.of(job, {"build_ms"}), *agreed] if same_images else []

    def steady(self, job: InferenceJob) -> list[Record]:
        records = self.of(job, STEADY)
        if not records:
            return []
        (p50,) = records
        if not self._at_pace(job, p50.figure.source):
            return []
        # one of another run than the median's says nothing of it
        p90 = [r for r in self.of(job, {"latency_ms_p90"}) if r.recorded_at >= p50.recorded_at]
        affordable = NEARLY * self.tail_budget_s
        if not p90 and p50.stable and p50.figure.value / 1e3 * P90_SAMPLES <= affordable:
            return []
        return [*records, *p90, *self.of(job, {"energy_mj"})]

    def _at_pace(self, job: InferenceJob, source: str) -> bool:
        """Whether a latency is given at the machine's reference, or as it was timed."""
        if AT_PACE not in source:
            return True
        pace = self.paces.of(job)
        reference = pace.kept()
        elsewhere = TOO_FAR in source or SLOWER_STATE in source or self._in_slower_state(job, source)
        return not elsewhere and reference is not None and reference_note(pace.gauge, reference) in source

    def _in_slower_state(self, job: InferenceJob, source: str) -> bool:
        """Whether the machine has been found in a faster state since."""
        gauge, fastest = runtime(job.runtime).state_gauge, self.states.of(job).fastest()
        told = re.search(rf"{re.escape(state_note(gauge))}([\d.]+) ms", source) if gauge else None
        return told is not None and fastest is not None and float(told[1]) >= SLOWER * fastest

    def trained(self, job: TrainingJob) -> list[Record]:
        records = self.of(job, TRAINING)
        return [*records, *(r for metric in COUNTED for r in self.of(job, {metric}))] if records else []

    def rates(self, job: ThroughputJob) -> list[tuple[ThroughputJob, Record]]:
        sizes = {at.batch_size for at, name in self.newest if name in RATE}  # type: ignore[attr-defined]  # conditions
        return [(job, r) for size in sorted(sizes) for r in self.of(job, RATE, batch_size=size)]


def _version(job: Job) -> str:
    return runtime(job.runtime).version()
