"""What this machine is: processor, cores that may be used, quota, governor, GPUs, and its present state.

Read from /proc, /sys and psutil, and for GPUs from NVIDIA's management library where nvidia-ml-py is installed.
Whatever cannot be read is None, never guessed. No model library is imported here.
"""

import math
import os
import platform
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from selector.hardware.control_groups import quota
from selector.hardware.gpus import Gpu, GpuState, gpu_states, gpus

# what inference kernels are chosen by, as the kernel spells it → the name used here
ISA_FEATURES = {
    # x86: /proc/cpuinfo "flags"
    **{name: name for name in ("sse4_2", "avx", "avx2", "fma", "f16c", "avx512f", "avx512bw", "avx512vl")},
    **{name: name for name in ("avx512_vnni", "avx_vnni", "avx512_bf16", "avx512_fp16", "avx_vnni_int8")},
    **{name: name for name in ("amx_tile", "amx_int8", "amx_bf16", "amx_fp16")},
    # ARM: /proc/cpuinfo "Features"
    "neon": "neon",
    "asimd": "neon",
    "asimdhp": "fp16",
    "asimddp": "dotprod",
    "i8mm": "i8mm",
    "bf16": "bf16",
    "sve": "sve",
    "sve2": "sve2",
    "sme": "sme",
}

# part numbers of implementer 0x41 (Arm), from Linux arch/arm64/include/asm/cputype.h: 64-bit kernels print numbers only
ARM_PARTS = {
    0xD03: "Cortex-A53",
    0xD05: "Cortex-A55",
    0xD07: "Cortex-A57",
    0xD08: "Cortex-A72",
    0xD09: "Cortex-A73",
    0xD0A: "Cortex-A75",
    0xD0B: "Cortex-A76",
    0xD0C: "Neoverse-N1",
    0xD0D: "Cortex-A77",
    0xD40: "Neoverse-V1",
    0xD41: "Cortex-A78",
    0xD42: "Cortex-A78AE",
    0xD44: "Cortex-X1",
    0xD46: "Cortex-A510",
    0xD47: "Cortex-A710",
    0xD48: "Cortex-X2",
    0xD49: "Neoverse-N2",
    0xD4D: "Cortex-A715",
    0xD4E: "Cortex-X3",
    0xD4F: "Neoverse-V2",
    0xD80: "Cortex-A520",
    0xD81: "Cortex-A720",
    0xD82: "Cortex-X4",
}


