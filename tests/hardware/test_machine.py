import os
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pytest

from selector.hardware.control_groups import memory_left
from selector.hardware.gpus import Gpu
from selector.hardware.machine import Machine, detect, read_state

# a Raspberry Pi 4 under a 64-bit kernel: no model names, numbers of core designs, a block about the board
PI_CPUINFO = "".join(
    f"processor\t: {i}\nBogoMIPS\t: 108.00\nFeatures\t: fp asimd evtstrm crc32 cpuid\nCPU implementer\t: 0x41\n"
    "CPU architecture: 8\nCPU variant\t: 0x0\nCPU part\t: 0xd08\nCPU revision\t: 3\n\n"
    for i in range(4)
)
PI = {
    "proc/cpuinfo": PI_CPUINFO + "Hardware\t: BCM2711\nRevision\t: c03114\nModel\t: Raspberry Pi 4 Model B Rev 1.4\n",
    "proc/device-tree/model": "Raspberry Pi 4 Model B Rev 1.4\0",
    "proc/meminfo": "MemTotal:        3882164 kB\nMemFree: 1 kB\n",
    **{f"sys/devices/system/cpu/cpu{i}/topology/physical_package_id": "0\n" for i in range(4)},
    **{f"sys/devices/system/cpu/cpu{i}/topology/core_id": f"{i}\n" for i in range(4)},
    **{f"sys/devices/system/cpu/cpu{i}/topology/core_cpus_list": f"{i}\n" for i in range(4)},
    **{f"sys/devices/system/cpu/cpu{i}/cpufreq/scaling_governor": "ondemand\n" for i in range(4)},
    **{f"sys/devices/system/cpu/cpu{i}/cpufreq/scaling_cur_freq": "1500000\n" for i in range(4)},
    "etc/os-release": 'ID=debian\nPRETTY_NAME="Debian GNU/Linux 12 (bookworm)"\n',
}

# two sockets of two cores with two threads each, in a container of a virtual machine
XEON_FLAGS = "fpu sse4_2 avx avx2 fma f16c avx512f avx512_vnni amx_tile amx_int8 hypervisor"
XEON = {
    "proc/cpuinfo": "\n\n".join(
        f"processor\t: {i}\nmodel name\t: Intel(R) Xeon(R) Platinum 8481C CPU @ 2.70GHz\nphysical id\t: {i // 4}\n"
        f"core id\t\t: {i // 2 % 2}\ncpu MHz\t\t: {2000 + 100 * i}\nflags\t\t: {XEON_FLAGS}"
        for i in range(8)
    ),
    "proc/meminfo": "MemTotal:       65536000 kB\n",
    "sys/devices/system/cpu/intel_pstate/no_turbo": "1\n",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "powersave\n",
    "sys/devices/system/cpu/cpu1/cpufreq/scaling_governor": "performance\n",
    "sys/class/dmi/id/sys_vendor": "Google\n",
    "sys/class/dmi/id/product_name": "Google Compute Engine\n",
    "sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count": "3\n",
    "sys/devices/system/cpu/cpu1/thermal_throttle/core_throttle_count": "4\n",
    "proc/driver/nvidia/version": "NVRM version: NVIDIA UNIX Kernel Module  550.54.15  Tue\n",
    "proc/driver/nvidia/gpus/0000:00:04.0/information": "Model: \t\t NVIDIA L4\nIRQ:   \t\t 24\n",
    "proc/driver/nvidia/gpus/0000:00:05.0/information": "Model: \t\t NVIDIA L4\nIRQ:   \t\t 25\n",
    ".dockerenv": "",
}


def recorded(root: Path, *files: dict[str, str]) -> Path:
    for name, text in {name: text for each in files for name, text in each.items()}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def test_raspberry_pi(tmp_path: Path) -> None:
    machine = detect(recorded(tmp_path, PI))
    assert (machine.cpu_model, machine.board) == ("Cortex-A72", "Raspberry Pi 4 Model B Rev 1.4")
    assert (machine.sockets, machine.cores, machine.logical_cpus) == (1, 4, 4)
    assert machine.isa == ("neon",)
    assert machine.memory_bytes == 3882164 * 1024
    assert (machine.governor, machine.turbo) == ("ondemand", None)
    assert (machine.container, machine.virtualisation, machine.gpus) == (None, None, ())
    assert machine.os == "Debian GNU/Linux 12 (bookworm)"
    assert machine.slug() == "raspberry-pi-4-model-b-rev-1.4-4c"


