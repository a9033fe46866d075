"""A profiling session: jobs → measured figures, each handed on as soon as it is finished.

First the files that the runtimes load are made where they are missing; then all runtimes measure their backbones in
turns, one worker process a runtime, which forks for each backbone; then training steps are measured. Worker processes
do the work, one at a time; this one sleeps. A worker or fork that dies takes down one configuration, whose failure is
recorded, and the rest goes on.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol, TypeVar

from selector.evidence.record import Record
from selector.hardware.fingerprint import environment, fingerprint
from selector.hardware.machine import Machine
from selector.profiling import runtimes
from selector.profiling.agreement import LOSSY, WITHOUT
from selector.profiling.files import agreement_place, model_recipe, reference_recipe
from selector.profiling.jobs import Failure, InferenceJob, Job, ModelJob, ThroughputJob, TrainingJob, job_to_json
from selector.profiling.lanes import SET_MEMORY, halls, lanes, sets
from selector.profiling.machine_pace import Paces
from selector.profiling.machine_state import MachineStates
from selector.profiling.material import Material
from selector.profiling.measurement import Measurement
from selector.profiling.memory import free_memory
from selector.profiling.protocol import INFERENCE, THROUGHPUT, TRAINING, Settings
from selector.profiling.results import ColdResult, Rate, Result, Scribe, training_from_json
from selector.profiling.resume import Kept, find_kept
from selector.profiling.rounds import OVER, Told, in_rounds
from selector.profiling.runtimes.export import Recipe
from selector.profiling.throughput import next_batch
from selector.profiling.workers import WorkerEnded, run_worker

PATIENCE_S = 300.0
"""Longest that anything may take that cannot be divided: a load, an export, one configuration's training steps."""

Sink = Callable[[Sequence[Record]], None]
"""Takes finished records, which are already among the session's; when it returns they are safe."""


J = TypeVar("J", InferenceJob, ThroughputJob, TrainingJob, ModelJob)


class Listener(Protocol):
    """Hears how a session goes on, for a progress bar. Called between measurements, never during one."""

    def planned(self, steps: int) -> None:
        """So many steps will be taken in all."""

    def at(self, job: Job, doing: str, progress: float) -> None:
        """`job` is being worked on; `progress` of its present step is done, 0 to 1."""

    def done(self, steps: int) -> None:
        """So many more steps are done, or will not be taken because something failed."""


@dataclass(frozen=True, slots=True)
class Thoroughness:
    """How thorough a session measures, and how long it waits for what cannot be divided."""

    inference: Settings = INFERENCE
    training: Settings = TRAINING
    throughput: Settings = THROUGHPUT
    patience_s: float = PATIENCE_S