@dataclass(frozen=True, slots=True)
class Machine:
    """What a machine is. Nothing here changes with load; None: it cannot be read here."""

    cpu_model: str | None
    board: str | None  # a single-board computer's own name, from the device tree
    architecture: str
    sockets: int | None
    cores: int | None  # physical, of all sockets
    logical_cpus: int | None
    usable_cpus: int | None  # that the scheduler may place this process on (affinity)
    quota_cpus: float | None  # processor time a control group grants, in CPUs; None: unlimited or unreadable
    isa: tuple[str, ...] | None
    memory_bytes: int | None
    memory_limit_bytes: int | None  # of the control group; None: unlimited or unreadable
    governor: str | None
    turbo: bool | None
    gpus: tuple[Gpu, ...]
    os: str | None
    kernel: str
    container: str | None  # None: no sign of one
    virtualisation: str | None  # None: no sign of any

    @property
    def threads(self) -> int:
        """Threads that can truly run at once: usable CPUs, cut to the quota (rounded up), at least 1."""
        usable = self.usable_cpus or self.logical_cpus or 1
        return usable if self.quota_cpus is None else max(1, min(usable, math.ceil(self.quota_cpus)))

    def slug(self) -> str:
        """A name for this sort of machine that means something elsewhere: "amd-epyc-7763-64c", "raspberry-pi-4-…-4c".

        Board or processor, physical cores, GPUs. Two machines with the same parts share it; their fingerprints
        tell their software apart.
        """
        parts = [self.board or self.cpu_model or f"unknown {self.architecture} processor"]
        cores = self.cores or self.logical_cpus
        parts += [f"{cores}c"] if cores else []
        for name in sorted({gpu.name for gpu in self.gpus}):
            count = sum(gpu.name == name for gpu in self.gpus)
            parts.append(name if count == 1 else f"{count}x {name}")
        # marks and marketing words, not the part's name
        text = re.sub(
            r"\((r|tm)\)|\bcpu\b|\bprocessor\b|\bwith radeon graphics\b|@\s*[\d.]+ghz", " ", " ".join(parts), flags=re.I
        )
        return re.sub(r"[^a-z0-9.]+", "-", text.lower()).strip("-.")

    def as_json(self) -> dict[str, Any]:
        """All of it, as plain data."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class State:
    """How a machine is at one moment. None: it cannot be read here."""

    at: datetime  # UTC
    load_average: tuple[float, float, float] | None  # over 1, 5 and 15 minutes
    cpu_mhz: float | None  # mean of the present frequencies
    temperature_c: float | None  # the hottest sensor of the processor
    throttle_events: int | None  # thermal throttling counted since boot, all cores
    memory_available_bytes: int | None
    gpus: tuple[GpuState, ...] = ()

    def slowed_since(self, before: "State") -> str | None:
        """What held clocks down between `before` and now, in words; None: nothing, or nothing that can be read."""
        parts = []
        if self.throttle_events is not None and before.throttle_events is not None:
            count = self.throttle_events - before.throttle_events
            parts += [f"the processor throttled {count} times for heat"] if count > 0 else []
        parts += [f"{gpu.name} is slowed by {', '.join(gpu.throttled_by)}" for gpu in self.gpus if gpu.throttled_by]
        return "; ".join(parts) or None

    def as_json(self) -> dict[str, Any]:
        """All of it, as plain data; the time in ISO 8601."""
        return {**asdict(self), "at": self.at.isoformat()}


def detect(root: Path = Path("/")) -> Machine:
    """What this machine is. `root` is where /proc, /sys and /etc hang: another folder holds a recorded machine.

    Architecture, kernel and affinity are asked of this process whatever `root` is.
    """
    cpuinfo = _cpuinfo(root)
    sockets, cores = _topology(root, cpuinfo)
    limits = quota(root)
    return Machine(
        cpu_model=_cpu_model(cpuinfo),
        board=_text(root / "proc/device-tree/model"),
        architecture=platform.machine(),
        sockets=sockets,
        cores=cores,
        logical_cpus=len(cpuinfo) or os.cpu_count(),
        usable_cpus=_usable_cpus(),
        quota_cpus=limits.cpus,
        isa=_isa(cpuinfo),
        memory_bytes=_memory(root),
        memory_limit_bytes=limits.memory_bytes,
        governor=_governor(root),
        turbo=_turbo(root),
        gpus=gpus(root),
        os=_os_name(root),
        kernel=platform.release(),
        container=_container(root),
        virtualisation=_virtualisation(root, cpuinfo),
    )


def read_state(root: Path = Path("/")) -> State:
    """The machine's state now: read before and after a measurement, never during one."""
    import psutil

    try:
        load: tuple[float, float, float] | None = os.getloadavg()
    except OSError:
        load = None
    counters = (root / "sys/devices/system/cpu").glob("cpu[0-9]*/thermal_throttle/core_throttle_count")
    throttled = [int(text) for text in map(_text, counters) if text and text.isdigit()]
    return State(
        at=datetime.now(UTC),
        load_average=load,
        cpu_mhz=_cpu_mhz(root),
        temperature_c=_temperature(),
        throttle_events=sum(throttled) if throttled else None,
        memory_available_bytes=int(psutil.virtual_memory().available),
        gpus=gpu_states() if root == Path("/") else (),
    )


def _text(path: Path) -> str | None:
    """The stripped text of a file of /proc or /sys, None where it is missing, unreadable or empty."""
    try:
        # the device tree ends its strings with NUL
        return path.read_text("utf-8", "replace").strip(" \t\r\n\0") or None
    except OSError:
        return None


def _cpuinfo(root: Path) -> list[dict[str, str]]:
    """/proc/cpuinfo, one dict a logical CPU; empty where it cannot be read."""
    processors: list[dict[str, str]] = []
    for block in (_text(root / "proc/cpuinfo") or "").split("\n\n"):
        pairs = (line.partition(":") for line in block.splitlines())
        fields = {key.strip(): value.strip() for key, colon, value in pairs if colon}
        if "processor" in fields:  # boards append a block about themselves
            processors.append(fields)
    return processors


def _cpu_model(cpuinfo: list[dict[str, str]]) -> str | None:
    """The processor's name; on ARM the distinct core designs, since one chip may hold two."""
    names: list[str] = []
    for fields in cpuinfo:
        name = fields.get("model name")
        if not name and "CPU part" in fields:
            implementer, part = fields.get("CPU implementer", "?"), fields["CPU part"]
            known = ARM_PARTS.get(int(part, 16)) if implementer == "0x41" else None
            name = known or f"ARM implementer {implementer} part {part}"
        if name and name not in names:
            names.append(name)
    return " + ".join(names) or None


