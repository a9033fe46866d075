"""The shipped profiles: valid, sourced, and true to the published tables that they were taken from."""

import csv
import re
from collections import defaultdict
from pathlib import Path

import pytest

from selector.evidence.metrics import METRICS
from selector.hardware.loading import load_profiles, profile, profile_files, reference_device
from selector.hardware.profiles import RUNTIMES, SPECIFICATION, TEXT_ITEMS, HardwareProfile, Kind, PublishedFigure

SHARED = Path(__file__).parents[2].parent / "shared" / "data"
CLASSES = ("cpu", "edge", "gpu", "mobile")
ASKED_FOR = (
    "raspberry-pi-4",
    "jetson-agx-orin",
    "jetson-agx-xavier",
    "firefly-rk3399",
    "macbook-pro-m1",
    "aws-c5.4xlarge",
    "intel-i9-10940x",
    "nvidia-rtx-3090",
    "nvidia-rtx-4090",
    "nvidia-t4",
    "nvidia-a100-pcie-80gb",
)
# what an estimator may ask for: known, or said to be unknown
EXPECTED_ITEMS = (
    "peak_gflops_fp32",
    "peak_gflops_fp16",
    "peak_gops_int8",
    "bandwidth_gb_s",
    "memory_gb",
    "power_w",
    "cores",
)


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> dict[str, HardwareProfile]:
    return load_profiles(tmp_path_factory.mktemp("no-profiles-of-my-own"))


