from dataclasses import replace

import pytest

from selector.backbones.depth import FreezeDepth
from selector.errors import InvalidInput
from selector.hardware.gpus import Gpu
from selector.hardware.machine import detect
from selector.profiling.jobs import InferenceJob, TrainingJob, job_from_json, job_to_json
from selector.profiling.plan import Grid, plan, training_offers, usable_runtimes

MACHINE = replace(detect(), usable_cpus=4, quota_cpus=None)


def test_a_grid_is_every_combination() -> None:
    grid = Grid(
        ("resnet18", "vgg16"),
        runtimes=("onnxruntime", "torch-eager"),
        resolutions=(64, None),
        threads=(1, None),
        freezes=(FreezeDepth("none"), FreezeDepth("last-3")),
    )
    jobs = plan(grid, MACHINE)
    assert len(jobs) == len(set(jobs)) == 2 * 2 * 2 * 2 + 2 * 2 * 2 * 2
    assert InferenceJob("vgg16", "onnxruntime", "fp32", 224, 4) in jobs
    points = {j.backbone: j.freeze for j in jobs if isinstance(j, TrainingJob) and j.freeze.name == "last-3"}
    assert points["vgg16"].frozen_blocks == points["vgg16"].total_blocks - 3


def test_without_a_freeze_depth_no_training_is_measured() -> None:
    assert not any(isinstance(job, TrainingJob) for job in plan(Grid(("resnet18",)), MACHINE))


def test_without_a_runtime_all_that_are_usable_are_measured() -> None:
    jobs = plan(Grid(("resnet18",)), MACHINE)
    assert tuple(j.runtime for j in jobs if isinstance(j, InferenceJob)) == usable_runtimes(MACHINE)


def test_training_is_measured_in_what_training_takes_and_inference_in_the_rest() -> None:
    machine = replace(MACHINE, isa=("avx512_bf16",), gpus=())
    grid = Grid(
        ("resnet18",), ("torch-eager",), ("fp32", "bf16", "amp", "int8-dynamic"), freezes=(FreezeDepth("head"),)
    )
    jobs = plan(grid, machine)
    assert [j.precision for j in jobs if isinstance(j, TrainingJob)] == ["fp32", "amp"]
    assert [j.precision for j in jobs if isinstance(j, InferenceJob)] == ["fp32", "bf16", "amp", "int8-dynamic"]
    assert {j.runtime for j in jobs if isinstance(j, TrainingJob)} == {"torch-eager"}


