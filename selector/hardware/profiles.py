"""Hardware profiles: a device or a class of devices, read from one TOML file each.

Shipped profiles lie in `hardware_profiles/`; a user's own lie in `SELECTOR_HOME/hardware_profiles` or in the folder
that `--hardware-profiles` or `SELECTOR_HARDWARE_PROFILES` names, and win over a shipped one of the same name.
"""

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """A class stands for devices of a sort; a device is one product."""

    CLASS = "class"
    DEVICE = "device"


@dataclass(frozen=True, slots=True)
class SpecificationItem:
    """One line of a specification. `value` is None where it is unknown; then `source` says so."""

    name: str  # the unit stands in it: peak_gflops_fp32, bandwidth_gb_s, memory_gb, power_w, cores …
    value: float | str | None
    source: str


@dataclass(frozen=True, slots=True)
class RuntimeOffer:
    """A runtime that the hardware can execute, and the precisions it offers there."""

    name: str
    precisions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Limits:
    """Default limits of a class, each with the reason in `why`. None: no limit."""

    latency_ms: float | None = None
    memory_mb: float | None = None
    artifact_mb: float | None = None
    why: str = ""


@dataclass(frozen=True, slots=True)
class PublishedFigure:
    """One published figure of a backbone on a device; `metric` is a name of the metric registry."""

    metric: str
    backbone: str
    resolution: int
    batch_size: int
    runtime: str
    runtime_version: str
    precision: str
    threads: int | None
    value: float
    source: str


@dataclass(frozen=True, slots=True)
class HardwareProfile:
    """A device or a class of devices. A class has reference devices, the first of which its limits are held on."""

    name: str
    kind: Kind
    title: str
    title_zh: str
    device_kind: str  # gpu | x86-cpu | arm-cpu | board | phone | accelerator …: what estimators group by
    specification: tuple[SpecificationItem, ...]
    runtimes: tuple[RuntimeOffer, ...]
    limits: Limits
    reference_devices: tuple[str, ...]
    published: tuple[PublishedFigure, ...]
    origin: str  # the file it was read from, or "detected"
