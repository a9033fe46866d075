"""The wheel carries what it needs and answers in an environment that holds no checkout."""

import json
import os
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", str(ROOT), "--no-deps", "--no-build-isolation", "-q", "-w", str(folder)],
        check=True,
    )
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def elsewhere(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh environment with the wheel; its dependencies come from the environment that runs the tests."""
    folder = tmp_path_factory.mktemp("elsewhere") / "venv"
    venv.create(folder, with_pip=False)
    site = folder / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}" / "site-packages"
    # a path in a .pth file is not itself searched for .pth files, so the editable checkout stays out
    (site / "dependencies.pth").write_text(sysconfig.get_paths()["purelib"] + "\n", encoding="utf-8")
    pip = [sys.executable, "-m", "pip", "--python", str(folder / "bin" / "python")]
    subprocess.run([*pip, "install", "-q", "--no-deps", "--ignore-installed", str(wheel)], check=True)
    return folder


def run(environment: Path, *arguments: str, home: Path) -> subprocess.CompletedProcess[str]:
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("SELECTOR_", "PYTHON"))}
    return subprocess.run(
        [str(environment / "bin" / arguments[0]), *arguments[1:]],
        cwd="/",
        env=clean | {"SELECTOR_HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_wheel_carries_profiles_and_templates_and_no_examples(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    assert "selector/_data/hardware_profiles/edge.toml" in names
    assert any(n.startswith("selector/_data/reports/templates/") for n in names)
    assert not [n for n in names if "examples" in n or n.startswith(("tests/", "benchmarks/"))]
    assert {"selector/py.typed", "selector/profiling/runtimes/block.onnx"} <= set(names)


def test_the_wheel_is_what_runs(elsewhere: Path, tmp_path: Path) -> None:
    where = run(elsewhere, "python", "-c", "import selector; print(selector.__file__)", home=tmp_path)
    assert where.stdout.startswith(str(elsewhere)), where.stderr


def test_the_wheel_answers_from_the_root_folder(elsewhere: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    words = ["recommend", "--hardware", "edge", "--data-size", "5000", "--json"]
    answer = run(elsewhere, "selector", *words, "-o", str(page), home=tmp_path / "home")
    assert answer.returncode == 0, answer.stderr
    document = json.loads(answer.stdout)
    assert document["schema_version"] == 1
    assert document["recommendation"]["backbone"]
    assert page.read_text(encoding="utf-8").startswith("<!doctype html>")
