"""What a hardware profile's specification promises the estimator.

Approximations, all corrected by the rates that are fitted on top: a GPU is promised its peak arithmetic and bandwidth;
a CPU so many multiply-accumulates a core and cycle (AVX2: two 8-wide units; NEON: one 4-wide), twice as many for int8,
and a bandwidth in proportion to its arithmetic, because what copying reaches is far below what most CPUs state.
"""

from collections.abc import Mapping

from selector.estimation.configuration import Configuration
from selector.estimation.kinship import kernels
from selector.estimation.physical import Promise
from selector.hardware.profiles import HardwareProfile

MACS_PER_CYCLE = {"x86": 16.0, "arm": 4.0}  # fp32, one core
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
    """The numbers of a specification that are known, by name."""
    return {item.name: float(item.value) for item in profile.specification if isinstance(item.value, (int, float))}


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
    fp32 = cores * clock * MACS_PER_CYCLE["x86" if group == "x86" else "arm"]
    return Promise(fp32 * (2 if size == 1 else 1), fp32 * BYTES_PER_MAC, LAUNCH_MS[False] * TYPICAL_CLOCK / clock, size)


EMBEDDED_RUNTIMES = frozenset({"armnn-gpu", "tflite-gpu"})
