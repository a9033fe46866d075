"""What workers hand back, and the records that it becomes."""

from dataclasses import asdict, dataclass, field
from typing import Any

from selector.backbones.cost import cost
from selector.evidence.record import Conditions, Provenance, Record
from selector.profiling.gauges import Gauge
from selector.profiling.jobs import InferenceJob, Job, ThroughputJob, TrainingJob
from selector.profiling.material import Material
from selector.profiling.measurement import Measurement, OwnPace
from selector.profiling.models import WEIGHTS_NOTE
from selector.profiling.pace import Pace
from selector.profiling.protocol import PROTOCOL_VERSION
from selector.profiling.runtimes import runtime
from selector.profiling.runtimes.torch_eager import AUTOCAST

HARDWARE = "local"
BOUND = "99 % confidence from order statistics"
SIZE_NOTE = "size of what is loaded, a graph with its weights"
AT_PACE = "at the machine's reference pace"
AMP = {
    "torch-eager": f"autocast to {AUTOCAST['cpu']}",
    "torch-cuda": f"autocast to {AUTOCAST['cuda']} with a gradient scaler",
}
"""What mixed precision is in training on each device."""


@dataclass(frozen=True, slots=True)
class ColdResult:
    """A model's first moments, alone in its process. Libraries are imported and the file is in the page cache."""

    load_ms: float
    first_inference_ms: float
    memory_rss_peak_bytes: int  # of the whole process: libraries, model, load and first inferences
    artifact_bytes: int
    build_ms: float | None = None  # None: nothing was built, or it was built before
    agreement_top1: float | None = None  # None: not a lossy precision
    cosine_logits: float | None = None


@dataclass(frozen=True, slots=True)
class TrainingResult:
    """What a training step costs at a freeze depth."""

    measurement: Measurement
    timed_s: float
    params_trainable: int
    memory_rss_peak_bytes: int  # of the whole process: libraries, model, gradients, optimiser, activations
    memory_allocated_peak_bytes: int | None = None  # on the GPU, by torch's tensors; None: trained on the CPU
    memory_reserved_peak_bytes: int | None = None  # on the GPU, by torch's allocator
    memory_device_peak_bytes: int | None = None  # on the GPU, by the process as its driver counts; None: it does not


@dataclass(frozen=True, slots=True)
class Rate:
    """The time of one batch at one size."""

    batch_size: int
    measurement: Measurement


Result = ColdResult | TrainingResult | Measurement | Rate


def to_json(result: Result) -> dict[str, Any]:
    """A result as it travels through a pipe."""
    return asdict(result)


def training_from_json(data: dict[str, Any]) -> TrainingResult:
    """The reverse of `to_json` for a TrainingResult."""
    return TrainingResult(**{**data, "measurement": Measurement.from_json(data["measurement"])})


