"""`selector estimate`, `hardware calibrate`, `plan` and `import-evidence` as a user runs them."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from selector.cli.estimate import rests_on
from selector.cli.main import main
from selector.evidence.record import Conditions, Provenance, Record
from selector.evidence.store import open_store
from selector.hardware.loading import profile

HEAD = "model,resolution,batch_size,runtime,precision,p50_ms"
GOOD = [
    "resnet50,224,1,onnxruntime,fp32,40",
    "resnet18,224,1,onnxruntime,fp32,17.8",
    "vgg16,224,1,onnxruntime,fp32,167",
    "efficientnet_b0,224,1,onnxruntime,fp32,14",
    "mobilenetv2_100,224,1,onnxruntime,fp32,4.6",
]


@pytest.fixture(autouse=True)
def isolated(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SELECTOR_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("SELECTOR_HARDWARE_PROFILES", raising=False)
    monkeypatch.delenv("SELECTOR_STORE", raising=False)


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["selector", *arguments])
    with pytest.raises(SystemExit) as caught:
        main()
    code = caught.value.code
    return 0 if code is None else int(code)


def figures(tmp_path: Path, *rows: str, head: str = HEAD) -> str:
    path = tmp_path / "figures.csv"
    path.write_text("\n".join([head, *rows]) + "\n")
    return str(path)


def test_estimate_as_json_follows_the_contract(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = (
        "estimate",
        "resnet18",
        "mobilenetv2_100",
        "--hardware",
        "raspberry-pi-4",
        "--runtime",
        "tflite",
        "--json",
    )
    assert run(monkeypatch, *arguments) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["schema_version"] == 1
    by = {(r["backbone"], r["precision"]): r for r in document["records"]}
    assert by["mobilenetv2_100", "fp32"]["provenance"] == "published"
    estimated = by["resnet18", "fp32"]
    assert estimated["provenance"] == "estimated"
    assert estimated["low"] < estimated["value"] < estimated["high"]
    assert estimated["unit"] == "ms"
    assert "layers" in estimated["source"]


def test_a_class_is_stated_on_its_first_device(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "estimate", "resnet18", "--hardware", "edge", "--precision", "fp32") == 0
    said = capsys.readouterr()
    assert "raspberry-pi-4" in said.err
    assert "resnet18" in said.out


def test_bad_questions_are_told_at_once(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, "estimate", "resnet5", "vgg", "--hardware", "raspberry-pi-4") == 2
    said = capsys.readouterr().err
    assert "resnet5" in said
    assert "'vgg'" in said
    assert run(monkeypatch, "estimate", "resnet50") == 2
    assert run(monkeypatch, "estimate", "--hardware", "raspberry-pi-4") == 2
    assert run(monkeypatch, "estimate", "resnet18", "--hardware", "nvidia-rtx-4090", "--runtime", "tensorrt") == 5


def test_sizes_that_no_figure_says_anything_of_are_refused_together(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sizes = ("--batch", "1000000000", "--resolution", "100000")
    assert run(monkeypatch, "estimate", "resnt18", "--hardware", "raspberry-pi-4", *sizes) == 2
    told = capsys.readouterr().err.splitlines()
    assert [line.removeprefix("selector: ") for line in told[1:]] == [
        "resolution 100000 is not between 1 and 2048 pixels",
        "batch 1000000000 is not between 1 and 1024, the largest that any figure is of",
    ]
    assert "did you mean 'resnet18'" in told[0]
    assert run(monkeypatch, "estimate", "resnet18", "--hardware", "edge", "--batch", "0", "--resolution", "0") == 2
    assert len(capsys.readouterr().err.splitlines()) == 2
    asked = ("resnet18", "--hardware", "raspberry-pi-4", "--runtime", "tflite", "--json")
    assert run(monkeypatch, "estimate", *asked, "--batch", "1024", "--resolution", "2048") == 0
    for record in json.loads(capsys.readouterr().out)["records"]:
        assert "extrapolated to 2048 px" in record["source"]
        assert "extrapolated to batch 1024" in record["source"]


def test_a_batch_as_large_as_an_own_figure_s_is_no_slip(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ("estimate", "resnet18", "--hardware", "raspberry-pi-4", "--runtime", "tflite", "--precision", "fp32")
    assert run(monkeypatch, *asked, "--batch", "4096") == 2
    at = Conditions("resnet18", "raspberry-pi-4", "tflite", "2.11", "fp32", 224, 4096, 4)
    own = Record.of("latency_ms_p50", 90_000.0, at, provenance=Provenance.PUBLISHED, source="a colleague")
    with open_store() as store:
        store.add([own])
    capsys.readouterr()
    assert run(monkeypatch, *asked, "--batch", "4096", "--json") == 0
    [record] = json.loads(capsys.readouterr().out)["records"]
    assert record["value"] == 90000
    assert run(monkeypatch, *asked, "--batch", "4097") == 2


def test_faults_of_hardware_backbones_runtimes_and_precisions_are_told_together(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    asked = ("resnt50", "--hardware", "rasberry-pi-4", "--runtime", "tflte,armnn", "--precision", "fp23")
    assert run(monkeypatch, "estimate", *asked) == 2
    told = capsys.readouterr().err
    assert len(told.splitlines()) == 4
    for nearest in ("resnet50", "raspberry-pi-4", "tflite", "fp32"):
        assert f"did you mean '{nearest}'" in told
    assert run(monkeypatch, "hardware", "plan", "edge", "--runtime", "tflte", "--precision", "fp23") == 2
    told = capsys.readouterr().err
    assert [line.rpartition("; ")[2] for line in told.splitlines()] == [
        "did you mean 'tflite'?",
        "did you mean 'fp32'?",
    ]
    for command in (
        ("calibrate", "rasberry-pi-4", "--from", str(tmp_path / "missing.csv")),
        ("import-evidence", "rasberry-pi-4", str(tmp_path / "missing.csv")),
    ):
        assert run(monkeypatch, "hardware", *command) == 2
        told = capsys.readouterr().err
        assert len(told.splitlines()) == 2
        assert "did you mean 'raspberry-pi-4'" in told
        assert "missing.csv" in told
    archive = str(tmp_path / "probe.zip")
    asked = ("--hardware", "rasberry-pi-4", "--backbone", "resnt50", "--backbone", "vgg61", "-o", archive)
    assert run(monkeypatch, "probe", "build", *asked) == 2
    assert len(capsys.readouterr().err.splitlines()) == 3


def test_ids_are_whole_and_what_estimates_rest_on_is_told_once_in_80_columns(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    names = ("resnet50", "vgg16", "tf_mobilenetv3_small_minimal_100")
    assert run(monkeypatch, "estimate", *names, "--hardware", "raspberry-pi-4") == 0
    lines = capsys.readouterr().out.splitlines()
    assert max(len(line.rstrip()) for line in lines) <= 80
    assert "…" not in "".join(lines)
    assert "e+0" not in "".join(lines), "numbers are written out"
    titles = [line.rstrip() for line in lines if line.rstrip().endswith(", batch 1")]
    assert "tflite int8-static, batch 1" in titles
    for name in names:
        assert sum(line.startswith(f"{name} ") for line in lines) == len(titles)
    assert sum(line.startswith("tflite int8-static: estimated") for line in lines) == 1


def test_what_several_estimates_rest_on_is_one_sentence() -> None:
    assert rests_on(["a; 90% of it", "a", "a; 97% of it"]) == "a; for 2 of 3, 90 to 97% of it"
    assert rests_on(["a; 90% of it"]) == "a; 90% of it"


def test_many_backbones_of_which_nothing_can_be_said_are_counted(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ("estimate", "--all", "--hardware", "nvidia-rtx-4090", "--runtime", "tensorrt", "--precision", "fp32,fp16")
    assert run(monkeypatch, *asked) == 5
    told = [line.removeprefix("selector: ") for line in capsys.readouterr().err.splitlines()]
    assert told == [
        f"nothing can be said of 62 backbones with tensorrt {p} on nvidia-rtx-4090" for p in ("fp32", "fp16")
    ]


def test_calibrate_makes_a_device_and_estimates_follow(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    source = figures(tmp_path, *GOOD)
    assert run(monkeypatch, "hardware", "calibrate", "my-box", "--from", source, "--like", "cpu") == 0
    assert "5 figures" in capsys.readouterr().out
    own = profile("my-box")
    assert {(f.backbone, f.value) for f in own.published} >= {("resnet50", 40.0), ("mobilenetv2_100", 4.6)}
    assert own.published[0].source.startswith("figures.csv, line ")
    assert (
        run(
            monkeypatch,
            "estimate",
            "resnet34",
            "--hardware",
            "my-box",
            "--runtime",
            "onnxruntime",
            "--precision",
            "fp32",
            "--json",
        )
        == 0
    )
    (record,) = json.loads(capsys.readouterr().out)["records"]
    assert 20 < record["value"] < 60


def test_calibrate_adds_to_a_shipped_device(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    before = profile("raspberry-pi-4")
    source = figures(tmp_path, *GOOD)
    assert run(monkeypatch, "hardware", "calibrate", "raspberry-pi-4", "--from", source, "--json") == 0
    (check,) = json.loads(capsys.readouterr().out)["configurations"]
    assert check["figures"] == 5
    after = profile("raspberry-pi-4")
    assert after.published[: len(before.published)] == before.published
    assert len(after.published) == len(before.published) + 5
    assert after.specification == before.specification


def test_every_bad_row_is_told_and_nothing_written(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    bad = ["resnet5,224,1,onnxruntime,fp32,10", GOOD[0], "resnet18,224x,1,onnxruntime,fp99,-3", GOOD[0]]
    assert run(monkeypatch, "hardware", "calibrate", "my-box", "--from", figures(tmp_path, *bad), "--like", "cpu") == 2
    said = capsys.readouterr().err
    assert "line 2" in said
    assert "line 4: resolution" in said
    assert "line 4: precision" in said
    assert "line 4: p50_ms" in said
    assert "line 5: says again what line 3 says" in said
    assert not (tmp_path / "home" / "hardware_profiles").exists()


def test_digits_of_other_scripts_and_control_characters_are_no_fault_of_the_product(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    bad = figures(tmp_path, "resnet50,²,1,onnxruntime,fp32,10", f"resnet50,{9 * '9'}9,1,onnxruntime,fp32,10")
    assert run(monkeypatch, "hardware", "calibrate", "my-box", "--from", bad, "--like", "cpu") == 2
    said = capsys.readouterr().err
    assert "line 2: resolution '²' is no whole number" in said
    assert "line 3: resolution '9999999999' is no whole number" in said
    odd = figures(tmp_path, GOOD[0] + ',"a\x7f ""b"" {}"', head=HEAD + ",source")
    assert run(monkeypatch, "hardware", "calibrate", "my-box", "--from", odd, "--like", "cpu") == 0
    assert profile("my-box").published[0].source == 'a\x7f "b" {}'


def test_slips_of_a_table_are_told_with_their_lines(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    rows = ("224,1,onnxruntime,fp32,1_000", "224,1,onnxruntime,fp32,1,5", "224,1,onnxruntime,fp32,1e-320")
    sizes = ("resnet50,1,1,onnxruntime,fp32,10", "resnet50,4096,1,onnxruntime,fp32,10")
    bad = figures(tmp_path, *(f"resnet50,{row}" for row in rows), *sizes)
    assert run(monkeypatch, "hardware", "calibrate", "my-box", "--from", bad, "--like", "cpu") == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "line 2: p50_ms '1_000' is no number" in said
    assert "line 3: has more cells than there are columns" in said
    assert "line 4: p50_ms '1e-320' is no time that an inference takes" in said
    assert "line 5: an image of 1 × 1 pixels is too small for resnet50" in said
    assert "line 6: resolution 4096 is above 2048 pixels" in said


def test_figures_that_contradict_each_other_are_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    mixed = figures(
        tmp_path, *GOOD, "mobilenetv1_100,224,1,onnxruntime,fp32,4000", "resnet34,224,1,onnxruntime,fp32,0.01"
    )
    assert run(monkeypatch, "hardware", "calibrate", "my-box", "--from", mixed, "--like", "cpu") == 0
    assert "7 figures, which contradict each other" in capsys.readouterr().out


def test_a_misspelt_runtime_is_told_with_its_line_and_a_class_is_no_device(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    source = figures(tmp_path, *GOOD, "resnet34,224,1,onxruntime,fp32,30")
    assert run(monkeypatch, "hardware", "calibrate", "my-box", "--from", source, "--like", "cpu") == 2
    told = capsys.readouterr().err
    assert "line 7: no runtime 'onxruntime'" in told
    assert "did you mean 'onnxruntime'?" in told
    for command in (("calibrate", "edge", "--from", source), ("import-evidence", "edge", source)):
        assert run(monkeypatch, "hardware", *command) == 2
        assert "edge is a class; figures are of one device, for example raspberry-pi-4" in capsys.readouterr().err


def test_missing_columns_and_devices_are_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    source = figures(tmp_path, "resnet50,224", head="model,resolution")
    assert run(monkeypatch, "hardware", "calibrate", "my-box", "--from", source, "--like", "cpu") == 2
    assert "p50_ms or ms_per_sample" in capsys.readouterr().err
    assert run(monkeypatch, "hardware", "calibrate", "my-box", "--from", figures(tmp_path, *GOOD)) == 2
    assert "no hardware 'my-box'" in capsys.readouterr().err


def test_plan_lists_measurements(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, "hardware", "plan", "raspberry-pi-4", "--runtime", "onnxruntime", "-n", "3", "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert document["hardware"] == "raspberry-pi-4"
    assert len({m["backbone"] for m in document["measurements"]}) == 3
    assert run(monkeypatch, "hardware", "plan", "edge", "-n", "2") == 0
    assert len(capsys.readouterr().out.splitlines()) == 2


def test_evidence_of_another_device_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    record = {
        "backbone": "resnet18", "hardware": "jetson-nano", "runtime": "onnxruntime", "runtime_version": "1.20",
        "precision": "fp32", "resolution": 224, "batch_size": 1, "threads": 4, "metric": "latency_ms_p50", "n": 100,
        "value": 90.0, "unit": "ms", "low": 89.0, "high": 91.0, "provenance": "measured", "source": "a", "stable": True,
        "fingerprint": "0123456789ab", "protocol": "1", "recorded_at": "2026-01-01T00:00:00+00:00",
    }  # fmt: skip
    path = tmp_path / "measured.json"
    path.write_text(json.dumps({"schema_version": 1, "records": [record], "environments": {}}))
    assert run(monkeypatch, "hardware", "import-evidence", "raspberry-pi-4", str(path)) == 2
    assert "jetson-nano" in capsys.readouterr().err
    assert run(monkeypatch, "hardware", "import-evidence", "jetson-nano", str(path)) == 0
    assert (
        run(monkeypatch, "estimate", "resnet18", "--hardware", "jetson-nano", "--runtime", "onnxruntime", "--json") == 0
    )
    (found,) = json.loads(capsys.readouterr().out)["records"]
    assert (found["provenance"], found["value"]) == ("measured", 90.0)


def test_estimate_needs_no_torch() -> None:
    code = (
        "import sys; sys.argv = ['selector', 'estimate', '--all', '--hardware', 'raspberry-pi-4', '--json']\n"
        "from selector.cli.main import app\n"
        "try: app()\n"
        "except SystemExit: pass\n"
        "assert 'torch' not in sys.modules and 'timm' not in sys.modules, 'torch was imported'\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)["records"]) > 200
