"""CUDA_VISIBLE_DEVICES: which GPUs it leaves and in which order, and that everything here keeps to it.

The expectations on entries are those of the CUDA Programming Guide and of `torch.cuda`.
"""

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from selector.hardware.gpus import VISIBLE, _from_driver_files, gpu_states, gpus, visible
from selector.profiling.energy import meter
from selector.profiling.runtimes.base import on_gpu

UUIDS = ("GPU-8932f937-d72c", "GPU-8932f111-aaaa", "GPU-e1b2a3c4-0000")


@pytest.mark.parametrize(
    ("asked", "left"),
    [
        (None, (0, 1, 2)),
        ("0,1,2", (0, 1, 2)),
        ("2,0", (2, 0)),
        (" 2 , 1 ", (2, 1)),
        ("", ()),
        ("-1", ()),
        ("NoDevFiles", ()),
        ("0,-1,2", (0,)),
        ("1,7,0", (1,)),
        ("7", ()),
        ("1gpu", (1,)),
        ("1,1", ()),
        ("GPU-e1b2a3c4-0000", (2,)),
        ("GPU-e1", (2,)),
        ("GPU-e1,GPU-8932f9", (2, 0)),
        ("GPU-8932f", ()),  # two begin so
        ("GPU-e1,GPU-8932f,GPU-8932f9", (2,)),
        ("GPU-e1,GPU-e1b2", ()),
        ("GPU-ffff", ()),
        ("MIG-GPU-e1b2a3c4-0000/1/0", None),
    ],
)
def test_what_is_left_of_three(asked: str | None, left: tuple[int, ...] | None) -> None:
    assert visible(UUIDS, asked) == left


class NotSupported(Exception):
    pass


@pytest.fixture
def board(monkeypatch: pytest.MonkeyPatch) -> None:
    """NVML's Python module as it answers where there are three GPUs; each uses as many joules as its place says."""
    monkeypatch.delenv(VISIBLE, raising=False)
    calls = {
        "NVMLError": NotSupported,
        "NVML_CLOCK_SM": 1,
        "NVML_TEMPERATURE_GPU": 0,
        "nvmlInit": lambda: None,
        "nvmlShutdown": lambda: None,
        "nvmlSystemGetDriverVersion": lambda: "550.54",
        "nvmlDeviceGetCount": lambda: 3,
        "nvmlDeviceGetHandleByIndex": lambda i: i,
        "nvmlDeviceGetUUID": lambda h: UUIDS[h],
        "nvmlDeviceGetName": lambda h: f"NVIDIA {h}",
        "nvmlDeviceGetMemoryInfo": lambda h: SimpleNamespace(total=h),
        "nvmlDeviceGetCudaComputeCapability": lambda h: (8, h),
        "nvmlDeviceGetTotalEnergyConsumption": lambda h: 1000 * h,
        "nvmlDeviceGetClockInfo": lambda h, kind: 1,
        "nvmlDeviceGetTemperature": lambda h, kind: 1,
        "nvmlDeviceGetPowerUsage": lambda h: 1,
        "nvmlDeviceGetCurrentClocksThrottleReasons": lambda h: 0,
    }
    monkeypatch.setitem(sys.modules, "pynvml", SimpleNamespace(**calls))


@pytest.mark.usefixtures("board")
@pytest.mark.parametrize(
    ("asked", "places"),
    [(None, (0, 1, 2)), ("2,0", (2, 0)), ("GPU-8932f1", (1,)), ("", ()), ("-1", ())],
)
def test_gpus_their_states_and_energy_are_those_that_cuda_computes_on(
    monkeypatch: pytest.MonkeyPatch, asked: str | None, places: tuple[int, ...]
) -> None:
    if asked is not None:
        monkeypatch.setenv(VISIBLE, asked)
    names = [f"NVIDIA {place}" for place in places]
    assert [(gpu.name, gpu.compute_capability) for gpu in gpus()] == [(f"NVIDIA {p}", f"8.{p}") for p in places]
    assert [state.name for state in gpu_states()] == names
    energy = meter("gpu")
    assert energy.read() == ((float(places[0]),) if places else None)
    assert (energy.why is None) == bool(places)


@pytest.mark.usefixtures("board")
def test_a_part_of_a_gpu_has_no_energy_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VISIBLE, "MIG-GPU-e1b2a3c4-0000/1/0")
    assert len(gpus()) == 3  # which of them it belongs to is not known
    assert meter("gpu").read() is None
    assert "MIG-GPU-e1b2a3c4-0000/1/0" in str(meter("gpu").why)


@pytest.mark.usefixtures("board")
def test_where_cuda_may_use_none_no_gpu_runtime_is_offered(monkeypatch: pytest.MonkeyPatch) -> None:
    from selector.hardware.machine import detect

    assert on_gpu(("fp32",), detect()).usable
    monkeypatch.setenv(VISIBLE, "")
    offer = on_gpu(("fp32",), detect())
    assert not offer.usable
    assert VISIBLE in str(offer.why)


def test_the_drivers_files_tell_the_same(tmp_path: Path) -> None:
    for place, uuid in enumerate(UUIDS):
        card = tmp_path / f"proc/driver/nvidia/gpus/0000:00:0{place}.0"
        card.mkdir(parents=True)
        (card / "information").write_text(f"Model: \t\t NVIDIA {place}\nIRQ:   \t\t 2\nGPU UUID: \t {uuid}\n")
    (tmp_path / "proc/driver/nvidia/version").write_text("NVRM version: NVIDIA UNIX Kernel Module  550.54.15  Tue\n")
    found = [gpu.name for gpu in _from_driver_files(tmp_path, "GPU-e1,0")]
    assert found == ["NVIDIA 2", "NVIDIA 0"]
    assert _from_driver_files(tmp_path, "") == ()
    assert len(_from_driver_files(tmp_path, None)) == 3
    sleeping = tmp_path / "proc/driver/nvidia/gpus/0000:00:02.0/information"
    sleeping.write_text("Model: NVIDIA 2\nGPU UUID: GPU-????????-????-????-????-????????????\n")
    assert len(_from_driver_files(tmp_path, UUIDS[0])) == 3  # which is which is not known yet
    assert [gpu.name for gpu in _from_driver_files(tmp_path, "1")] == ["NVIDIA 1"]
