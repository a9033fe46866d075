"""What a hardware profile's specification promises the estimator.

Approximations, all corrected by the rates that are fitted on top: a GPU is promised its peak arithmetic, its bandwidth,
and a faster one within its cache; a CPU so many multiply-accumulates a core and cycle as its vector units are wide,
more of them for int8, and a bandwidth in proportion to its arithmetic, because what copying reaches is far below what
most CPUs state. Small cores beside big ones count for what they add.
"""

import re
from collections.abc import Mapping

from selector.estimation.configuration import Configuration
from selector.estimation.kinship import kernels
from selector.estimation.physical import Promise
from selector.hardware.profiles import HardwareProfile

MACS_PER_CYCLE = {"x86": 16.0, "arm": 4.0}  # fp32, one core: two 8-wide units (AVX2), one 4-wide (NEON)
CORES = {
    # part of the specification's `cpu` → fp32 multiply-accumulates a core and cycle: vector width times units, from the
    # makers' optimisation guides. The fastest core type of a chip is listed before its smaller ones
    "Cortex-X": 16.0,
    "Apple M": 16.0,
    "Neoverse V": 16.0,
    "Graviton3": 16.0,
    "Graviton4": 16.0,
    "Cortex-A720": 8.0,
    "Cortex-A715": 8.0,
    "Cortex-A710": 8.0,
    "Cortex-A78": 8.0,
    "Cortex-A77": 8.0,
    "Cortex-A76": 8.0,
    "Neoverse": 8.0,
    "Graviton2": 8.0,
    "Carmel": 8.0,
    "Kunpeng 920": 8.0,
    "Cortex-A75": 8.0,
    "Cortex-A73": 4.0,
    "Cortex-A72": 4.0,
    "Cortex-A57": 4.0,
    # two pipes (LLVM's AArch64SchedA510.td), of 128 or of 64 bits and shared by two cores (en.wikichip.org,
    # Cortex-A510): 2 to 8 a core; the A520 refines the A510 (anandtech.com/show/18871)
    "Cortex-A520": 4.0,
    "Cortex-A510": 4.0,
    "Cortex-A55": 2.0,
    "Cortex-A53": 2.0,
    "Xeon Platinum": 32.0,
    "Xeon Gold": 32.0,
    "Cascade Lake": 32.0,
    "Skylake-X": 32.0,
    "Sandy Bridge": 8.0,  # AVX without fused multiply-adds
    "Ivy Bridge": 8.0,
    "EPYC": 16.0,
    "Xeon E5": 16.0,
    "Golden Cove": 16.0,
    "Gracemont": 8.0,
    **dict.fromkeys(("Intel N1", "Intel N2", "Intel N9"), 8.0),  # N100, N200, N95
}
LITTLE = {"Cortex-A53": 2.0, "Cortex-A55": 2.0, "Cortex-A510": 4.0, "Cortex-A520": 4.0}
LITTLE |= {"Icestorm": 8.0, "Blizzard": 8.0, "Gracemont": 8.0}
"""Cores beside faster ones: they issue in order, or are half as wide, so half of the fast ones' rate a cycle."""
LITTLE_CLOCK = 0.76  # of the fast cores' clock: 1.4 of 1.8 GHz (RK3399), 1.8 of 2.4 (RK3588S), 1.84 of 2.36 (Kirin)
DOT_PRODUCT = (
    *("Cortex-A55", "Cortex-A510", "Cortex-A520", "Cortex-A76", "Cortex-A77", "Cortex-A78"),
    *("Cortex-A710", "Cortex-A715", "Cortex-A720", "Cortex-X"),
    *("Neoverse", "Graviton", "Apple M", "Kunpeng"),
    *("Platinum 82", "Platinum 83", "Platinum 84", "Gold 62", "Gold 63", "Gold 64", "Cascade Lake", "Golden Cove"),
)
"""Cores with the dot product of Armv8.2 or AVX-512 VNNI, which does four int8 multiply-accumulates for each of fp32."""
INT8_GAIN, INT8_GAIN_DOT = 2.0, 4.0  # over fp32, without such an instruction and with it
BYTES_PER_MAC = 0.1  # of a CPU's memory, at fp32 rates
LAUNCH_MS = {True: 0.01, False: 0.02}  # on an accelerator, on a CPU at TYPICAL_CLOCK; an order of magnitude
TYPICAL_CORES, TYPICAL_CLOCK, TYPICAL_CACHE_MB = 4.0, 2.0, 6.0  # where a specification is silent
UNKNOWN_GPU = (20_000.0, 500.0)  # gmacs at fp16, GB/s: a mid-range card, where a specification is silent
EMBEDDED_GPU = (50.0, 12.8)  # gmacs at fp32, GB/s: the GPU of a board's chip, where its model is unknown
EMBEDDED = {"Mali-G610": 64.0}  # fp32 multiply-accumulates a core and cycle; the profile states cores and clock
CACHE_SPEED = 4.0  # of a GPU's level 2 cache over its memory: two to five terabytes a second beside one
GPU_CACHE_MB = {"GA102": 6.0, "AD102": 72.0, "GA100": 40.0, "TU104": 4.0, "H100": 50.0, "A2 ": 2.0}
"""Level 2 cache by chip, as sold (thefpsreview.com 2022/03/02 for GA102; the makers' white papers)."""
GPU_CACHE_MB |= {"GA103": 4.0, "GA104": 4.0, "GA106": 3.0, "GA107": 2.0}
GPU_CACHE_MB |= {"AD103": 64.0, "AD104": 48.0, "AD106": 32.0, "AD107": 32.0}
"""Of whole chips (allcore.be, computerunion.it: from the maker's code); some cards are sold with a part of it."""
_BYTES = {"fp32": 4, "tf32": 4, "fp16": 2, "bf16": 2, "amp": 2, "int8-static": 1, "int8-dynamic": 1}
_PEAKS = {
    "fp32": "peak_gflops_fp32",
    "tf32": "peak_gflops_fp32",
    "fp16": "peak_gflops_fp16",
    "bf16": "peak_gflops_fp16",
    "amp": "peak_gflops_fp16",
    "int8-static": "peak_gops_int8",
    "int8-dynamic": "peak_gops_int8",
}