@pytest.fixture(autouse=True)
def isolated(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SELECTOR_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("SELECTOR_HARDWARE_PROFILES", raising=False)


def test_all_classes_and_devices_are_there(shipped: dict[str, HardwareProfile]) -> None:
    assert tuple(name for name, p in shipped.items() if p.kind is Kind.CLASS) == CLASSES
    assert set(ASKED_FOR) <= {name for name, p in shipped.items() if p.kind is Kind.DEVICE}
    assert list(shipped)[: len(CLASSES)] == list(CLASSES), "classes come first"


def test_each_specification_item_has_a_source_or_is_unknown(shipped: dict[str, HardwareProfile]) -> None:
    devices = [p for p in shipped.values() if p.kind is Kind.DEVICE]
    for device in devices:
        assert set(EXPECTED_ITEMS) <= {item.name for item in device.specification}, device.name
        for item in device.specification:
            assert item.name in SPECIFICATION
            assert item.value is not None or item.source.startswith("unknown: "), (device.name, item)
            assert isinstance(item.value, str | None) if item.name in TEXT_ITEMS else not isinstance(item.value, str)
    known = [item for device in devices for item in device.specification if item.value is not None]
    assert len(known) > 100
    assert all(len(item.source) > 10 for item in known)


@pytest.mark.parametrize(
    ("name", "bounds"),
    [
        ("clock_ghz", (1, 6)),  # a figure in MHz or in TFLOP/s falls outside
        ("peak_gflops_fp32", (100, 200_000)),
        ("peak_gflops_fp16", (100, 2_000_000)),
        ("peak_gops_int8", (1_000, 4_000_000)),
        ("bandwidth_gb_s", (3, 5_000)),
        ("memory_gb", (1, 200)),
        ("power_w", (3, 700)),
        ("cores", (2, 256)),
    ],
)
def test_units_are_those_of_the_names(
    shipped: dict[str, HardwareProfile], name: str, bounds: tuple[float, float]
) -> None:
    stated = {p.name: p.specified(name) for p in shipped.values() if p.specified(name) is not None}
    assert stated
    assert {n: v for n, v in stated.items() if v is not None and not bounds[0] <= v <= bounds[1]} == {}


def test_a_specification_is_read_by_name(shipped: dict[str, HardwareProfile]) -> None:
    assert shipped["nvidia-t4"].specified("bandwidth_gb_s") == 320
    assert shipped["raspberry-pi-4"].specified("peak_gflops_fp32") is None  # unknown
    assert shipped["raspberry-pi-4"].specified("cpu") is None  # text is no number


def test_published_figures_are_of_registered_metrics_and_cited(shipped: dict[str, HardwareProfile]) -> None:
    figures = [f for p in shipped.values() for f in p.published]
    assert len(figures) > 2000
    for figure in figures:
        assert METRICS[figure.metric].unit == "ms"
        assert figure.value > 0
        assert "/" in figure.source
        assert "{}" not in figure.source
        assert (figure.metric == "ms_per_sample") == (figure.batch_size > 1)
    assert {f.precision for f in figures} == {"fp32", "fp16", "int8-static"}


def test_a_device_offers_what_it_has_figures_of(shipped: dict[str, HardwareProfile]) -> None:
    for p in shipped.values():
        offered = {(offer.name, precision) for offer in p.runtimes for precision in offer.precisions}
        assert {(f.runtime, f.precision) for f in p.published} <= offered, p.name


@pytest.mark.parametrize("name", CLASSES)
def test_a_class_says_why_in_both_languages_and_has_a_reference_device(name: str) -> None:
    found = profile(name)
    assert re.search(r"[a-z]{4}", found.limits.why)
    assert re.search(r"[一-鿿]{4}", found.limits.why_zh)
    reference = reference_device(found)
    assert reference.name == found.reference_devices[0]
    assert reference.kind is Kind.DEVICE
    assert reference_device(reference) is reference
    offered = {offer.name for offer in found.runtimes}
    assert {f.runtime for f in reference.published} & offered, "the class offers a runtime that has figures"
    assert all(profile(device).kind is Kind.DEVICE for device in found.reference_devices)


@pytest.mark.parametrize("name", ["edge", "mobile", "cpu"])
def test_a_latency_limit_divides_the_reference_devices_figures(name: str) -> None:
    found = profile(name)
    limit = found.limits.latency_ms
    assert limit is not None
    figures = [f.value for f in reference_device(found).published if f.metric == "latency_ms_p50"]
    within = sum(v <= limit for v in figures)
    assert within >= 5, "a useful choice is left"
    assert name == "cpu" or within < len(figures), "the limit can bind"


def test_no_file_is_named_differently_from_its_profile(shipped: dict[str, HardwareProfile], tmp_path: Path) -> None:
    files = profile_files(tmp_path)
    assert set(files) == set(shipped)
    assert {p.origin for p in shipped.values()} == {f"hardware_profiles/{path.name}" for path in files.values()}


# --- the figures against the tables that they were taken from

Key = tuple[str, str, int, int, str, str, float]  # metric, backbone, resolution, batch, runtime, precision, value


def _keys(figures: list[PublishedFigure], prefix: str) -> set[tuple[Key, str]]:
    return {
        ((f.metric, f.backbone, f.resolution, f.batch_size, f.runtime, f.precision, f.value), f.source)
        for f in figures
        if f.source.startswith(prefix)
    }


def _table(name: str) -> list[dict[str, str]]:
    path = SHARED / name
    if not path.is_file():
        pytest.skip(f"no {name} beside this checkout to compare with")
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_mlperf_figures_are_the_newest_of_the_published_ones(shipped: dict[str, HardwareProfile]) -> None:
    newest: dict[tuple[str, ...], list[dict[str, str]]] = defaultdict(list)
    for row in _table("latency_mlperf_edge.csv"):
        # the systems/*.json of the submissions: "firefly" is an RK3588S from round v2.1 on
        late = row["device"] == "firefly-rk3399" and float(row["round"][1:]) >= 2.1
        device = "firefly-rk3588s" if late else row["device"]
        newest[device, row["runtime"], row["precision"], row["model"], row["resolution"]].append(row)
    expected: dict[str, set[tuple[Key, str]]] = defaultdict(set)
    for (device, runtime, precision, model, resolution), rows in newest.items():
        best = max(_recency(row) for row in rows)
        for row in (r for r in rows if _recency(r) == best):
            source = f"mlcommons/inference_results_{row['round']} {row['source']}"
            for metric, column in (("latency_ms_p50", "p50_ms"), ("latency_ms_p90", "p90_ms")):
                word = precision.replace("int8", "int8-static")
                key = (metric, model, int(resolution), 1, runtime, word, float(row[column]))
                expected[device].add((key, source))
    assert set(expected) <= set(shipped)
    for device, figures in expected.items():
        assert _keys(list(shipped[device].published), "mlcommons/") == figures, device


def _recency(row: dict[str, str]) -> tuple[tuple[int, ...], float]:
    """Version, then round. "master" and no version at all are older than any number."""
    numbers = tuple(int(n) for n in re.findall(r"\d+", row["runtime_version"]))
    return numbers or (-1,), float(row["round"][1:])


def test_timm_figures_are_the_published_ones(shipped: dict[str, HardwareProfile]) -> None:
    expected: dict[str, set[Key]] = defaultdict(set)
    for row in _table("latency_timm.csv"):
        if row["layout"] != "nchw":  # the layout that PyTorch computes in unless told otherwise
            continue
        batch = int(row["batch_size"])
        metric = "ms_per_sample" if batch > 1 else "latency_ms_p50"
        precision = row["precision"].replace("amp-fp16", "fp16")
        key = (metric, row["model"], int(row["resolution"]), batch, row["runtime"], precision)
        expected[row["device"]].add((*key, float(row["ms_per_sample"])))
    for device, figures in expected.items():
        mine = _keys(list(shipped[device].published), "huggingface/pytorch-image-models")
        assert {key for key, _ in mine} == figures, device


@pytest.mark.parametrize(
    ("device", "runtime", "precision", "figures"),
    [
        ("jetson-nano", "tensorrt", "fp16", {"resnet18": 11.4, "resnet50": 29.8, "vgg16": 85.1}),
        ("jetson-nano", "torch-eager", "fp16", {"resnet34": 64.8, "resnet152": 204, "vgg13": 156}),
        ("jetson-agx-xavier", "tensorrt", "fp16", {"resnet18": 1.64, "vgg19": 8.61, "mobilenetv2_100": 1.67}),
        ("jetson-agx-xavier", "torch-eager", "fp16", {"resnet50": 17.9, "vgg16": 16.5, "mobilenetv2_100": 15.4}),
        ("pixel-4", "tflite", "fp32", {"tf_efficientnet_lite0": 12, "tf_efficientnet_lite4": 76}),
        ("pixel-4", "tflite", "int8-static", {"tf_efficientnet_lite0": 6.5, "tf_efficientnet_lite4": 30}),
        ("pixel-4", "tflite-edgetpu", "int8-static", {"tf_efficientnet_lite0": 3.8, "tf_efficientnet_lite3": 9.7}),
        ("pixel-1", "tflite", "fp32", {"tf_mobilenetv3_large_100": 51.2, "tf_mobilenetv3_small_100": 15.8}),
        ("pixel-3", "tflite", "int8-static", {"tf_mobilenetv3_large_100": 32}),
        ("kunpeng-920", "openppl", "fp32", {"mobilenetv2_100": 24.25, "resnet50": 221.66, "vgg16": 390.07}),
        ("kunpeng-920", "openppl", "fp16", {"resnet18": 34.07, "vgg16": 186.66}),
    ],
)
def test_figures_of_the_readme_tables(
    shipped: dict[str, HardwareProfile], device: str, runtime: str, precision: str, figures: dict[str, float]
) -> None:
    mine = {
        f.backbone: f.value
        for f in shipped[device].published
        if (f.runtime, f.precision) == (runtime, precision) and f.resolution in (224, 280, 300)
    }
    assert {backbone: mine[backbone] for backbone in figures} == figures


def test_every_runtime_that_is_measured_or_published_is_a_known_one() -> None:
    from selector.profiling import runtimes

    published = {f.runtime for p in load_profiles().values() for f in p.published}
    offered = {offer.name for p in load_profiles().values() for offer in p.runtimes}
    assert set(RUNTIMES) == {*runtimes.RUNTIMES, *published, *offered}