def test_virtual_machine_with_gpus(tmp_path: Path) -> None:
    machine = detect(recorded(tmp_path, XEON))
    assert (machine.sockets, machine.cores, machine.logical_cpus) == (2, 4, 8)
    assert machine.isa == ("amx_int8", "amx_tile", "avx", "avx2", "avx512_vnni", "avx512f", "f16c", "fma", "sse4_2")
    assert (machine.governor, machine.turbo) == ("performance+powersave", False)
    assert (machine.container, machine.virtualisation) == ("docker", "Google Google Compute Engine")
    assert machine.gpus == (Gpu("NVIDIA L4", driver="550.54.15"),) * 2
    assert machine.slug() == "intel-xeon-platinum-8481c-4c-2x-nvidia-l4"


def test_mixed_and_unknown_arm_cores(tmp_path: Path) -> None:
    parts = ("0xd03", "0xd09", "0xfff")
    text = "\n".join(f"processor : {i}\nCPU implementer : 0x41\nCPU part : {p}\n" for i, p in enumerate(parts))
    text += "\nprocessor : 3\nCPU implementer : 0x61\nCPU part : 0x022\n"
    machine = detect(recorded(tmp_path, {"proc/cpuinfo": text}))
    assert machine.cpu_model == (
        "Cortex-A53 + Cortex-A73 + ARM implementer 0x41 part 0xfff + ARM implementer 0x61 part 0x022"
    )


def test_the_cores_of_a_phone_are_known_by_name(tmp_path: Path) -> None:
    parts = ("0xd46", "0xd80", "0xd4d", "0xd81", "0xd4e")
    text = "\n".join(f"processor : {i}\nCPU implementer : 0x41\nCPU part : {p}\n" for i, p in enumerate(parts))
    machine = detect(recorded(tmp_path, {"proc/cpuinfo": text}))
    assert machine.cpu_model == "Cortex-A510 + Cortex-A520 + Cortex-A715 + Cortex-A720 + Cortex-X3"


def test_isa_is_what_all_cores_have(tmp_path: Path) -> None:
    text = "processor : 0\nFeatures : asimd asimddp i8mm\n\nprocessor : 1\nFeatures : asimd asimddp\n"
    assert detect(recorded(tmp_path, {"proc/cpuinfo": text})).isa == ("dotprod", "neon")


def test_what_cannot_be_read_is_none(tmp_path: Path) -> None:
    machine = detect(tmp_path)
    unreadable = ("cpu_model", "board", "sockets", "cores", "quota_cpus", "isa", "memory_bytes", "memory_limit_bytes")
    unreadable += ("governor", "turbo", "os", "container", "virtualisation")
    assert {name: getattr(machine, name) for name in unreadable} == dict.fromkeys(unreadable)
    assert machine.gpus == ()
    assert machine.threads >= 1
    assert machine.slug().startswith("unknown-")


V2 = {"proc/self/cgroup": "0::/kubepods/pod1/job\n", "sys/fs/cgroup/kubepods/pod1/job/cpu.max": "max 100000\n"}
V2_UNLIMITED = {"sys/fs/cgroup/kubepods/pod1/cpu.max": "max 100000\n", "sys/fs/cgroup/memory.max": "max\n"}
V1 = {
    "proc/self/cgroup": "5:memory:/docker/abc\n4:cpu,cpuacct:/docker/abc\n0::/\n",
    "sys/fs/cgroup/memory/memory.limit_in_bytes": "536870912\n",
    "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
}


