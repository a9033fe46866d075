"""A profiling session: jobs → measured figures, each handed on as soon as it is finished.

First the files that the runtimes load are made where they are missing; then each runtime measures its backbones in one
worker process, in turns; then training steps are measured. Worker processes do the work, this one sleeps. A worker
that dies takes down one configuration, whose failure is recorded, and another worker goes on with the rest.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol, TypeVar

import psutil

from selector.evidence.record import Record
from selector.hardware.fingerprint import environment, fingerprint
from selector.hardware.machine import Machine
from selector.profiling import runtimes
from selector.profiling.agreement import LOSSY
from selector.profiling.files import model_recipe, reference_recipe
from selector.profiling.jobs import Failure, InferenceJob, Job, TrainingJob, job_to_json
from selector.profiling.material import Material
from selector.profiling.protocol import INFERENCE, TRAINING, Measurement, Settings
from selector.profiling.results import ColdResult, Result, Scribe, training_from_json
from selector.profiling.runtimes.export import Recipe
from selector.profiling.workers import WorkerEnded, run_worker

PATIENCE_S = 300.0
"""Longest that anything may take that cannot be divided: a load, an export, one configuration's training steps."""

SET_SIZE = 12
"""Most models that are timed in turns in one process."""

SET_MEMORY = 0.3
"""Largest share of the available memory that the files of one set may add up to."""

Sink = Callable[[Sequence[Record]], None]
"""Takes finished records, which are already among the session's; when it returns they are safe."""


J = TypeVar("J", InferenceJob, TrainingJob)


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
    patience_s: float = PATIENCE_S


