"""The probe: its archive, its protocol, and a run where nothing but onnxruntime and numpy is installed."""

import importlib.util
import json
import os
import subprocess
import sys
import zipfile
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from selector.errors import InvalidInput, OutputFailed, RuntimeUnavailable
from selector.evidence.exchange import load
from selector.profiling import probe_device, protocol
from selector.profiling.probe import SCRIPT, ProbeModel, build, exported
from selector.profiling.protocol import Tracker

SMALL = ProbeModel("mobilenetv3_small_050", 64)


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("probe")
    previous = os.environ.get("SELECTOR_HOME")
    os.environ["SELECTOR_HOME"] = str(folder / "home")
    try:
        return build("raspberry-pi-4", [SMALL], folder / "probe.zip", threads=1, graph=exported)
    finally:
        if previous is None:
            del os.environ["SELECTOR_HOME"]
        else:
            os.environ["SELECTOR_HOME"] = previous


def test_the_archive_holds_all_that_is_needed(archive: Path) -> None:
    with zipfile.ZipFile(archive) as opened:
        assert set(opened.namelist()) == {"probe.py", "plan.json", "README.txt", SMALL.file}
        plan = json.loads(opened.read("plan.json"))
        assert opened.read("probe.py") == SCRIPT.read_bytes()
        assert "evidence import" in opened.read("README.txt").decode()
    assert plan["hardware"] == "raspberry-pi-4"
    assert plan["protocol"] == protocol.PROTOCOL_VERSION
    assert plan["models"][0]["file"] == SMALL.file


