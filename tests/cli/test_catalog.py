import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from selector.cli.main import app
from selector.errors import InvalidInput, OutputFailed

runner = CliRunner()


def test_json_follows_the_contract() -> None:
    result = runner.invoke(app, ["catalog", "--json"])
    assert result.exit_code == 0
    document = json.loads(result.stdout)
    assert document["schema_version"] == 1
    assert len(document["backbones"]) >= 45
    entry = next(b for b in document["backbones"] if b["name"] == "resnet50")
    assert entry["family"] == "resnet"
    assert entry["blocks"] == 17 == len(entry["block_list"])
    assert entry["params"] == 25_557_032
    assert round(entry["macs"]["torchvision"] / 1e9, 3) == 4.089
    assert round(entry["macs"]["fvcore"] / 1e9, 3) == 4.112
    assert entry["resolution"] == 224
    assert set(entry["imagenet_top1"]) >= {"value", "weights", "source"}


def test_a_family_alone() -> None:
    document = json.loads(runner.invoke(app, ["catalog", "--family", "vgg", "--json"]).stdout)
    assert {b["family"] for b in document["backbones"]} == {"vgg"}


def test_the_table_names_each_backbone_its_units_and_its_source() -> None:
    result = runner.invoke(app, ["catalog", "--family", "mobilenet"])
    assert result.exit_code == 0
    for text in ("mobilenetv2_100", "GMACs", "none published", "results-imagenet.csv", "Backbones: 22"):
        assert text in result.stdout
    assert "resnet50" not in result.stdout


def test_some_backbones_and_some_families() -> None:
    document = json.loads(runner.invoke(app, ["catalog", "vgg16", "resnet50", "vgg16", "--json"]).stdout)
    assert [b["name"] for b in document["backbones"]] == ["vgg16", "resnet50"]
    document = json.loads(runner.invoke(app, ["catalog", "--family", "vgg,mobilenet", "--json"]).stdout)
    assert {b["family"] for b in document["backbones"]} == {"vgg", "mobilenet"}
    faults = runner.invoke(app, ["catalog", "VGG61", "resnet", "--family", "VGG,foo"]).exception
    assert isinstance(faults, InvalidInput)
    assert len(faults.faults) == 4
    assert "did you mean 'vgg'" in faults.faults[0]
    assert "did you mean 'vgg1" in faults.faults[2]
    assert "none of resnet50" in str(runner.invoke(app, ["catalog", "resnet50", "--family", "vgg"]).exception)


def test_names_are_whole_and_nothing_is_lost_in_80_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    lines = runner.invoke(app, ["catalog", "--family", "mobilenet"]).stdout.splitlines()
    assert max(len(line.rstrip()) for line in lines) <= 80
    rows = [line.split() for line in lines if line.startswith("tf_mobilenetv3_large_minimal_100 ")]
    assert {"3.92", "0.209", "224", "72.3", "17", "mobilenet", "in1k"} <= {cell for row in rows for cell in row}


def test_a_misspelt_family_gets_a_suggestion() -> None:
    result = runner.invoke(app, ["catalog", "--family", "mobilent"])
    assert isinstance(result.exception, InvalidInput)
    assert "did you mean 'mobilenet'" in str(result.exception)


def test_output_goes_to_a_file_or_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "catalog.json"
    result = runner.invoke(app, ["catalog", "--json", "-o", str(file)])
    assert result.exit_code == 0
    assert result.stdout == ""
    assert json.loads(file.read_text())["schema_version"] == 1
    by_suffix = tmp_path / "by_suffix.json"
    runner.invoke(app, ["catalog", "-o", str(by_suffix)])
    assert by_suffix.read_text() == file.read_text()
    result = runner.invoke(app, ["catalog", "-o", str(tmp_path / "nowhere" / "catalog.json")])
    assert isinstance(result.exception, OutputFailed)
