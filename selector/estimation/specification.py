"""What a hardware profile's specification promises the estimator.

Approximations, all corrected by the rates that are fitted on top: a GPU is promised its peak arithmetic and bandwidth;
a CPU so many multiply-accumulates a core and cycle as its vector units are wide, twice as many for int8, and a
bandwidth in proportion to its arithmetic, because what copying reaches is far below what most CPUs state.
"""

from collections.abc import Mapping

from selector.estimation.configuration import Configuration
from selector.estimation.kinship import kernels
from selector.estimation.physical import Promise
from selector.hardware.profiles import HardwareProfile

MACS_PER_CYCLE = {"x86": 16.0, "arm": 4.0}  # fp32, one core: two 8-wide units (AVX2), one 4-wide (NEON)
CORES = {
    # part of the specification's `cpu` → fp32 multiply-accumulates a core and cycle: vector width times units, from the
    # makers' optimisation guides. The fastest core type of a chip is listed before its smaller ones
    "Cortex-X1": 16.0,
    "Apple M1": 16.0,
    "Cortex-A78": 8.0,
    "Cortex-A77": 8.0,
    "Cortex-A76": 8.0,
    "Neoverse": 8.0,
    "Carmel": 8.0,
    "Kunpeng 920": 8.0,
    "Cortex-A75": 8.0,
    "Cortex-A73": 4.0,
    "Cortex-A72": 4.0,
    "Xeon Platinum": 32.0,
    "Xeon Gold": 32.0,
    "Cascade Lake": 32.0,
    "Skylake-X": 32.0,
    "EPYC": 16.0,
    "Xeon E5": 16.0,
}
BYTES_PER_MAC = 0.1  # of a CPU's memory, at fp32 rates
LAUNCH_MS = {True: 0.01, False: 0.02}  # on an accelerator, on a CPU at TYPICAL_CLOCK; an order of magnitude
TYPICAL_CORES, TYPICAL_CLOCK = 4.0, 2.0  # where a specification is silent
UNKNOWN_GPU = (20_000.0, 500.0)  # gmacs at fp16, GB/s: a mid-range card, where a specification is silent
EMBEDDED_GPU = (50.0, 12.8)  # gmacs at fp32, GB/s: the GPU of a board's chip, which profiles do not state
_BYTES = {"fp32": 4, "tf32": 4, "fp16": 2, "bf16": 2, "int8-static": 1, "int8-dynamic": 1}
_PEAKS = {
    "fp32": "peak_gflops_fp32",
    "tf32": "peak_gflops_fp32",
    "fp16": "peak_gflops_fp16",
    "bf16": "peak_gflops_fp16",
    "int8-static": "peak_gops_int8",
    "int8-dynamic": "peak_gops_int8",
}


def precisions() -> tuple[str, ...]:
    """The precisions that the estimator knows."""
    return tuple(_BYTES)


def numbers(profile: HardwareProfile) -> dict[str, float]:
    """The numbers of a specification that are known, by name, and macs_per_cycle where the core type is known."""
    known = {item.name: float(item.value) for item in profile.specification if isinstance(item.value, (int, float))}
    cpu = next((str(item.value) for item in profile.specification if item.name == "cpu"), "")
    wide = next((width for core, width in CORES.items() if core in cpu), None)
    return known if wide is None else {**known, "macs_per_cycle": wide}


def promise(configuration: Configuration, specification: Mapping[str, float]) -> Promise:
    """What the device promises for the configuration; `specification` as `numbers` gives it. Never fails."""
    size = _BYTES[configuration.precision]
    if configuration.accelerated:
        gmacs, gbytes = UNKNOWN_GPU if kernels(configuration) == "gpu" else EMBEDDED_GPU
        peak = specification.get(_PEAKS[configuration.precision])
        bandwidth = specification.get("bandwidth_gb_s", gbytes)
        if configuration.runtime in EMBEDDED_RUNTIMES:
            return Promise(EMBEDDED_GPU[0], bandwidth, LAUNCH_MS[True], size)
        if peak is None:
            fp32 = specification.get("peak_gflops_fp32")
            return Promise(fp32 / 2 if fp32 else gmacs, bandwidth, LAUNCH_MS[True], size)
        return Promise(peak / 2, bandwidth, LAUNCH_MS[True], size)
    cores = float(configuration.threads or specification.get("cores", TYPICAL_CORES))
    clock = specification.get("clock_ghz", TYPICAL_CLOCK)
    group = kernels(configuration)
    wide = specification.get("macs_per_cycle", MACS_PER_CYCLE["x86" if group == "x86" else "arm"])
    fp32 = cores * clock * wide
    return Promise(fp32 * (2 if size == 1 else 1), fp32 * BYTES_PER_MAC, LAUNCH_MS[False] * TYPICAL_CLOCK / clock, size)


EMBEDDED_RUNTIMES = frozenset({"armnn-gpu", "tflite-gpu"})
