import os
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from test_session import fake

from selector.profiling.jobs import InferenceJob
from selector.profiling.lanes import LOADING, OWN_BYTES, SET_SIZE, WAITING, halls, lanes, sets
from selector.profiling.material import Material
from selector.profiling.memory import free_memory
from selector.profiling.runtimes.export import recipe

NAMES = ("resnet18", "resnet26", "resnet34", "resnet50")


@pytest.fixture(autouse=True)
def _places(fakes: None, own_home: Path) -> None:
    pass


def test_a_set_is_as_large_as_the_memory_that_is_free() -> None:
    jobs = [fake(name, "nothing") for name in NAMES]
    mb = 1 << 20
    for job, size in zip(jobs, (40, 60, 300, 20), strict=True):
        os.truncate(recipe("weights", job.backbone, resolution=64).path, size * mb - OWN_BYTES)

    def names(room: float) -> list[list[str]]:
        return [[job.backbone for job in part] for part in sets(jobs, Material(), room * mb)]

    least = WAITING * (40 + 60) + (LOADING - WAITING) * 60  # of the first two
    assert names(least) == [["resnet18", "resnet26"], ["resnet34"], ["resnet50"]]
    assert names(least - 1)[0] == ["resnet18"]
    assert len(names(WAITING * 420 + (LOADING - WAITING) * 300)) == 1
    assert 0 < free_memory() <= psutil.virtual_memory().total


def test_sets_span_runtimes_and_are_of_about_one_size() -> None:
    job = fake("resnet18", "nothing")
    jobs = [
        replace(job, runtime=name, batch_size=n) for n in range(SET_SIZE // 2 + 1) for name in ("nothing", "busy-wait")
    ]
    first, second = sets(jobs, Material(), 1 << 40)
    assert {job.runtime for job in first} == {"nothing"}
    assert len(first) == len(second)
    (whole,) = sets(jobs[2:], Material(), 1 << 40)
    assert [len(lane) for lane in lanes(whole)] == [SET_SIZE // 2] * 2


def test_runtimes_of_the_processor_take_turns_and_those_of_a_gpu_do_not() -> None:
    names = ("torch-eager", "torch-cuda", "onnxruntime", "onnxruntime-cuda")
    jobs = [InferenceJob("resnet18", name, "fp32", 64, threads) for name in names for threads in (1, 2)]
    together = [sorted({job.runtime for job in hall}) for hall in halls(jobs)]
    assert together == [["onnxruntime", "torch-eager"], *[["torch-cuda"]] * 2, *[["onnxruntime-cuda"]] * 2]
