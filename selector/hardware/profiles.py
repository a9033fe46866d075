"""Hardware profiles: a device or a class of devices, read from one TOML file each.

Shipped profiles lie in `hardware_profiles/`; a user's own lie in `SELECTOR_HOME/hardware_profiles` or in the folder
that `--hardware-profiles` or `SELECTOR_HARDWARE_PROFILES` names, and win over a shipped one of the same name.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from selector.errors import close_name

SPECIFICATION: dict[str, str] = {
    "cpu": "the processor and its core types",
    "gpu": "the graphics processor or other accelerator",
    "cores": "physical CPU cores, all types together; for a discrete GPU its streaming multiprocessors",
    "clock_ghz": "clock of the fastest CPU cores, GHz; for a discrete GPU its boost clock",
    "peak_gflops_fp32": "peak fp32 of the device's fastest processor, GFLOP/s, 2 for a fused multiply-add, no sparsity",
    "peak_gflops_fp16": "peak fp16 of the device's fastest processor, GFLOP/s, dense (tensor cores where it has them)",
    "peak_gops_int8": "peak int8 of the device's fastest processor, GOP/s, dense",
    "cpu_peak_gflops_fp32": "peak fp32 of all CPU cores, GFLOP/s, where the fastest processor is a GPU",
    "bandwidth_gb_s": "theoretical memory bandwidth, GB/s (10^9 bytes)",
    "memory_gb": "memory as sold, GB; shared by CPU and GPU on a board",
    "power_w": "highest power of board, module or card, W: the vendor's limit, or measured where the source says so",
}
"""What a specification can state: name with its unit → meaning. `cpu` and `gpu` are text, all others numbers."""

TEXT_ITEMS = ("cpu", "gpu")

PRECISIONS = ("fp32", "tf32", "fp16", "bf16", "amp", "int8-dynamic", "int8-static")

LARGEST_RESOLUTION = 2048
"""Pixels a side of a figure's image beyond which it is taken for a slip."""

RUNTIMES: dict[str, str] = {
    "torch-eager": "PyTorch, op by op",
    "torch-eager-nhwc": "PyTorch, op by op, channels last",
    "torch-compile": "PyTorch, compiled by Inductor",
    "torch-cuda": "PyTorch on an NVIDIA GPU",
    "onnxruntime": "ONNX Runtime on the CPU",
    "onnxruntime-cuda": "ONNX Runtime on an NVIDIA GPU",
    "openvino": "OpenVINO",
    "openppl": "OpenPPL",
    "tensorrt": "TensorRT",
    "tensorrt-rtx": "TensorRT for RTX",
    "tflite": "TensorFlow Lite on the CPU",
    "tflite-gpu": "TensorFlow Lite with its GPU delegate",
    "tflite-edgetpu": "TensorFlow Lite on an Edge TPU",
    "armnn": "Arm NN on the CPU",
    "armnn-gpu": "Arm NN on a Mali GPU",
}
"""The runtimes that are measured here or have published figures: id → what it is. A profile may offer others."""


def unknown_ids(runtimes: Iterable[str], precisions: Iterable[str], *, offered: Iterable[str] = ()) -> list[str]:
    """A sentence for each runtime and precision of which nothing is known; `offered` runtimes are known too."""
    rows = (("runtime", runtimes, (*RUNTIMES, *offered)), ("precision", precisions, PRECISIONS))
    return [
        f"no {what} {name!r}; known are: {', '.join(known)}{close_name(name, known)}"
        for what, names, known in rows
        for name in names
        if name not in known
    ]


class Kind(StrEnum):
    """A class stands for devices of a sort; a device is one product."""

    CLASS = "class"
    DEVICE = "device"


@dataclass(frozen=True, slots=True)
class SpecificationItem:
    """One line of a specification. `value` is None where it is unknown; then `source` says so."""

    name: str  # a name of SPECIFICATION; the unit stands in it
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
    why_zh: str = ""


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
    origin: str  # the file it was read from (a shipped one relative to the installation), or "detected"

    def specified(self, name: str) -> float | None:
        """The number that the specification states for `name` (a name of SPECIFICATION), None where it is unknown."""
        for item in self.specification:
            if item.name == name and isinstance(item.value, int | float):
                return float(item.value)
        return None

    def as_json(self) -> dict[str, Any]:
        """The profile as plain data; the specification by name, each item {value, source}, value null if unknown."""
        return {
            "name": self.name,
            "kind": self.kind.value,
            "title": self.title,
            "title_zh": self.title_zh,
            "device_kind": self.device_kind,
            "specification": {item.name: {"value": item.value, "source": item.source} for item in self.specification},
            "runtimes": [{"name": offer.name, "precisions": list(offer.precisions)} for offer in self.runtimes],
            "limits": asdict(self.limits),
            "reference_devices": list(self.reference_devices),
            "published": [asdict(figure) for figure in self.published],
            "origin": self.origin,
        }