@pytest.mark.parametrize(
    ("grid", "told"),
    [
        (Grid(("resnet18",), ("torch-eager",), ("int8-dynamic",), freezes=(FreezeDepth("head"),)), "in fp32 here"),
        (
            Grid(("resnet18",), ("torch-eager",), ("fp32", "amp"), freezes=(FreezeDepth("head"),)),
            "cannot train in 'amp'",
        ),
        (Grid(("resnet18",), ("torch-eager",), ("fp32", "amp")), "offers no 'amp'"),
        (Grid(("resnet18",), (), ("fp32", "amp")), "'amp' needs hardware that computes in half-width numbers"),
        (Grid(("resnet18",), (), ("fp32", "bf16")), "no runtime that is measured here by default offers 'bf16'"),
    ],
)
def test_a_precision_that_would_go_unmeasured_is_a_fault(grid: Grid, told: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        plan(grid, replace(MACHINE, isa=("avx2",), gpus=()))
    assert len(caught.value.faults) == 1
    assert told in caught.value.faults[0]


def test_a_precision_that_there_is_not_is_told_once_whatever_the_runtimes() -> None:
    for names in ((), ("torch-eager", "onnxruntime"), ("onnxrt",)):
        with pytest.raises(InvalidInput) as caught:
            plan(Grid(("resnet18",), names, ("fp32", "int7"), freezes=(FreezeDepth("head"),)), MACHINE)
        assert [f for f in caught.value.faults if "int7" in f] == [
            "no precision 'int7'; known are: fp32, tf32, fp16, bf16, amp, int8-dynamic, int8-static"
        ]
        assert len(caught.value.faults) == 1 + (names == ("onnxrt",))


def test_mixed_precision_is_measured_in_pytorch_and_beside_other_runtimes_as_training_alone() -> None:
    machine = replace(MACHINE, isa=("avx512_bf16",), gpus=())
    everything = plan(Grid(("resnet18",), (), ("fp32", "amp")), machine)
    assert [job.runtime for job in everything if job.precision == "amp"] == ["torch-eager"]
    beside = Grid(("resnet18",), ("onnxruntime",), ("fp32", "amp"), freezes=(FreezeDepth("head"),))
    mixed = [job for job in plan(beside, machine) if job.precision == "amp"]
    assert [type(job) for job in mixed] == [TrainingJob]
    with pytest.raises(InvalidInput, match="'onnxruntime' offers no 'amp' here"):
        plan(replace(beside, freezes=()), machine)


def test_a_runtime_may_be_pinned_to_a_precision() -> None:
    named = ("torch-eager", "onnxruntime", "onnxruntime:int8-static", "onnxruntime:fp32")
    jobs = plan(Grid(("resnet18",), named), MACHINE)
    assert [(job.runtime, job.precision) for job in jobs] == [
        ("torch-eager", "fp32"),
        ("onnxruntime", "fp32"),
        ("onnxruntime", "int8-static"),
    ]
    (alone,) = plan(Grid(("resnet18",), ("onnxruntime:int8-static",)), MACHINE)
    assert alone.precision == "int8-static"


@pytest.mark.parametrize(
    ("named", "told"),
    [
        (("onnxruntim:fp32",), ["no runtime 'onnxruntim'"]),
        (("onnxruntime:int7", "onnxruntime:bf16"), ["no precision 'int7'", "'onnxruntime' offers no 'bf16'"]),
        (("onnxruntime:",), ["no precision ''"]),
        (("onnxruntime:amp",), ["'onnxruntime' offers no 'amp'"]),
    ],
)
def test_all_faults_of_pinned_precisions_are_told(named: tuple[str, ...], told: list[str]) -> None:
    with pytest.raises(InvalidInput) as caught:
        plan(Grid(("resnet18",), named, freezes=(FreezeDepth("head"),)), MACHINE)
    assert len(caught.value.faults) == len(told)
    assert all(part in fault for part, fault in zip(told, caught.value.faults, strict=True))


def test_a_precision_that_no_runtime_is_left_for_is_a_fault() -> None:
    with pytest.raises(InvalidInput, match="--precision int8-dynamic is measured nowhere"):
        plan(Grid(("resnet18",), ("onnxruntime:int8-static",), ("int8-dynamic",)), MACHINE)


def test_a_precision_that_a_runtime_is_pinned_to_is_measured_there_whatever_else_names_it() -> None:
    def measured(runtimes: tuple[str, ...], precisions: tuple[str, ...]) -> set[tuple[str, str]]:
        jobs = plan(Grid(("resnet18",), runtimes, precisions), MACHINE)
        return {(job.runtime, job.precision) for job in jobs if isinstance(job, InferenceJob)}

    assert measured(("onnxruntime:int8-static",), ("int8-static",)) == {("onnxruntime", "int8-static")}
    for order in (("onnxruntime", "onnxruntime:int8-static"), ("onnxruntime:int8-static", "onnxruntime")):
        assert measured(order, ("fp32",)) == {("onnxruntime", "fp32"), ("onnxruntime", "int8-static")}


def test_a_pin_holds_in_whatever_order_it_is_named() -> None:
    for order in (("onnxruntime", "onnxruntime:amp"), ("onnxruntime:amp", "onnxruntime")):
        with pytest.raises(InvalidInput, match="'onnxruntime' offers no 'amp'"):
            plan(Grid(("resnet18",), order, ("fp32", "amp"), freezes=(FreezeDepth("head"),)), MACHINE)


def test_a_gpu_trains_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("selector.profiling.runtimes.base.library_version", lambda distribution, module: "2.14.1")
    machine = replace(MACHINE, isa=(), gpus=(Gpu("NVIDIA L4", compute_capability="8.9"),))
    assert training_offers(["onnxruntime", "torch-cuda"], machine) == {
        "torch-eager": ("fp32",),
        "torch-cuda": ("fp32", "amp"),
    }


def test_all_faults_are_told_at_once() -> None:
    grid = Grid(
        ("resnet81", "resnet18"),
        runtimes=("onnx", "torch-eager"),
        precisions=("fp8",),
        resolutions=(7,),
        threads=(5,),
        freezes=(FreezeDepth("last-99"),),
        training_batch=1,
    )
    with pytest.raises(InvalidInput) as caught:
        plan(grid, MACHINE)
    told = "\n".join(caught.value.faults)
    for part in (
        "did you mean 'resnet18'",
        "no runtime 'onnx'",
        "'fp8'",
        "resolution 7",
        "5 threads",
        "last-99",
        "at least 2",
    ):
        assert part in told
    assert len(caught.value.faults) == 7


def test_jobs_survive_their_journey() -> None:
    for job in plan(Grid(("resnet18",), freezes=(FreezeDepth("80%"),)), MACHINE):
        assert job_from_json(job_to_json(job)) == job
