import sys
from types import SimpleNamespace

import pytest

from selector.hardware.gpus import gpu_states
from selector.hardware.machine import read_state


class NotSupported(Exception):
    pass


def refuse(*_: object) -> None:
    raise NotSupported


def library(**changes: object) -> SimpleNamespace:
    """NVML's Python module as it answers for one warm GPU."""
    calls: dict[str, object] = {
        "NVMLError": NotSupported,
        "NVML_CLOCK_SM": 1,
        "NVML_TEMPERATURE_GPU": 0,
        "nvmlInit": lambda: None,
        "nvmlShutdown": lambda: None,
        "nvmlDeviceGetCount": lambda: 1,
        "nvmlDeviceGetHandleByIndex": lambda i: i,
        "nvmlDeviceGetName": lambda h: "NVIDIA Test",
        "nvmlDeviceGetClockInfo": lambda h, kind: 1980,
        "nvmlDeviceGetTemperature": lambda h, kind: 61,
        "nvmlDeviceGetPowerUsage": lambda h: 70_500,
        "nvmlDeviceGetCurrentClocksThrottleReasons": lambda h: 0x1 | 0x4 | 0x40,  # 0x1: idle, which is no slowdown
    }
    return SimpleNamespace(**calls | changes)


def test_a_gpus_state_is_told_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", library())
    (state,) = gpu_states()
    assert (state.clock_mhz, state.temperature_c, state.power_w) == (1980, 61, 70.5)
    assert state.throttled_by == ("power cap", "thermal (hardware)")
    now = read_state()
    assert now.slowed_since(now) == "NVIDIA Test is slowed by power cap, thermal (hardware)"
    assert now.as_json()["gpus"][0]["clock_mhz"] == 1980


def test_what_a_gpu_does_not_tell_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    silent = library(
        nvmlDeviceGetTemperature=refuse,
        nvmlDeviceGetCurrentClocksThrottleReasons=refuse,
        nvmlDeviceGetPowerUsage=refuse,
    )
    monkeypatch.setitem(sys.modules, "pynvml", silent)
    (state,) = gpu_states()
    assert (state.temperature_c, state.power_w, state.throttled_by) == (None, None, None)


def test_without_a_driver_there_are_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", library(nvmlInit=refuse))
    assert gpu_states() == ()