def _topology(root: Path, cpuinfo: list[dict[str, str]]) -> tuple[int | None, int | None]:
    """Sockets and physical cores: from /sys, else from /proc/cpuinfo, else None."""
    pairs: set[tuple[str, str]] = set()
    for folder in (root / "sys/devices/system/cpu").glob("cpu[0-9]*/topology"):
        package, core = _text(folder / "physical_package_id"), _text(folder / "core_id")
        siblings = _text(folder / "core_cpus_list") or _text(folder / "thread_siblings_list")
        if package is not None and (siblings or core) is not None:
            pairs.add((package, siblings or f"core {core}"))
    if not pairs:
        pairs = {(f["physical id"], f["core id"]) for f in cpuinfo if "physical id" in f and "core id" in f}
    # some boards report package -1: unknown, which is still one and the same
    return (len({package for package, _ in pairs}), len(pairs)) if pairs else (None, None)


def _usable_cpus() -> int | None:
    try:
        return len(os.sched_getaffinity(0))
    except (AttributeError, OSError):  # macOS has no affinity
        return None


def _isa(cpuinfo: list[dict[str, str]]) -> tuple[str, ...] | None:
    """Instruction-set extensions that all cores have, sorted; None where the kernel does not list them."""
    listed = [set((f.get("flags") or f.get("Features") or "").split()) for f in cpuinfo]
    if not listed or not any(listed):
        return None
    common = set.intersection(*listed)
    return tuple(sorted({name for flag, name in ISA_FEATURES.items() if flag in common}))


def _memory(root: Path) -> int | None:
    found = re.search(r"^MemTotal:\s+(\d+) kB", _text(root / "proc/meminfo") or "", re.M)
    if found:
        return int(found[1]) * 1024
    if root != Path("/"):
        return None  # psutil would tell of this machine, not of the recorded one
    import psutil

    return int(psutil.virtual_memory().total)


def _governor(root: Path) -> str | None:
    """The frequency governor; several joined by "+" where cores differ."""
    policies = (root / "sys/devices/system/cpu").glob("cpu[0-9]*/cpufreq/scaling_governor")
    return "+".join(sorted({text for text in map(_text, policies) if text})) or None


def _turbo(root: Path) -> bool | None:
    base = root / "sys/devices/system/cpu"
    off = _text(base / "intel_pstate/no_turbo")
    if off is not None:
        return off == "0"
    boost = _text(base / "cpufreq/boost")
    return None if boost is None else boost == "1"


def _os_name(root: Path) -> str | None:
    found = re.search(r'^PRETTY_NAME="?([^"\n]+)', _text(root / "etc/os-release") or "", re.M)
    if found:
        return found[1]
    return f"{platform.system()} {platform.release()}" if root == Path("/") else None


def _container(root: Path) -> str | None:
    """The container manager, by the marks that it leaves."""
    if (root / ".dockerenv").exists():
        return "docker"
    if (root / "run/.containerenv").exists():
        return "podman"
    named = _text(root / "run/systemd/container")
    if named:
        return named
    groups = _text(root / "proc/1/cgroup") or ""
    return next((name for name in ("kubepods", "docker", "lxc") if name in groups), None)


def _virtualisation(root: Path, cpuinfo: list[dict[str, str]]) -> str | None:
    """The hypervisor: its own name where it gives one, "unnamed" where only the processor's flag tells of it."""
    hypervisor = _text(root / "sys/hypervisor/type")
    if hypervisor:
        return hypervisor
    virtual = any("hypervisor" in f.get("flags", "").split() for f in cpuinfo)
    vendor, product = (_text(root / "sys/class/dmi/id" / name) for name in ("sys_vendor", "product_name"))
    named = " ".join(text for text in (vendor, product) if text)
    return (named or "unnamed") if virtual else None


def _cpu_mhz(root: Path) -> float | None:
    """Mean present frequency in MHz. Virtual machines report the nominal one."""
    policies = (root / "sys/devices/system/cpu").glob("cpu[0-9]*/cpufreq/scaling_cur_freq")
    khz = [float(text) for text in map(_text, policies) if text and text.isdigit()]
    mhz = [value / 1000 for value in khz] or [float(f["cpu MHz"]) for f in _cpuinfo(root) if "cpu MHz" in f]
    return sum(mhz) / len(mhz) if mhz else None


def _temperature() -> float | None:
    """The hottest sensor that belongs to a processor, in °C."""
    import psutil

    if not hasattr(psutil, "sensors_temperatures"):  # Linux and FreeBSD only
        return None
    processors = ("coretemp", "k10temp", "zenpower", "cpu_thermal", "cpu-thermal", "soc_thermal", "acpitz")
    sensors: Iterable[tuple[str, Any]] = psutil.sensors_temperatures().items()
    found = [float(s.current) for name, group in sensors if name in processors for s in group if s.current is not None]
    return max(found) if found else None
