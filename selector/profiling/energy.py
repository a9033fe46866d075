"""The energy that inferences take, from counters where the machine lets one read them; otherwise it is not measured.

CPU: the running energy of the processor packages (RAPL, through Linux's powercap; AMD's is found at the same place).
Since 2020 the kernel lets root alone read it (CVE-2020-8694). GPU: NVML's total energy since the driver was loaded, of
the GPU that CUDA computes on. Both count the whole package or board, its idle share and whatever else runs there
included.
"""

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

from selector.hardware.gpus import VISIBLE, cuda_device

POWERCAP = Path("/sys/class/powercap")


@dataclass(frozen=True, slots=True)
class Counter:
    """A running count of joules. It starts again at zero after `range_j`; None: it never does."""

    read_j: Callable[[], float]
    range_j: float | None


@dataclass(frozen=True, slots=True)
class Meter:
    """All counters of one kind. Without any, `why` says what is missing."""

    counters: tuple[Counter, ...]
    why: str | None = None

    def read(self) -> tuple[float, ...] | None:
        """Each counter now; None where there are none or one cannot be read any more."""
        try:
            return tuple(counter.read_j() for counter in self.counters) or None
        except (OSError, ValueError):
            return None

    def spent(self, before: tuple[float, ...] | None, after: tuple[float, ...] | None) -> float | None:
        """Joules between two readings, at most one round of each counter; None where one of them is missing."""
        if before is None or after is None:
            return None
        total = 0.0
        for counter, first, last in zip(self.counters, before, after, strict=True):
            if last < first and counter.range_j is None:
                return None
            total += last - first if last >= first else last - first + (counter.range_j or 0.0)
        return total


def meter(device: Literal["cpu", "gpu"], powercap: Path = POWERCAP) -> Meter:
    """What counts the energy of a runtime that computes on `device`."""
    return _rapl(powercap) if device == "cpu" else _nvml()


@cache
def availability(device: Literal["cpu", "gpu"]) -> str:
    """ "measured", or why the energy of this device is not."""
    return meter(device).why or "measured"


def _rapl(powercap: Path) -> Meter:
    counters = []
    # beside the packages there are their parts (core, dram) and the whole board (psys), which would count them again
    for zone in sorted(powercap.glob("intel-rapl:*")):
        file = zone / "energy_uj"
        try:
            if not (zone / "name").read_text().startswith("package"):
                continue
            int(file.read_text())
            most = int((zone / "max_energy_range_uj").read_text()) / 1e6
        except PermissionError:
            return Meter((), "not measured: the processor's energy counter (RAPL) may be read by root alone")
        except (OSError, ValueError):
            continue
        counters.append(Counter(lambda file=file: int(file.read_text()) / 1e6, most))  # type: ignore[misc]  # bound now
    return Meter(tuple(counters), None if counters else "not measured: this machine shows no energy counter (RAPL)")


def _nvml() -> Meter:
    try:
        import pynvml  # the module of the package nvidia-ml-py
    except ImportError:
        return Meter((), "not measured: nvidia-ml-py is not installed; `pip install nvidia-ml-py`")
    try:
        pynvml.nvmlInit()
        handle = cuda_device(pynvml)
        if handle is None:
            pynvml.nvmlShutdown()
            asked = os.environ.get(VISIBLE)
            return Meter((), "not measured: CUDA has no whole GPU" + (f" ({VISIBLE} is {asked!r})" if asked else ""))
        pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)
    except pynvml.NVMLError as error:
        with suppress(pynvml.NVMLError):
            pynvml.nvmlShutdown()
        return Meter((), f"not measured: the GPU's driver tells no energy ({error})")
    return Meter((Counter(lambda: pynvml.nvmlDeviceGetTotalEnergyConsumption(handle) / 1e3, None),))
