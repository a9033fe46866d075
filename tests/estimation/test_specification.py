"""What a specification promises."""

from dataclasses import replace

import pytest

from selector.estimation.configuration import Configuration
from selector.estimation.specification import INT8_GAIN, INT8_GAIN_DOT, numbers, promise
from selector.hardware.loading import profile
from selector.hardware.profiles import HardwareProfile, SpecificationItem


def configuration(
    device: str, runtime: str = "tflite", precision: str = "fp32", threads: int | None = None
) -> Configuration:
    return Configuration(device, profile(device).device_kind, runtime, "", precision, "", threads)


def test_small_cores_count_for_what_they_add() -> None:
    mixed, alike = numbers(profile("firefly-rk3588s")), numbers(profile("raspberry-pi-4"))
    assert 4 < mixed["equal_cores"] < 6  # four big ones and four small ones
    assert alike["equal_cores"] == alike["cores"] == 4


def test_one_thread_is_one_fast_core() -> None:
    known = numbers(profile("firefly-rk3588s"))
    one, every = (promise(configuration("firefly-rk3588s", threads=n), known).gmacs for n in (1, None))
    assert one == pytest.approx(2.4 * 8)
    assert every == pytest.approx(known["equal_cores"] * one)


@pytest.mark.parametrize(("device", "gain"), [("raspberry-pi-4", INT8_GAIN), ("jetson-agx-orin", INT8_GAIN_DOT)])
def test_int8_gains_more_where_the_cores_have_a_dot_product(device: str, gain: float) -> None:
    known = numbers(profile(device))
    fp32, int8 = (promise(configuration(device, precision=p), known).gmacs for p in ("fp32", "int8-static"))
    assert int8 == pytest.approx(gain * fp32)


@pytest.mark.parametrize(
    ("cpu", "width", "gain"),
    [
        ("Broadcom BCM2712, 4 × Arm Cortex-A76", 8, INT8_GAIN_DOT),
        ("Broadcom BCM2837, 4 × Arm Cortex-A53", 2, INT8_GAIN),
        ("AWS Graviton3 (Neoverse V1)", 16, INT8_GAIN_DOT),
        ("Apple M2, 4 × Avalanche and 4 × Blizzard", 16, INT8_GAIN_DOT),
        ("4 × Arm Cortex-A720", 8, INT8_GAIN_DOT),
        ("4 × Arm Cortex-A520", 4, INT8_GAIN_DOT),
        ("Intel Xeon E5-2670 (Sandy Bridge)", 8, INT8_GAIN),
        ("Intel Core i7-12700H, 6 × Golden Cove and 8 × Gracemont", 16, INT8_GAIN_DOT),
    ],
)
def test_core_types_are_known_by_name(cpu: str, width: float, gain: float) -> None:
    known = numbers(stating(cpu=cpu))
    assert (known["macs_per_cycle"], known["int8_gain"]) == (width, gain)


def test_small_cores_that_are_alone_count_whole() -> None:
    assert numbers(stating(cpu="4 × Arm Cortex-A53", cores=4))["equal_cores"] == 4
    assert 6 < numbers(stating(cpu="6 × Golden Cove and 8 × Gracemont", cores=14))["equal_cores"] < 14


@pytest.mark.parametrize("times", [" × ", " x ", "x"])
@pytest.mark.parametrize("small", ["Cortex-A510", "Cortex-A520"])
def test_small_cores_of_phones_count_less_than_the_big_ones_beside_them(small: str, times: str) -> None:
    known = numbers(stating(cpu=f"4{times}Arm Cortex-A720 and 4{times}{small}", cores=8))
    assert known["macs_per_cycle"] == 8  # of the big ones
    # half of what a big one does in a cycle, at 0.76 of its clock
    assert known["equal_cores"] == pytest.approx(4 + 4 * 0.38)


def test_a_card_without_fast_half_precision_computes_in_single() -> None:
    card = numbers(stating(gpu="GP104", peak_gflops_fp32=8873.0, peak_gflops_fp16=139.0))
    asked = Configuration("new", "gpu", "torch-eager", "", "fp16")
    assert promise(asked, card).gmacs == pytest.approx(8873 / 2)


def stating(**items: str | float) -> HardwareProfile:
    """A device that states these items of a specification and nothing else."""
    return replace(
        profile("raspberry-pi-4"),
        name="new",
        specification=tuple(SpecificationItem(name, value, "a test") for name, value in items.items()),
        published=(),
    )


def test_gpus_have_caches_and_boards_have_gpus() -> None:
    known = numbers(profile("nvidia-rtx-4090"))
    card = promise(configuration("nvidia-rtx-4090", "torch-eager", "fp16"), known)
    assert card.cache_bytes == 72 * 2**20
    assert not card.fuses
    assert promise(configuration("nvidia-rtx-4090", "torch-compile", "fp16"), known).fuses
    mali = promise(configuration("firefly-rk3588s", "armnn-gpu"), numbers(profile("firefly-rk3588s")))
    assert mali.gmacs == pytest.approx(4 * 64)
    assert mali.cache_bytes is None


def test_a_silent_specification_promises_something() -> None:
    for kind, runtime in (
        ("gpu", "torch-eager"),
        ("board", "tflite"),
        ("x86-cpu", "onnxruntime"),
        ("board", "tflite-gpu"),
    ):
        promised = promise(Configuration("new", kind, runtime, "", "fp16"), {})
        assert promised.gmacs > 0
        assert (promised.units() > 0).all()