@dataclass(slots=True)
class Session:
    """Measures jobs on this machine. What it has brought so far can be read at any time."""

    machine: Machine
    sink: Sink
    listener: Listener
    thoroughness: Thoroughness = field(default_factory=Thoroughness)
    material: Material = field(default_factory=Material)
    records: list[Record] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    timed_s: float = 0.0  # seconds inside timed inference and training steps
    environment: dict[str, Any] = field(init=False)
    fingerprint: str = field(init=False)

    def __post_init__(self) -> None:
        self.environment = environment(self.machine)
        self.fingerprint = fingerprint(self.environment)

    def run(self, jobs: Sequence[Job]) -> None:
        """Measure all jobs. Failures are recorded, not raised; whatever the sink raises is raised.

        On KeyboardInterrupt the worker is ended and what was finished stays.
        """
        inference = [job for job in jobs if isinstance(job, InferenceJob)]
        training = [job for job in jobs if isinstance(job, TrainingJob)]
        # one for a training configuration
        self.listener.planned(sum(map(_steps, inference)) + len(training))
        ready = self._export(inference)
        for inference_lane in _lanes(ready):
            self._measure(inference_lane)
        for training_lane in _lanes(training):
            self._train(training_lane)

    def _export(self, jobs: Sequence[InferenceJob]) -> list[InferenceJob]:
        """Make the files that the jobs need, models first; the jobs whose files are there."""
        with_model = self._make(jobs, {job: model_recipe(job, self.material) for job in jobs}, failing=_steps)
        references = {job: r for job in with_model if (r := reference_recipe(job, self.material))}
        with_reference = self._make(list(references), references, failing=lambda job: 3)
        return [job for job in with_model if job not in references or job in with_reference]

    def _make(
        self,
        jobs: Sequence[InferenceJob],
        wanted: Mapping[InferenceJob, Recipe],
        *,
        failing: Callable[[InferenceJob], int],
    ) -> list[InferenceJob]:
        """Make a file for each job; the jobs whose file is there. `failing`: steps not taken by a job without one."""
        users: dict[Recipe, list[InferenceJob]] = {}
        for job in jobs:
            users.setdefault(wanted[job], []).append(job)
        missing = [r for r in users if not r.path.exists()]
        self.listener.done(sum(len(users[r]) for r in users if r not in missing))
        failed: set[InferenceJob] = set()
        representatives = {users[r][0]: r for r in missing}
        task = {"kind": "export", "threads": self.machine.threads}

        def spell(job: InferenceJob) -> dict[str, Any]:
            return {"recipe": asdict(representatives[job])}

        for job, event in self._events(task, list(representatives), spell, "making its model file"):
            same = users[representatives[job]]
            if event["event"] == "exported":
                self.listener.done(len(same))
            elif event["event"] == "failed":
                failed.update(same)
                self.failures += [Failure(other, event["outcome"], event["detail"]) for other in same if other != job]
                self.listener.done(sum(map(failing, same)))
        return [job for job in jobs if job not in failed]

    def _measure(self, lane: Sequence[InferenceJob]) -> None:
        """Measure the jobs of one runtime and thread count."""
        name = lane[0].runtime
        runtime = runtimes.runtime(name)
        scribe = Scribe(self.fingerprint, self.material)
        cold_done: set[InferenceJob] = set()

        def spell(job: InferenceJob) -> dict[str, Any]:
            file = asdict(model_recipe(job, self.material).model_file(job.resolution))
            reference = reference_recipe(job, self.material)
            return {
                "job": job_to_json(job),
                "file": {**file, "path": str(file["path"])},
                "reference": reference and {"logits": str(reference.path), "images": reference.images_folder},
                "cold": job not in cold_done,
            }

        task = {
            "kind": "inference",
            "threads": lane[0].threads,
            "runtime": runtimes.RUNTIMES[name],
            "settings": asdict(self.thoroughness.inference),
        }
        for part in _sets(lane, self.material):
            for job, event in self._events(task, part, spell, "timing"):
                if event["event"] == "cold":
                    cold_done.add(job)
                    self._keep(scribe, job, runtime.version(), ColdResult(**event["result"]))
                    self.listener.done(1)
                elif event["event"] == "measured":
                    self.timed_s += event["timed_s"]
                    self._keep(scribe, job, runtime.version(), Measurement(**event["result"]))
                    self.listener.done(1)
                elif event["event"] == "failed":
                    self.listener.done(1 if job in cold_done else 2)

    def _train(self, lane: Sequence[TrainingJob]) -> None:
        """Measure training steps for one thread count."""
        version = runtimes.runtime("torch-eager").version()
        scribe = Scribe(self.fingerprint, self.material)
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
                self._keep(scribe, job, version, result)
            if event["event"] in ("trained", "failed"):
                self.listener.done(1)

    def _keep(self, scribe: Scribe, job: Job, version: str, result: Result) -> None:
        records = scribe.records(job, version, result)
        self.records += records
        self.sink(records)

    def _events(
        self, task: dict[str, Any], jobs: Sequence[J], spell: Callable[[J], dict[str, Any]], doing: str
    ) -> Iterator[tuple[J, dict[str, Any]]]:
        """Let workers do `task` for all jobs, and yield what each reports with its job.

        A job is over with its last event ("exported", "measured", "trained" or "failed"). When a worker dies, the job
        that it was at has failed with what became of the worker, and a new worker goes on with those not over.
        """
        pending = dict(enumerate(jobs))
        idle_deaths = 0
        while pending:
            current: int | None = None
            items = [{"id": id_, **spell(job)} for id_, job in pending.items()]
            try:
                for event in run_worker({**task, "patience_s": self.thoroughness.patience_s, "items": items}):
                    current = event["id"]
                    job = pending[current]
                    self.listener.at(job, doing, event.get("progress", 0.0))
                    if event["event"] == "failed":
                        self.failures.append(Failure(job, event["outcome"], event["detail"]))
                    if event["event"] in ("exported", "measured", "trained", "failed"):
                        del pending[current]
                        current = None
                    yield job, event
                return
            except WorkerEnded as ended:
                idle_deaths = idle_deaths + 1 if current is None else 0
                # a worker that twice dies at nothing in particular would do so for ever
                blamed = [current] if current is not None else list(pending) if idle_deaths > 1 else []
                for id_ in blamed:
                    job = pending.pop(id_)
                    self.failures.append(Failure(job, ended.outcome, ended.detail))
                    yield job, {"event": "failed", "id": id_, "outcome": ended.outcome, "detail": ended.detail}


def _steps(job: InferenceJob) -> int:
    """Steps of a job: its file, the reference of a lossy one, the first moments, the turns."""
    return 4 if job.precision in LOSSY else 3


def _lanes(jobs: Sequence[J]) -> list[list[J]]:
    """The jobs that one process can measure: of one runtime and one thread count."""
    lanes: dict[tuple[str, int], list[J]] = {}
    for job in jobs:
        name = job.runtime if isinstance(job, InferenceJob) else "training"
        lanes.setdefault((name, job.threads), []).append(job)
    return list(lanes.values())


def _sets(lane: Sequence[InferenceJob], material: Material) -> Iterator[list[InferenceJob]]:
    """Cut a lane into sets that fit into memory together."""
    room = psutil.virtual_memory().available * SET_MEMORY
    current: list[InferenceJob] = []
    size = 0
    for job in lane:
        own = model_recipe(job, material).path.stat().st_size
        if current and (len(current) >= SET_SIZE or size + own > room):
            yield current
            current, size = [], 0
        current.append(job)
        size += own
    if current:
        yield current
