"""The runtimes of an NVIDIA GPU. Where there is none, what they say about that is tested and the rest is skipped."""

from pathlib import Path

import pytest
from conformance import RuntimeConformance

from selector.evidence.record import FreezePoint
from selector.hardware.machine import detect
from selector.profiling.jobs import Job, TrainingJob
from selector.profiling.peaks import Peaks
from selector.profiling.protocol import Settings
from selector.profiling.runtimes import runtime
from selector.profiling.session import Session, Thoroughness
from selector.profiling.workers import ask_worker


@pytest.mark.gpu
class TestTorchCuda(RuntimeConformance):
    name = "torch-cuda"


@pytest.mark.gpu
class TestOnnxRuntimeCuda(RuntimeConformance):
    name = "onnxruntime-cuda"


@pytest.mark.gpu
class TestTensorRT(RuntimeConformance):
    name = "tensorrt"


@pytest.mark.gpu
class TestTensorRTRTX(RuntimeConformance):
    name = "tensorrt-rtx"


class Deaf:
    """Listens to nothing."""

    def planned(self, steps: int) -> None:
        pass

    def at(self, job: Job, doing: str, progress: float) -> None:
        pass

    def done(self, steps: int) -> None:
        pass


@pytest.fixture
def torch_cuda() -> None:
    offer = runtime("torch-cuda").availability(detect())
    if not offer.usable:
        pytest.skip(offer.why or "torch-cuda")


@pytest.mark.gpu
def test_training_tells_time_and_memory_of_the_gpu_in_fp32_and_amp(torch_cuda: None, home: Path) -> None:
    quick = Settings(window_s=0.05, min_windows=3, deadline_s=3.0, target=0.5, drift=1.0, tail_budget_s=0.0)
    made = Session(detect(), lambda records: None, Deaf(), Thoroughness(quick, quick, quick))
    points = [FreezePoint("none", 0, 9), FreezePoint("head", 9, 9)]
    made.run([TrainingJob("resnet18", p, how, 224, 1, 16, "torch-cuda") for how in ("fp32", "amp") for p in points])
    assert made.failures == []
    found = {
        (r.conditions.precision, r.conditions.freeze and r.conditions.freeze.name, r.figure.metric.name): r.figure.value
        for r in made.records
    }
    for how in ("fp32", "amp"):
        allocated = [found[how, depth, "train_memory_allocated_peak_bytes"] for depth in ("none", "head")]
        assert allocated[0] > allocated[1] > 4 * 11_000_000  # the weights alone
        assert found[how, "none", "train_memory_reserved_peak_bytes"] >= allocated[0]
    assert {r.conditions.runtime for r in made.records} == {"torch-cuda"}


@pytest.mark.gpu
def test_the_ceilings_of_a_gpu_are_measured(torch_cuda: None) -> None:
    peaks = Peaks(**ask_worker({"kind": "peaks", "device": "gpu", "threads": 1}))
    assert peaks.gflops > 500
    assert peaks.gb_s > 20
    assert peaks.threads is None