@dataclass(frozen=True, slots=True)
class Scribe:
    """Turns results into records. Holds what all records of a session share."""

    fingerprint: str
    material: Material = field(default_factory=Material)

    def records(self, job: Job, version: str, result: Result) -> list[Record]:
        """One record per figure of `result`; `version` is that of the runtime's library."""
        if isinstance(result, TrainingResult):
            assert isinstance(job, TrainingJob)
            return self._training(job, version, result)
        if isinstance(result, Rate):
            return [self._rate(job, version, result)]
        assert isinstance(job, InferenceJob)
        return (
            self._cold(job, version, result) if isinstance(result, ColdResult) else self._steady(job, version, result)
        )

    def _cold(self, job: InferenceJob, version: str, cold: ColdResult) -> list[Record]:
        note = "first in its process; libraries imported, file in the page cache"
        return [
            self._record(job, version, "load_ms", cold.load_ms, note, n=1),
            self._record(job, version, "first_inference_ms", cold.first_inference_ms, note, n=1),
            self._record(
                job,
                version,
                "memory_rss_peak_bytes",
                cold.memory_rss_peak_bytes,
                "peak of the whole process: libraries, load and first inferences",
                n=1,
            ),
            self._record(job, version, "artifact_bytes", cold.artifact_bytes, SIZE_NOTE),
            *self._built(job, version, cold),
            *self._agreement(job, version, cold),
        ]

    def _built(self, job: InferenceJob, version: str, cold: ColdResult) -> list[Record]:
        if cold.build_ms is None:
            return []
        return [self._record(job, version, "build_ms", cold.build_ms, "built from the ONNX graph, then kept", n=1)]

    def _agreement(self, job: InferenceJob, version: str, cold: ColdResult) -> list[Record]:
        if cold.agreement_top1 is None or cold.cosine_logits is None:
            return []
        images, note = self.material.agreement(), self.agreement_note()
        return [
            self._record(job, version, "agreement_top1", cold.agreement_top1, note, n=images.count),
            self._record(job, version, "cosine_logits", cold.cosine_logits, note, n=images.count),
        ]

    def _steady(self, job: InferenceJob, version: str, figure: Measurement) -> list[Record]:
        pace = figure.pace
        moved = pace is not None and pace.reference is not None
        allowed = "windows that differ and the pace allowed for" if moved else "windows that differ allowed for"
        at_pace = _pace(job, pace, pace.as_timed if pace else None)
        note = (
            f"{_windows(figure, ', interleaved with other configurations')}{at_pace}; "
            f"95 % interval of the median from order statistics, {allowed}"
        )
        rest = {"n": figure.n, "stable": figure.stable}
        records = [
            self._record(job, version, "latency_ms_p50", figure.p50, note, low=figure.low, high=figure.high, **rest)
        ]
        if figure.p90 is not None:
            at_pace = _pace(job, pace, pace.p90_as_timed if pace else None)
            # of the samples and of the pace: each may fail once in a hundred times
            sure = "98 % confidence from order statistics, the pace allowed for" if at_pace else BOUND
            note = f"{_windows(figure)}{at_pace}; upper bound at {sure}"
            records.append(self._record(job, version, "latency_ms_p90", figure.p90, note, **rest))
        if figure.energy_mj is not None:
            counter = "NVML" if runtime(job.runtime).device == "gpu" else "RAPL"
            note = f"{_windows(figure)}; {counter}, whole device, idle share included"
            records.append(self._record(job, version, "energy_mj", figure.energy_mj, note, **rest))
        return records

    def _training(self, job: TrainingJob, version: str, result: TrainingResult) -> list[Record]:
        figure = result.measurement
        amp = f", {AMP[job.runtime]}" if job.precision == "amp" else ""
        note = f"{_windows(figure)}; forward, backward and AdamW's update on one batch of noise{amp}"
        return [
            self._record(
                job,
                version,
                "train_step_ms",
                figure.p50,
                note,
                low=figure.low,
                high=figure.high,
                n=figure.n,
                stable=figure.stable,
            ),
            self._record(
                job,
                version,
                "train_memory_rss_peak_bytes",
                result.memory_rss_peak_bytes,
                "peak of the whole process: libraries, model, gradients, optimiser, activations",
                n=1,
            ),
            self._record(job, version, "params_trainable", result.params_trainable, "counted on the frozen model"),
            *self._counted(job, version),
            *(
                self._record(job, version, metric, value, note, n=1)
                for metric, value, note in (
                    ("train_memory_allocated_peak_bytes", result.memory_allocated_peak_bytes, "torch's own count"),
                    ("train_memory_reserved_peak_bytes", result.memory_reserved_peak_bytes, "torch's own count"),
                    (
                        "train_memory_device_peak_bytes",
                        result.memory_device_peak_bytes,
                        "NVML's count of the process after its last step: torch gives nothing back before",
                    ),
                )
                if value is not None
            ),
        ]

    def _counted(self, job: TrainingJob, version: str) -> list[Record]:
        """What follows from the layer table, for one image."""
        known = cost(job.backbone, job.depth, resolution=job.resolution)
        note = "counted from the layer table, for one image"
        found = [self._record(job, version, "macs_backward", known.macs_backward, f"{note}, torchvision's convention")]
        if known.frozen_blocks:  # nothing is cached where nothing is frozen
            shape = " × ".join(map(str, known.prefix_output_shape))
            note = f"{note}: {shape} numbers in fp32, half of it in half precision"
            found.append(self._record(job, version, "prefix_cache_bytes", known.prefix_output_bytes, note))
        return found

    def _rate(self, job: Job, version: str, rate: Rate) -> Record:
        figure, size = rate.measurement, rate.batch_size
        return self._record(
            job,
            version,
            "ms_per_sample",
            figure.p50 / size,
            f"{_windows(figure, ', batches one after another, each waited for')}; 95 % interval of the median",
            batch_size=size,
            low=figure.low / size,
            high=figure.high / size,
            n=figure.n,
            stable=figure.stable,
        )

    def agreement_note(self) -> str:
        """What a lossy precision's agreement with fp32 was measured on, as sources tell it."""
        return f"compared with torch-eager fp32 on {self.material.agreement()}, once and then kept"

    def ending(self, job: Job) -> str:
        """How the source of each of the job's figures ends: what was pinned, the images that it was calibrated on, and
        which weights.
        """
        if isinstance(job, TrainingJob):
            return WEIGHTS_NOTE  # training is always of random weights
        pinned = runtime(job.runtime).settings(job.precision)
        calibrated = f"calibrated on {self.material.calibration()}" if job.precision == "int8-static" else ""
        weights = self.material.weights_note(job.backbone)
        return "; ".join(part for part in (pinned, calibrated, weights) if part)

    def _record(
        self,
        job: Job,
        version: str,
        metric: str,
        value: float,
        note: str,
        *,
        batch_size: int | None = None,
        **rest: Any,
    ) -> Record:
        return Record.of(
            metric,
            value,
            conditions(job, version, batch_size=batch_size),
            provenance=Provenance.MEASURED,
            source=f"selector profile, protocol {PROTOCOL_VERSION}: {note}; {self.ending(job)}",
            fingerprint=self.fingerprint,
            protocol=PROTOCOL_VERSION,
            **rest,
        )