@dataclass(slots=True)
class Session:
    """Measures jobs on this machine. What it has brought so far can be read at any time."""

    machine: Machine
    sink: Sink
    listener: Listener
    thoroughness: Thoroughness = field(default_factory=Thoroughness)
    material: Material = field(default_factory=Material)
    kept: Kept = field(default_factory=Kept)  # what a broken run has left
    records: list[Record] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    timed_s: float = 0.0  # seconds inside timed inference and training steps
    environment: dict[str, Any] = field(init=False)
    fingerprint: str = field(init=False)
    paces: Paces = field(init=False)
    states: MachineStates = field(init=False)

    def __post_init__(self) -> None:
        self.environment = environment(self.machine)
        self.fingerprint = fingerprint(self.environment)
        self.paces = Paces(self.machine)
        self.states = MachineStates(self.machine)

    @property
    def _scribe(self) -> Scribe:
        return Scribe(self.fingerprint, self.material)

    def resume(self, jobs: Sequence[Job], stored: Sequence[Record]) -> Kept:
        """Take over what `stored` holds of `jobs`, so that `run` does not measure it again, and return it."""
        budget_s = self.thoroughness.inference.tail_budget_s
        self.kept = find_kept(jobs, stored, self._scribe, self.paces, self.states, tail_budget_s=budget_s)
        self.records += self.kept.records
        return self.kept

    def run(self, jobs: Sequence[Job]) -> None:
        """Measure all jobs. Failures are recorded, not raised; whatever the sink raises is raised.

        On KeyboardInterrupt the worker is ended and what was finished stays.
        """
        kept = self.kept
        models: list[ModelJob] = [
            job
            for job in jobs
            if (isinstance(job, InferenceJob) and not (job in kept.cold and job in kept.steady))
            or (isinstance(job, ThroughputJob) and next_batch(kept.rates_of(job)) is not None)
        ]
        training = [job for job in jobs if isinstance(job, TrainingJob) and job not in kept.trained]
        # a model's file, then what is measured with it; one for a training configuration
        self.listener.planned(sum(1 + self._steps(job) for job in models) + len(training))
        ready = self._export(models)
        for hall in halls([job for job in ready if isinstance(job, InferenceJob)]):
            self._measure(hall)
        for throughput_lane in lanes([job for job in ready if isinstance(job, ThroughputJob)]):
            self._saturate(throughput_lane)
        for training_lane in lanes(training):
            self._train(training_lane)

    def _steps(self, job: ModelJob) -> int:
        """Steps of a job once its model's file is there: a lossy one's reference, the first moments, the turns."""
        if isinstance(job, ThroughputJob):
            return 1
        cold = job not in self.kept.cold
        return cold + (job.precision in LOSSY and cold) + (job not in self.kept.steady)

    def _export(self, jobs: Sequence[ModelJob]) -> list[ModelJob]:
        """Make the files that the jobs need, models first; the jobs whose files are there."""
        with_model = self._make(jobs, {job: model_recipe(job, self.material) for job in jobs})
        references = {
            job: r for job in with_model if job not in self.kept.cold and (r := reference_recipe(job, self.material))
        }
        self._make(list(references), references, reference=True)  # a job is measured without one, too
        return with_model

    def _make(
        self, jobs: Sequence[ModelJob], wanted: Mapping[ModelJob, Recipe], *, reference: bool = False
    ) -> list[ModelJob]:
        """Make a file for each job; the jobs whose file is there."""
        users: dict[Recipe, list[ModelJob]] = {}
        for job in jobs:
            users.setdefault(wanted[job], []).append(job)
        missing = [r for r in users if not r.is_there()]
        self.listener.done(sum(len(users[r]) for r in users if r not in missing))
        failed: set[ModelJob] = set()
        representatives = {users[r][0]: r for r in missing}
        task = {"kind": "export", "threads": self.machine.threads}

        def spell(job: ModelJob) -> dict[str, Any]:
            return {"recipe": asdict(representatives[job])}

        for job, event in self._events(task, list(representatives), spell, "making its model file"):
            same = users[representatives[job]]
            if event["event"] == "exported":
                self.listener.done(len(same))
            elif event["event"] == "failed":
                failed.update(same)
                whole, detail = not reference, (WITHOUT if reference else "") + event["detail"]
                self.failures[-1:] = [Failure(other, event["outcome"], detail, whole) for other in same]
                # the file and, where it is the model's, all that would have come after it
                self.listener.done(sum(1 + self._steps(other) if whole else 1 for other in same))
        return [job for job in jobs if job not in failed]

    def _measure(self, jobs: Sequence[InferenceJob]) -> None:
        """Measure jobs whose runtimes may take turns, those alone that found no room beside others."""
        cold_done = {job for job in jobs if job in self.kept.cold}
        crowded: list[InferenceJob] = []
        for part in sets(jobs, self.material, free_memory() * SET_MEMORY):
            crowded += self._measure_together(part, cold_done)
        for job in crowded:
            self._measure_together([job], cold_done)

    def _measure_together(self, jobs: Sequence[InferenceJob], cold_done: set[InferenceJob]) -> list[InferenceJob]:
        """Measure jobs in turns, a worker for each lane; those for which memory ran out while others were loaded, too.

        `cold_done` are those whose first moments are measured, and grows by them.
        """
        crowded: list[InferenceJob] = []
        own = lanes(jobs)
        versions = {lane[0].runtime: runtimes.runtime(lane[0].runtime).version() for lane in own}

        def spell(job: InferenceJob) -> dict[str, Any]:
            return {
                **self._spell(job),
                "reference": self._reference(job) if job not in cold_done else None,
                "cold": job not in cold_done,
                "steady": job not in self.kept.steady,
            }

        def told(lane: Sequence[InferenceJob]) -> Told[InferenceJob]:
            task = _task("inference", lane[0], self.thoroughness.inference)
            return self._events({**task, "crowded": len(own) > 1}, lane, spell, "timing")

        for job, event in in_rounds([(told(lane), len(lane)) for lane in own]):
            version = versions[job.runtime]
            self.paces.of(job).hear(event.get("pace"))
            if event["event"] == "cold":
                cold_done.add(job)
                self._keep(job, version, ColdResult(**event["result"]))
                self.listener.done(1)
            elif event["event"] == "measured":
                self.timed_s += event["timed_s"]
                figure = Measurement.from_json(event["result"])
                figure = self.paces.of(job).at_reference(figure, self.thoroughness.inference)
                self._keep(job, version, self.states.of(job).judged(figure))
                self.listener.done(1)
            elif event["event"] == "failed":
                if event["outcome"] == "out-of-memory" and event.get("beside"):
                    self.failures.pop()  # the set is at fault
                    crowded.append(job)
                else:
                    self.listener.done((job not in cold_done) + (job not in self.kept.steady))
        return crowded

    def _reference(self, job: InferenceJob) -> dict[str, Any] | None:
        """What a lossy job is compared with, and where the result is kept; None for another job, and without it."""
        reference = reference_recipe(job, self.material)
        if reference is None or not reference.is_there():
            return None
        kept, of = agreement_place(job, self.material, self.fingerprint)
        return {"logits": str(reference.path), "images": reference.images_folder, "kept": str(kept), "of": of}

    def _saturate(self, lane: Sequence[ThroughputJob]) -> None:
        """Measure the throughput of one runtime at one thread count."""
        version = runtimes.runtime(lane[0].runtime).version()
        known = {job: self.kept.rates_of(job) for job in lane}

        def spell(job: ThroughputJob) -> dict[str, Any]:
            return {**self._spell(job), "known": known[job]}

        task = _task("throughput", lane[0], self.thoroughness.throughput)
        for job, event in self._events(task, lane, spell, "throughput"):
            if event["event"] == "rate":
                rate = Rate(event["result"]["batch_size"], Measurement.from_json(event["result"]["measurement"]))
                known[job][rate.batch_size] = rate.measurement.p50 / rate.batch_size
                self.timed_s += event["timed_s"]
                self._keep(job, version, rate)
            elif event["event"] in ("saturated", "failed"):
                self.listener.done(1)

    def _spell(self, job: ModelJob) -> dict[str, Any]:
        """A job and its model's file, as a worker reads them."""
        file = asdict(model_recipe(job, self.material).model_file(job.resolution))
        return {"job": job_to_json(job), "file": {**file, "path": str(file["path"])}}

    def _train(self, lane: Sequence[TrainingJob]) -> None:
        """Measure training steps on one device for one thread count."""
        version = runtimes.runtime(lane[0].runtime).version()
        task = {
            "kind": "training",
            "threads": lane[0].threads,
            "settings": asdict(self.thoroughness.training),
        }

        def spell(job: TrainingJob) -> dict[str, Any]:
            return {"job": job_to_json(job)}

        for job, event in self._events(task, lane, spell, "training steps"):
            if event["event"] == "trained":
                result = training_from_json(event["result"])
                self.timed_s += event["result"]["timed_s"]
                self._keep(job, version, result)
            if event["event"] in ("trained", "failed"):
                self.listener.done(1)

    def _keep(self, job: Job, version: str, result: Result) -> None:
        records = self._scribe.records(job, version, result)
        self.records += records
        self.sink(records)

    def _events(
        self, task: dict[str, Any], jobs: Sequence[J], spell: Callable[[J], dict[str, Any]], doing: str
    ) -> Told[J]:
        """Let workers do `task` for all jobs, and yield what each reports with its job.

        A job is over with its last event: one of OVER, or one that says so. When a worker dies, the job
        that it was at has failed with what became of the worker, and a new worker goes on with those not over.
        Where several were not over, or the task says that other workers hold models, those may have been loaded: the
        event says `beside`. Closing the generator ends the worker.
        """
        pending = dict(enumerate(jobs))
        idle_deaths = 0
        while pending:
            current: int | None = None
            items = [{"id": id_, **spell(job)} for id_, job in pending.items()]
            try:
                with closing(
                    run_worker({**task, "patience_s": self.thoroughness.patience_s, "items": items})
                ) as worker:
                    for event in worker:
                        current = event["id"]
                        job = pending[current]
                        self.listener.at(job, doing, event.get("progress", 0.0))
                        if event["event"] in ("failed", "no-agreement"):
                            whole = event["event"] == "failed"
                            self.failures.append(Failure(job, event["outcome"], event["detail"], whole))
                        if event["event"] in OVER or event.get("last"):
                            del pending[current]
                            current, idle_deaths = None, 0
                        yield job, event
                return
            except WorkerEnded as ended:
                idle_deaths = idle_deaths + 1 if current is None else 0
                # a worker that twice dies at nothing in particular, and finishes nothing, would do so for ever
                blamed = [current] if current is not None else list(pending) if idle_deaths > 1 else []
                beside = len(pending) > 1 or bool(task.get("crowded"))
                what = {"event": "failed", "outcome": ended.outcome, "detail": ended.detail, "beside": beside}
                for id_ in blamed:
                    job = pending.pop(id_)
                    self.failures.append(Failure(job, ended.outcome, ended.detail))
                    yield job, {**what, "id": id_}


def _task(kind: str, job: ModelJob, settings: Settings) -> dict[str, Any]:
    """What a worker does for all jobs of a lane."""
    where = runtimes.RUNTIMES[job.runtime]
    return {"kind": kind, "threads": job.threads, "runtime": where, "settings": asdict(settings)}
