import os
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from session_parts import fake

from selector.profiling.jobs import InferenceJob
from selector.profiling.lanes import LANE_BYTES, LOADING, OWN_BYTES, SET_SIZE, WAITING, halls, lanes, sets
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
        own = -(-OWN_BYTES * job.resolution**2 // 224**2)  # rounded up
        os.truncate(recipe("weights", job.backbone, resolution=64).path, size * mb - own)

    def names(room: float) -> list[list[str]]:
        return [[job.backbone for job in part] for part in sets(jobs, Material(), room * mb + LANE_BYTES)]

    least = WAITING * (40 + 60) + (LOADING - WAITING) * 60  # of the first two
    assert names(least) == [["resnet18", "resnet26"], ["resnet34"], ["resnet50"]]
    assert names(least - 1)[0] == ["resnet18"]
    assert len(names(WAITING * 420 + (LOADING - WAITING) * 300)) == 1
    assert 0 < free_memory() <= psutil.virtual_memory().total


def test_large_images_and_workers_take_memory_too() -> None:
    small, large = (replace(fake("resnet18", "nothing"), resolution=side) for side in (64, 1024))
    for job in (small, large):
        recipe("weights", job.backbone, resolution=job.resolution).path.touch()
    room = WAITING * 2 * OWN_BYTES + (LOADING - WAITING) * OWN_BYTES + LANE_BYTES
    assert len(list(sets([small, replace(small, batch_size=2)], Material(), room))) == 1
    assert len(list(sets([large, replace(large, batch_size=2)], Material(), room))) == 2
    assert len(list(sets([small, replace(small, threads=small.threads + 1)], Material(), room))) == 2


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
