"""What is measured: one configuration each, as it travels to a worker process and back."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from selector.backbones.depth import FreezeDepth
from selector.evidence.record import FreezePoint


@dataclass(frozen=True, slots=True)
class InferenceJob:
    """Inference of one backbone on one runtime."""

    backbone: str
    runtime: str
    precision: str
    resolution: int
    threads: int
    batch_size: int = 1

    def __str__(self) -> str:
        return f"{self.backbone} · {self.runtime} {self.precision} · {self.resolution} px · {self.threads} threads"


@dataclass(frozen=True, slots=True)
class TrainingJob:
    """Training steps of one backbone at one freeze depth, by `runtime`: torch-eager on the CPU, torch-cuda on a GPU.

    `precision` is fp32, or amp: automatic mixed precision.
    """

    backbone: str
    freeze: FreezePoint
    precision: str
    resolution: int
    threads: int
    batch_size: int
    runtime: str = "torch-eager"

    def __str__(self) -> str:
        what = f"{self.backbone} · training in {self.runtime} {self.precision}, {self.freeze.name} frozen"
        return f"{what} · {self.resolution} px · {self.threads} threads"

    @property
    def depth(self) -> FreezeDepth:
        """The freeze depth as it was written."""
        return FreezeDepth(self.freeze.name)


@dataclass(frozen=True, slots=True)
class ThroughputJob:
    """Time an image of one backbone on one runtime, at batch sizes that double until nothing is gained."""

    backbone: str
    runtime: str
    precision: str
    resolution: int
    threads: int

    def __str__(self) -> str:
        what = f"{self.backbone} · {self.runtime} {self.precision}"
        return f"{what} · throughput · {self.resolution} px · {self.threads} threads"


ModelJob = InferenceJob | ThroughputJob
"""What loads a model's file in a runtime."""

Job = ModelJob | TrainingJob


def job_to_json(job: Job) -> dict[str, Any]:
    """A job as a worker reads it."""
    return {"kind": _KINDS[type(job)], **asdict(job)}


def job_from_json(data: dict[str, Any]) -> Job:
    """The reverse of `job_to_json`."""
    rest = {k: v for k, v in data.items() if k != "kind"}
    if data["kind"] == "training":
        return TrainingJob(**{**rest, "freeze": FreezePoint(**rest["freeze"])})
    return ThroughputJob(**rest) if data["kind"] == "throughput" else InferenceJob(**rest)


_KINDS = {InferenceJob: "inference", ThroughputJob: "throughput", TrainingJob: "training"}


@dataclass(frozen=True, slots=True)
class Failure:
    """A configuration that gave no figure, or not all.

    `outcome`: crashed | hung | out-of-memory | killed | failed | unavailable. `detail` is for people.
    """

    job: Job
    outcome: str
    detail: str
    whole: bool = True  # False: it lacks its agreement with fp32, and nothing else

    def as_json(self) -> dict[str, Any]:
        """The contract's {what, outcome, detail}, with the job's fields and `whole` beside it."""
        said = {"what": str(self.job), "outcome": self.outcome, "detail": self.detail}
        return {**said, "whole": self.whole, "job": job_to_json(self.job)}


def without_moot(failures: Sequence[Failure]) -> list[Failure]:
    """The failures without those that a configuration's whole failure makes moot."""
    whole = {failure.job for failure in failures if failure.whole}
    return [failure for failure in failures if failure.whole or failure.job not in whole]