def test_it_measures_where_nothing_else_is_installed(archive: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(archive) as opened:
        opened.extractall(tmp_path / "probe")
    only = tmp_path / "site"
    only.mkdir()
    for package in (p for name in ("numpy", "onnxruntime") for p in _parts(name)):
        (only / package.name).symlink_to(package)
    done = subprocess.run(
        [sys.executable, "-S", "probe.py", "-o", str(tmp_path / "figures.json"), "--deadline", "2"],
        cwd=tmp_path / "probe",
        env={"PYTHONPATH": str(only), "PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    figures = load([tmp_path / "figures.json"])
    p50 = next(r for r in figures.records if r.figure.metric.name == "latency_ms_p50")
    assert p50.conditions.hardware == "raspberry-pi-4"
    assert (p50.conditions.backbone, p50.conditions.resolution, p50.conditions.threads) == (SMALL.backbone, 64, 1)
    assert p50.figure.low is not None
    assert p50.figure.low <= p50.figure.value
    assert p50.fingerprint in figures.environments
    assert {r.figure.metric.name for r in figures.records} >= {"load_ms", "first_inference_ms"}


def test_a_failing_model_loses_no_other_figure(archive: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(archive) as opened:
        opened.extractall(tmp_path / "probe")
    plan = json.loads((tmp_path / "probe" / "plan.json").read_text())
    plan["models"].insert(0, {**plan["models"][0], "file": "models/absent.onnx"})
    (tmp_path / "probe" / "plan.json").write_text(json.dumps(plan))
    code = _main(tmp_path / "probe")(["-o", str(tmp_path / "figures.json"), "--deadline", "1"])
    assert code == 1
    assert load([tmp_path / "figures.json"]).records


def test_its_file_is_for_old_pythons_too() -> None:
    """Its syntax, and every module, function and argument that it takes from the standard library."""
    vermin = [sys.executable, "-c", "import vermin; vermin.main()", "--target=3.8-", "--violations", "--no-tips"]
    checked = subprocess.run([*vermin, str(SCRIPT)], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stdout


def test_tflite_models_stand_beside_the_others(tmp_path: Path) -> None:
    both = [SMALL, replace(SMALL, runtime="tflite")]
    empty = tmp_path / "empty"
    empty.touch()
    made = build("raspberry-pi-4", both, tmp_path / "probe.zip", graph=lambda model: empty)
    with zipfile.ZipFile(made) as opened:
        assert {m.file for m in both} <= set(opened.namelist())
        assert "pip install onnxruntime ai-edge-litert numpy" in opened.read("README.txt").decode()
        plan = json.loads(opened.read("plan.json"))
    assert [m["runtime"] for m in plan["models"]] == ["onnxruntime", "tflite"]


def test_tflite_models_need_their_converter(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SELECTOR_HOME", str(tmp_path))
    monkeypatch.setitem(sys.modules, "litert_torch", None)
    with pytest.raises(RuntimeUnavailable, match=r"backbone-selector\[tflite\]"):
        exported(replace(SMALL, runtime="tflite"))


def test_tflite_models_are_measured(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("litert_torch", reason="the extra tflite is not installed")
    monkeypatch.setenv("SELECTOR_HOME", str(tmp_path / "home"))
    lite = replace(SMALL, runtime="tflite")
    made = build("raspberry-pi-4", [lite], tmp_path / "probe.zip", threads=1, graph=exported)
    with zipfile.ZipFile(made) as opened:
        opened.extractall(tmp_path / "probe")
    assert _main(tmp_path / "probe")(["-o", str(tmp_path / "figures.json"), "--deadline", "1"]) == 0
    figures = load([tmp_path / "figures.json"])
    p50 = next(r for r in figures.records if r.figure.metric.name == "latency_ms_p50")
    assert p50.conditions.runtime == "tflite"
    assert (p50.conditions.runtime_version or "").startswith("LiteRT ")
    assert figures.environments[p50.fingerprint or ""]["libraries"]["tflite"] == p50.conditions.runtime_version


def test_a_runtime_that_is_missing_there_fails_its_models_alone(archive: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(archive) as opened:
        opened.extractall(tmp_path / "probe")
    plan = json.loads((tmp_path / "probe" / "plan.json").read_text())
    plan["models"].insert(0, {**plan["models"][0], "runtime": "tflite"})
    (tmp_path / "probe" / "plan.json").write_text(json.dumps(plan))
    code = _main(tmp_path / "probe")(["-o", str(tmp_path / "figures.json"), "--deadline", "1"])
    assert code == 1
    assert {r.conditions.runtime for r in load([tmp_path / "figures.json"]).records} == {"onnxruntime"}


@pytest.mark.parametrize("seed", range(12))
def test_its_protocol_is_the_products(seed: int) -> None:
    rng = np.random.default_rng(seed)
    tracker, run = Tracker(), probe_device.Run()
    level = (40.0, 5.0, 700.0)[seed % 3]
    while not tracker.finished:
        size = tracker.next_window()
        assert run.next_window() == size
        window = list(
            level
            * (1 + 0.02 * (seed // 3) * rng.standard_normal(size))
            * (1 + 0.01 * (seed % 4) * rng.standard_normal())
            + (3.0 if len(run.windows) < 2 else 0)
        )
        tracker.add(window)
        run.add(window)
        assert run.finished() == tracker.finished
    measured = tracker.measurement()
    samples = run.steady()
    assert (len(samples), float(np.median(samples))) == (measured.n, measured.p50)
    assert probe_device.median_interval(run.steady_windows()) == (measured.low, measured.high)
    assert probe_device.p90_bound(samples) == measured.p90
    assert (run.doubt() is None) == measured.stable
    assert (probe_device.PROTOCOL_VERSION, probe_device.TARGET) == (protocol.PROTOCOL_VERSION, protocol.TARGET)


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    with pytest.raises(OutputFailed, match="missing"):
        build("raspberry-pi-4", [SMALL], tmp_path / "missing" / "probe.zip", graph=lambda model: tmp_path)
    with pytest.raises(InvalidInput, match="at least one"):
        build("raspberry-pi-4", [], tmp_path / "probe.zip", graph=lambda model: tmp_path)


def _parts(package: str) -> list[Path]:
    """A package's folder, and the folder of libraries beside it."""
    found = importlib.util.find_spec(package)
    assert found is not None
    assert found.origin is not None
    folder = Path(found.origin).parent
    return [p for p in (folder, folder.with_name(f"{package}.libs")) if p.exists()]


def _main(folder: Path):  # type: ignore[no-untyped-def]
    spec = importlib.util.spec_from_file_location("probe_under_test", folder / "probe.py")
    assert spec is not None
    assert spec.loader is not None
    module: ModuleType = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.main