@pytest.mark.parametrize(
    ("files", "cpus", "memory"),
    [
        ({**V2, **V2_UNLIMITED}, None, None),
        ({**V2, "sys/fs/cgroup/kubepods/pod1/cpu.max": "150000 100000\n"}, 1.5, None),
        ({**V2, "sys/fs/cgroup/kubepods/cpu.max": "50000 100000", "sys/fs/cgroup/memory.max": "1024\n"}, 0.5, 1024),
        ({"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/cpu.max": "200000 100000\n"}, 2.0, None),
        # inside a container the path is the host's, of which only the root is mounted
        ({**V1, "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "250000\n"}, 2.5, 536870912),
        ({**V1, "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "-1\n"}, None, 536870912),
        ({**V1, "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n"}, None, None),
    ],
)
def test_control_groups(tmp_path: Path, files: dict[str, str], cpus: float | None, memory: int | None) -> None:
    machine = detect(recorded(tmp_path, files))
    assert (machine.quota_cpus, machine.memory_limit_bytes) == (cpus, memory)


GROUP2 = "sys/fs/cgroup/kubepods/pod1/"
GROUP1 = "sys/fs/cgroup/memory/"


@pytest.mark.parametrize(
    ("files", "left"),
    [
        (V2, None),
        ({**V2, f"{GROUP2}memory.max": "max\n", f"{GROUP2}memory.current": "700\n"}, None),
        ({**V2, f"{GROUP2}memory.max": "1000\n", f"{GROUP2}memory.current": "700\n"}, 300),
        # what it holds of files counts as free
        (
            {
                **V2,
                f"{GROUP2}memory.max": "1000\n",
                f"{GROUP2}memory.current": "700\n",
                f"{GROUP2}memory.stat": "anon 300\ninactive_file 250\nactive_file 150\n",
            },
            700,
        ),
        # the narrowest is the one with the least left, not with the lowest limit
        (
            {
                **V2,
                f"{GROUP2}job/memory.max": "1000\n",
                f"{GROUP2}job/memory.current": "100\n",
                f"{GROUP2}memory.max": "2000\n",
                f"{GROUP2}memory.current": "1900\n",
            },
            100,
        ),
        ({**V2, f"{GROUP2}memory.max": "1000\n", f"{GROUP2}memory.current": "1001\n"}, 0),
        ({**V2, f"{GROUP2}memory.max": "1000\n"}, 1000),
        (
            {
                **V1,
                f"{GROUP1}memory.usage_in_bytes": "500000000\n",
                f"{GROUP1}memory.stat": "inactive_file 1\ntotal_inactive_file 63129088\n",
            },
            100000000,
        ),
    ],
)
def test_what_control_groups_leave_of_their_memory(tmp_path: Path, files: dict[str, str], left: int | None) -> None:
    assert memory_left(recorded(tmp_path, files)) == left


def test_threads_are_cut_to_the_quota() -> None:
    here = detect()
    for usable, quota, threads in ((8, None, 8), (8, 2.5, 3), (2, 6.0, 2), (8, 0.2, 1), (None, None, 16)):
        assert replace(here, logical_cpus=16, usable_cpus=usable, quota_cpus=quota).threads == threads


def test_this_machine_agrees_with_psutil() -> None:
    machine = detect()
    assert machine.logical_cpus == psutil.cpu_count()
    assert machine.memory_bytes == psutil.virtual_memory().total
    if psutil.cpu_count(logical=False) is not None:
        assert machine.cores == psutil.cpu_count(logical=False)
    assert machine.usable_cpus == len(psutil.Process().cpu_affinity())
    assert machine == detect()  # nothing in it changes with load
    assert machine.slug() == detect().slug()


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity") or os.cpu_count() == 1, reason="needs two CPUs and affinity")
def test_affinity_counts() -> None:
    allowed = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(allowed)})
    try:
        assert detect().usable_cpus == detect().threads == 1
    finally:
        os.sched_setaffinity(0, allowed)


def test_state(tmp_path: Path) -> None:
    before = datetime.now(UTC)
    state = read_state()
    assert before <= state.at <= datetime.now(UTC)
    assert state.load_average is not None
    assert state.memory_available_bytes is not None
    assert read_state(recorded(tmp_path / "xeon", XEON)).throttle_events == 7
    assert read_state(tmp_path / "xeon").cpu_mhz == 2350
    assert read_state(recorded(tmp_path / "pi", PI)).cpu_mhz == 1500


def test_slug_is_a_plain_name() -> None:
    here = detect()

    def slug(model: str) -> str:
        return replace(here, cpu_model=model, board=None, cores=8, gpus=()).slug()

    assert slug("AMD Ryzen 7 4800H with Radeon Graphics") == "amd-ryzen-7-4800h-8c"
    assert slug("11th Gen Intel(R) Core(TM) i7-1165G7 @ 2.80GHz") == "11th-gen-intel-core-i7-1165g7-8c"
    assert slug("AMD EPYC 7763 64-Core Processor") == "amd-epyc-7763-64-core-8c"


def test_no_model_library_is_imported() -> None:
    code = (
        "import sys; from selector.hardware import fingerprint, machine;"
        "fingerprint.environment(machine.detect()); machine.read_state(); print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert not {"torch", "numpy", "onnxruntime", "openvino"} & set(done.stdout.split())


def test_plain_data() -> None:
    machine = replace(detect(), gpus=(Gpu("NVIDIA L4"),))
    assert isinstance(machine, Machine)
    assert machine.as_json()["gpus"][0]["name"] == "NVIDIA L4"
    assert read_state().as_json()["at"].endswith("+00:00")