def precisions() -> tuple[str, ...]:
    """The precisions that the estimator knows."""
    return tuple(_BYTES)


def numbers(profile: HardwareProfile) -> dict[str, float]:
    """The numbers of a specification that are known, by name, and what its core types and chips are known for.

    Of a CPU: macs_per_cycle, int8_gain, and equal_cores, how many of its fastest cores all of its cores are worth. Of a
    GPU: cache_mb, and embedded_gmacs for one on a board's chip.
    """
    known = {item.name: float(item.value) for item in profile.specification if isinstance(item.value, (int, float))}
    text = {item.name: str(item.value or "") for item in profile.specification if item.name in ("cpu", "gpu")}
    cpu, gpu = text.get("cpu", ""), text.get("gpu", "")
    wide = next((width for core, width in CORES.items() if core in cpu), None)
    if wide is not None:
        known["macs_per_cycle"] = wide
        known["int8_gain"] = INT8_GAIN_DOT if any(core in cpu for core in DOT_PRODUCT) else INT8_GAIN
        if "cores" in known:
            known["equal_cores"] = known["cores"] - _missing(cpu, wide)
    for chip, size in GPU_CACHE_MB.items():
        if chip in gpu:
            known["cache_mb"] = size
    for model, macs in EMBEDDED.items():
        if stated := re.search(rf"{model} MP(\d+), ([\d.]+) GHz", gpu):
            known["embedded_gmacs"] = macs * float(stated[1]) * float(stated[2])
    return known


def _missing(cpu: str, wide: float) -> float:
    """How many fast cores the small ones fall short of, together."""
    found = ((core, re.search(rf"(\d+) ?[×x] ?(?:Arm )?{core}", cpu)) for core in LITTLE if LITTLE[core] < wide)
    return sum(float(count[1]) * (1 - LITTLE_CLOCK * LITTLE[core] / wide) for core, count in found if count)


def promise(configuration: Configuration, specification: Mapping[str, float]) -> Promise:
    """What the device promises for the configuration; `specification` as `numbers` gives it. Never fails."""
    size = _BYTES[configuration.precision]
    if configuration.accelerated:
        return _accelerator(configuration, specification, size)
    clock = specification.get("clock_ghz", TYPICAL_CLOCK)
    group = kernels(configuration)
    wide = specification.get("macs_per_cycle", MACS_PER_CYCLE["x86" if group == "x86" else "arm"])
    fp32 = _cores(configuration.threads, specification) * clock * wide
    gain = specification.get("int8_gain", INT8_GAIN) if size == 1 else 1.0
    launch = LAUNCH_MS[False] * TYPICAL_CLOCK / clock
    return Promise(fp32 * gain, fp32 * BYTES_PER_MAC, launch, size, fuses=configuration.fuses)


def _cores(threads: int | None, specification: Mapping[str, float]) -> float:
    """How many of the fastest cores compute: as many as there are threads, and all where nobody says."""
    everything = specification.get("equal_cores", specification.get("cores", TYPICAL_CORES))
    return everything if threads is None else min(float(threads), everything)


def _accelerator(configuration: Configuration, specification: Mapping[str, float], size: int) -> Promise:
    discrete = kernels(configuration) == "gpu"
    gmacs, gbytes = UNKNOWN_GPU if discrete else EMBEDDED_GPU
    bandwidth = specification.get("bandwidth_gb_s", gbytes)
    if configuration.runtime in EMBEDDED_RUNTIMES:
        peak = 2 * specification.get("embedded_gmacs", EMBEDDED_GPU[0])
    else:
        stated = [specification[n] for n in (_PEAKS[configuration.precision], "peak_gflops_fp32") if n in specification]
        # arithmetic that a chip lacks, or has for compatibility alone, is done in fp32
        peak = max(stated, default=2 * gmacs)
    cache = specification.get("cache_mb", TYPICAL_CACHE_MB) * 2**20 if discrete else None
    speed = CACHE_SPEED if discrete else 1.0
    return Promise(peak / 2, bandwidth, LAUNCH_MS[True], size, cache, speed, configuration.fuses)


EMBEDDED_RUNTIMES = frozenset({"armnn-gpu", "tflite-gpu"})
