"""The profile of this machine, made from what was detected."""

from selector.hardware.machine import Machine
from selector.hardware.profiles import HardwareProfile, Kind, Limits, RuntimeOffer, SpecificationItem

DETECTED = "detected"


def local_profile(machine: Machine) -> HardwareProfile:
    """The profile "local": this machine's CPU, its specification as detected, no limits and no published figures.

    Peak rates, bandwidth and power cannot be read from a system; they are stated as unknown. Figures of this machine
    are measured (`selector profile`) and lie in the evidence store.
    """
    arm = machine.architecture.lower() in ("aarch64", "arm64", "armv7l", "armv8l")
    gpus = ", ".join(gpu.name for gpu in machine.gpus)
    memory = machine.memory_bytes if machine.memory_limit_bytes is None else machine.memory_limit_bytes
    model = machine.cpu_model or machine.board
    title = f"{model}, {machine.threads} threads" if model else f"this machine, {machine.threads} threads"
    return HardwareProfile(
        name="local",
        kind=Kind.DEVICE,
        title=f"This machine: {title}" if model else title.capitalize(),
        title_zh=f"本机:{model or '未知处理器'},{machine.threads} 线程",
        device_kind="arm-cpu" if arm else "x86-cpu",
        specification=(
            _item("cpu", model),
            _item("gpu", gpus or None, absent="none was found"),
            _item("cores", machine.cores),
            _item("clock_ghz", None),
            _item("peak_gflops_fp32", None),
            _item("bandwidth_gb_s", None),
            _item("memory_gb", None if memory is None else round(memory / 1e9, 1)),
            _item("power_w", None),
        ),
        runtimes=(RuntimeOffer("torch-eager", ("fp32",)), RuntimeOffer("onnxruntime", ("fp32",))),
        limits=Limits(),
        reference_devices=(),
        published=(),
        origin=DETECTED,
    )


def _item(name: str, value: float | str | None, *, absent: str = "cannot be read here") -> SpecificationItem:
    return SpecificationItem(name, value, f"unknown: {absent}" if value is None else DETECTED)
