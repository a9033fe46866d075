"""The NVIDIA GPUs of this machine: from the driver's management library, else from its files. CUDA is not needed.

Told are those that CUDA computes on, in its order: the library's own (by PCI bus, which workers ask CUDA for, too), or
what CUDA_VISIBLE_DEVICES makes of it.
"""

import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

VISIBLE = "CUDA_VISIBLE_DEVICES"


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
        return tuple(_state(pynvml, handle) for handle in _handles(pynvml))
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
    """The GPUs in CUDA's order; empty where there is none, CUDA may use none, or nothing tells of one."""
    if root != Path("/"):  # the library and the environment tell of this machine, not of a recorded one
        return _from_driver_files(root, None)
    found = _from_management_library()
    return _from_driver_files(root, os.environ.get(VISIBLE)) if found is None else found


def visible(uuids: Sequence[str], asked: str | None) -> tuple[int, ...] | None:
    """Places of the GPUs that CUDA_VISIBLE_DEVICES leaves of those called `uuids`, in CUDA's order; `asked` is its
    value, None where it is not set.

    Indices and unambiguous beginnings of UUIDs are allowed; the first entry that is neither, nor there, ends the list,
    and one that is named twice leaves nothing (CUDA Programming Guide, "CUDA Environment Variables", and what
    `torch.cuda` makes of it). None for parts of GPUs (MIG), which the UUIDs of whole ones do not tell.
    """
    if asked is None:
        return tuple(range(len(uuids)))
    if asked.strip().startswith("MIG-"):
        return None
    found: list[int] = []
    for entry in asked.split(","):
        place = _place(entry.strip(), uuids)
        if place is None:
            break
        if place in found:
            return ()
        found.append(place)
    return tuple(found)


def _place(entry: str, uuids: Sequence[str]) -> int | None:
    """Which GPU an entry of CUDA_VISIBLE_DEVICES names; None where it names none."""
    if entry.startswith("GPU-"):
        named = [i for i, uuid in enumerate(uuids) if uuid.startswith(entry)]
        return named[0] if len(named) == 1 else None
    number = re.match(r"\+?\d+", entry)  # what follows the digits is not read: "1gpu" is 1
    return int(number[0]) if number and int(number[0]) < len(uuids) else None


def cuda_device(pynvml: Any) -> Any:
    """The management library's handle of CUDA's first device; None where CUDA sees no GPU, or a part of one (MIG).

    `pynvml` is the library's module, initialised. Raises its NVMLError.
    """
    if (os.environ.get(VISIBLE) or "").strip().startswith("MIG-"):
        return None
    return next(iter(_handles(pynvml)), None)


def _handles(pynvml: Any) -> list[Any]:
    """Handles in CUDA's order; of all GPUs where parts of them are asked for."""
    handles = [pynvml.nvmlDeviceGetHandleByIndex(i) for i in range(pynvml.nvmlDeviceGetCount())]
    asked = os.environ.get(VISIBLE)
    if asked is None:
        return handles
    places = visible([_word(pynvml.nvmlDeviceGetUUID(handle)) for handle in handles], asked)
    return handles if places is None else [handles[place] for place in places]


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
        return tuple(_describe(pynvml, handle, driver) for handle in _handles(pynvml))
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


def _from_driver_files(root: Path, asked: str | None) -> tuple[Gpu, ...]:
    """/proc/driver/nvidia: the names that the management library gives too. `asked`: what is visible of them."""
    folder = root / "proc/driver/nvidia"
    try:
        version = re.search(r"\b(\d+\.\d+(?:\.\d+)?)\b", (folder / "version").read_text())
        cards = [path.read_text() for path in sorted((folder / "gpus").glob("*/information"))]
    except OSError:
        return ()
    ids = [_line(card, "GPU UUID") or "" for card in cards]
    if asked and "GPU-" in asked and any("?" in id_ or not id_ for id_ in ids):
        asked = None  # the driver does not say yet which is which: all are shown rather than none
    places = visible(ids, asked)
    shown = cards if places is None else [cards[place] for place in places]
    names = [_line(card, "Model") for card in shown]
    return tuple(Gpu(name, driver=version[1] if version else None) for name in names if name)


def _line(card: str, field: str) -> str | None:
    found = re.search(rf"^{field}:\s*(.+?)\s*$", card, re.M)
    return found[1] if found else None