def conditions(job: Job, version: str, *, batch_size: int | None = None) -> Conditions:
    """What a job's figures are about. `batch_size` is that of a throughput job, which has none of its own."""
    return Conditions(
        backbone=job.backbone,
        hardware=HARDWARE,
        runtime=job.runtime,
        runtime_version=version,
        precision=job.precision,
        resolution=job.resolution,
        batch_size=batch_size if isinstance(job, ThroughputJob) else job.batch_size,
        threads=job.threads,
        freeze=job.freeze if isinstance(job, TrainingJob) else None,
    )


def _windows(figure: Measurement, turns: str = "") -> str:
    """What a figure is made of, how its windows followed each other, and what was left out."""
    unstable = "" if figure.stable else f" (unstable: {figure.reason})"
    taken = f"{figure.n} samples in {figure.windows} windows after {figure.warmup_samples} of warm-up{unstable}"
    return f"{taken}, allocator keeps freed memory{turns}{_left_out(figure)}"


def _left_out(figure: Measurement) -> str:
    """How many windows were taken that do not count, and why; empty where all do."""
    disturbed = f"; {figure.disturbed} disturbed windows left out" if figure.disturbed else ""
    if figure.slower_times is None:
        return disturbed
    slower = f"{figure.slower} windows left out that took {figure.slower_times:.2f} times as long"
    return f"{disturbed}; {slower}"


def reference_note(gauge: Gauge, reference: Pace) -> str:
    """Which pace a figure is given at, as its source tells it."""
    return f"{AT_PACE} ({gauge.short} take {' and '.join(f'{ms:.4g}' for ms in reference)} ms)"


def state_note(gauge: Gauge) -> str:
    """What comes before the time that tells the machine's state, as a figure's source tells it."""
    return f"{gauge.short} took, at that pace, "


def _pace(job: InferenceJob, pace: OwnPace | None, as_timed: float | None) -> str:
    """How a figure differs from what was timed, and why; empty where it does not."""
    if pace is None or pace.reference is None or as_timed is None:
        return ""
    ran = " and ".join(f"{own / ms:.3f}" for own, ms in zip(pace.ms, pace.reference, strict=True))
    powers = " and ".join(f"{power:.2f}" for power in pace.sensitivity.powers)
    kind = runtime(job.runtime)
    reference = reference_note(kind.gauge, pace.reference)
    state_ms = pace.state_at_reference(kind.gauge.powers)
    state = f"; {state_note(kind.state_gauge)}{state_ms:.4g} ms" if kind.state_gauge and state_ms else ""
    return f"; {reference}; as timed {as_timed:.4g} ms at {ran} times that, sensitivity {powers}{state}"
