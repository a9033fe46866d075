"""The profile of this machine."""

from dataclasses import replace

import pytest

from selector.hardware.loading import profile
from selector.hardware.local import local_profile
from selector.hardware.machine import detect
from selector.hardware.profiles import Kind


def test_this_machine_has_a_profile() -> None:
    machine = detect()
    local = profile("local")
    assert (local.name, local.kind, local.origin) == ("local", Kind.DEVICE, "detected")
    assert local.specified("cores") == machine.cores
    assert local.published == ()
    assert {offer.name: offer.precisions for offer in local.runtimes} == {
        "torch-eager": ("fp32",),
        "onnxruntime": ("fp32",),
    }
    for item in local.specification:
        assert item.source == "detected" if item.value is not None else item.source.startswith("unknown: ")


@pytest.mark.parametrize(
    ("architecture", "kind"), [("x86_64", "x86-cpu"), ("aarch64", "arm-cpu"), ("arm64", "arm-cpu")]
)
def test_the_device_kind_is_that_of_the_processor(architecture: str, kind: str) -> None:
    assert local_profile(replace(detect(), architecture=architecture)).device_kind == kind


def test_what_cannot_be_read_is_unknown() -> None:
    blind = replace(
        detect(), cpu_model=None, board=None, cores=None, memory_bytes=None, memory_limit_bytes=None, gpus=()
    )
    local = local_profile(blind)
    assert all(item.value is None for item in local.specification)
    assert local.title


def test_memory_is_what_the_container_may_use() -> None:
    limited = replace(detect(), memory_bytes=64_000_000_000, memory_limit_bytes=8_000_000_000)
    assert local_profile(limited).specified("memory_gb") == 8.0
    unlimited = replace(limited, memory_limit_bytes=None)
    assert local_profile(unlimited).specified("memory_gb") == 64.0
