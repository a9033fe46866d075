"""The NVIDIA GPUs of this machine: from the driver's management library, else from its files. CUDA is not needed."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Gpu:
    """One GPU. None: it cannot be read without nvidia-ml-py (`pip install nvidia-ml-py`)."""

    name: str
    memory_bytes: int | None = None
    compute_capability: str | None = None
    driver: str | None = None


@dataclass(frozen=True, slots=True)
class GpuState:
    """How a GPU is at one moment. None: it cannot be read here."""

    name: str
    clock_mhz: int | None
    temperature_c: int | None
    power_w: float | None
    throttled_by: tuple[str, ...] | None  # what holds the clock down; empty: nothing


# NVML's bits of reasons that slow a clock down (nvml.h, nvmlClocksEventReasons); idle and set clocks are none
_SLOWDOWNS = {
    0x4: "power cap",
    0x8: "hardware slowdown",
    0x20: "thermal (driver)",
    0x40: "thermal (hardware)",
    0x80: "power brake",
}


def gpu_states() -> tuple[GpuState, ...]:
    """The GPUs' present states; empty where there is none or the management library is missing."""
    try:
        import pynvml  # the module of the package nvidia-ml-py
    except ImportError:
        return ()
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        return ()
    try:
        handles = [pynvml.nvmlDeviceGetHandleByIndex(i) for i in range(pynvml.nvmlDeviceGetCount())]
        return tuple(_state(pynvml, handle) for handle in handles)
    except pynvml.NVMLError:
        return ()
    finally:
        pynvml.nvmlShutdown()


def _state(pynvml: Any, handle: Any) -> GpuState:
    def ask(call: Any, *arguments: Any) -> Any:
        try:
            return call(handle, *arguments)
        except pynvml.NVMLError:
            return None

    power = ask(pynvml.nvmlDeviceGetPowerUsage)
    reasons = ask(pynvml.nvmlDeviceGetCurrentClocksThrottleReasons)
    return GpuState(
        name=_word(pynvml.nvmlDeviceGetName(handle)),
        clock_mhz=ask(pynvml.nvmlDeviceGetClockInfo, pynvml.NVML_CLOCK_SM),
        temperature_c=ask(pynvml.nvmlDeviceGetTemperature, pynvml.NVML_TEMPERATURE_GPU),
        power_w=None if power is None else power / 1e3,
        throttled_by=None if reasons is None else tuple(word for bit, word in _SLOWDOWNS.items() if reasons & bit),
    )


def gpus(root: Path = Path("/")) -> tuple[Gpu, ...]:
    """The GPUs in the management library's order; empty where there is none or nothing tells of one."""
    if root == Path("/"):  # the library tells of this machine, not of a recorded one
        found = _from_management_library()
        if found is not None:
            return found
    return _from_driver_files(root)


def _from_management_library() -> tuple[Gpu, ...] | None:
    """None where the library or the driver is missing."""
    try:
        import pynvml  # the module of the package nvidia-ml-py
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:  # no driver, or not allowed to talk to it
        return None
    try:
        driver = _word(pynvml.nvmlSystemGetDriverVersion())
        handles = [pynvml.nvmlDeviceGetHandleByIndex(i) for i in range(pynvml.nvmlDeviceGetCount())]
        return tuple(_describe(pynvml, handle, driver) for handle in handles)
    except pynvml.NVMLError:
        return None
    finally:
        pynvml.nvmlShutdown()


def _describe(pynvml: Any, handle: Any, driver: str) -> Gpu:
    try:
        memory: int | None = int(pynvml.nvmlDeviceGetMemoryInfo(handle).total)
    except pynvml.NVMLError:  # boards that share the system's memory have none of their own
        memory = None
    try:
        major, minor = pynvml.nvmlDeviceGetCudaComputeCapability(handle)
        capability: str | None = f"{major}.{minor}"
    except pynvml.NVMLError:
        capability = None
    return Gpu(_word(pynvml.nvmlDeviceGetName(handle)), memory, capability, driver)


def _word(text: str | bytes) -> str:
    return text.decode() if isinstance(text, bytes) else text


def _from_driver_files(root: Path) -> tuple[Gpu, ...]:
    """/proc/driver/nvidia: the names that the management library gives too."""
    folder = root / "proc/driver/nvidia"
    try:
        version = re.search(r"\b(\d+\.\d+(?:\.\d+)?)\b", (folder / "version").read_text())
        cards = [path.read_text() for path in sorted((folder / "gpus").glob("*/information"))]
    except OSError:
        return ()
    names = [re.search(r"^Model:\s*(.+?)\s*$", card, re.M) for card in cards]
    return tuple(Gpu(name[1], driver=version[1] if version else None) for name in names if name)
