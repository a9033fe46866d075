"""What figures are about: a configuration of a device, and a series of figures under it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from selector.estimation.features import PER_BATCH, Vector, Work, work


@dataclass(frozen=True, slots=True)
class Configuration:
    """A device and what executes there. `threads` is None where all cores work, or where nobody says."""

    device: str
    kind: str  # the profile's device_kind
    runtime: str
    version: str
    precision: str
    layout: str = ""  # nchw | nhwc where a source says so
    threads: int | None = None

    @property
    def accelerated(self) -> bool:
        """Whether a GPU or an accelerator computes."""
        return self.kind in ("gpu", "accelerator") or self.runtime in ACCELERATED


ACCELERATED = frozenset({"armnn-gpu", "tflite-gpu", "tensorrt"})


@dataclass(frozen=True, slots=True)
class Subject:
    """A backbone at a resolution, computed `batch_size` images at a time."""

    backbone: str
    resolution: int
    batch_size: int = 1


@dataclass(frozen=True, slots=True, eq=False)
class Series:
    """Milliseconds per image of subjects under one configuration."""

    configuration: Configuration
    subjects: tuple[Subject, ...]
    milliseconds: Vector

    @property
    def logs(self) -> Vector:
        """Natural logarithms of the figures."""
        logs: Vector = np.log(self.milliseconds)
        return logs


def terms_of(subjects: Sequence[Subject]) -> Vector:
    """[n, terms] work of one image; what is paid once a batch (weights, launches) is divided by the batch."""
    return np.array([np.where(PER_BATCH, _work(s).terms / s.batch_size, _work(s).terms) for s in subjects])


def descriptions_of(subjects: Sequence[Subject]) -> Vector:
    """[n, d] descriptions, for kernels between backbones."""
    return np.array([_work(s).description for s in subjects])


def _work(subject: Subject) -> Work:
    return work(subject.backbone, subject.resolution)
