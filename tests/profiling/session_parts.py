"""Sessions that measure quickly, jobs of fake runtimes, and a listener that adds up what it hears."""

from collections.abc import Sequence

from selector.evidence.record import Record
from selector.hardware.machine import detect
from selector.profiling.jobs import InferenceJob, Job
from selector.profiling.protocol import Settings
from selector.profiling.runtimes.export import recipe
from selector.profiling.session import Session, Sink, Thoroughness

QUICK = Settings(
    window_s=0.005,
    min_windows=3,
    warmup_cap_s=0.3,
    deadline_s=0.5,
    target=0.5,
    farthest=0.5,
    drift=1.0,
    tail_budget_s=0.1,
)
SMALL = "mobilenetv3_small_050"


class Ear:
    """Adds up what a listener hears."""

    def __init__(self) -> None:
        self.steps = 0
        self.total = 0
        self.doings: set[str] = set()

    def planned(self, steps: int) -> None:
        self.total = steps

    def at(self, job: Job, doing: str, progress: float) -> None:
        assert 0 <= progress <= 1
        self.doings.add(doing)

    def done(self, steps: int) -> None:
        self.steps += steps


def session(sink: Sink = lambda records: None, *, patience_s: float = 100.0, settings: Settings = QUICK) -> Session:
    return Session(detect(), sink, Ear(), Thoroughness(settings, QUICK, patience_s=patience_s))


def fake(backbone: str, runtime: str) -> InferenceJob:
    """A job of a runtime that never looks at its file."""
    place = recipe("weights", backbone, resolution=64).path
    place.parent.mkdir(parents=True, exist_ok=True)
    place.touch()
    return InferenceJob(backbone, runtime, "fp32", 64, 1)


def medians(records: Sequence[Record]) -> dict[str, float]:
    return {r.conditions.backbone: r.figure.value for r in records if r.figure.metric.name == "latency_ms_p50"}
