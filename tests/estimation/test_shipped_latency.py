"""The data that the estimator ships, and the command that makes it."""

import json
from importlib.resources import files
from pathlib import Path

import pytest

from selector.errors import InvalidInput
from selector.estimation import training
from selector.estimation.features import TERMS
from selector.estimation.figures import read_series, version_key
from selector.estimation.fit import fit, promised_by
from selector.estimation.kinship import SETTINGS
from selector.estimation.knowledge import KNOWLEDGE, Knowledge, as_json, shipped
from selector.estimation.leave_out import predict_left_out, widening
from selector.hardware.loading import load_profiles

DATA = Path(__file__).resolve().parents[3] / "shared" / "data"
needs_data = pytest.mark.skipif(not DATA.is_dir(), reason=f"no folder of figures at {DATA}")


def test_shipped_data_is_whole() -> None:
    known = shipped()
    assert known.settings == SETTINGS
    assert {"gpu", "x86", "arm"} == set(known.widening)
    assert all(len(f.theta) == len(TERMS) == len(f.information) for f in known.fitted)
    assert {"torch-eager", "torch-compile", "tflite", "armnn"} <= {f.configuration.runtime for f in known.fitted}


@needs_data
def test_the_shipped_data_is_what_the_figures_give() -> None:
    profiles = load_profiles()
    series = read_series(DATA, profiles)
    again = Knowledge(fit(series, promised_by(series, profiles), SETTINGS), SETTINGS, shipped().widening)
    text = (files("selector.estimation") / "data" / KNOWLEDGE).read_text(encoding="utf-8")
    kept, made = json.loads(text), as_json(again)
    assert [c["device"] for c in kept["configurations"]] == [c["device"] for c in made["configurations"]]
    for before, after in zip(kept["configurations"], made["configurations"], strict=True):
        assert before["log_rates"] == pytest.approx(after["log_rates"], abs=2e-3)
        assert [r[:3] for r in before["residuals"]] == [r[:3] for r in after["residuals"]]


@needs_data
def test_a_left_out_device_is_predicted() -> None:
    profiles = load_profiles()
    series = read_series(DATA, profiles)
    promised = promised_by(series, profiles)
    left = next(s for s in series if s.configuration.device == "raspberry-pi-4" and s.configuration.runtime == "tflite")
    rest = [s for s in series if s.configuration.device != "raspberry-pi-4"]
    knowledge = Knowledge(fit(rest, promised, SETTINGS), SETTINGS, {})
    blind, informed = predict_left_out(left, promised[left.configuration], knowledge, 8)
    assert len(informed.given) == 8
    assert len(informed.subjects) == len(left.subjects) - 8
    assert informed.relative_errors.mean() < 0.12
    assert informed.deviations.mean() < blind.deviations.mean()
    assert set(widening([blind], [informed])["arm"]) == {"0", "0 int8", "8"}


@needs_data
def test_training_is_fitted_again_from_the_same_figures() -> None:
    known = training.fit_training(DATA, load_profiles())
    assert known is not None
    text = (files("selector.estimation") / "data" / training.DATA).read_text(encoding="utf-8")
    made, kept = training.as_json(known), json.loads(text)
    assert made.keys() == kept.keys()
    assert made["device"] == kept["device"]
    for name in ("log_rates", "spread", "bytes_per_element", "bytes_spread"):
        assert made[name] == pytest.approx(kept[name], rel=1e-2)


def test_figures_are_read_by_their_columns(tmp_path: Path) -> None:
    head = "device,runtime,runtime_version,precision,model,resolution,batch_size,p50_ms,round"
    names = [f"resnet{n}" for n in (18, 26, 34, 50, 101, 152)] + [f"vgg{n}" for n in (11, 13, 16, 19)]
    rows = [
        f"raspberry-pi-4,tflite,{v},int8,{m},224,1,{10 + i},v1.0" for v in ("2.9", "2.11") for i, m in enumerate(names)
    ]
    rows += [
        "raspberry-pi-4,tflite,2.11,int8,resnet18d,224,1,99,v1.0",
        "raspberry-pi-4,tflite,2.9,int8,resnet18d,224,1,1,v1.0",
    ]
    rows += [
        "raspberry-pi-4,tflite,2.11,int8,resnet18d,224,1,50,v2.0",
        "unheard-of,tflite,2.11,int8,resnet18,224,1,5,v1.0",
    ]
    (tmp_path / "figures.csv").write_text("\n".join([head, *rows]) + "\n")
    (tmp_path / "other.csv").write_text("name,value\na,1\n")
    (only,) = read_series(tmp_path, load_profiles())
    assert only.configuration.version == "2.11"
    assert only.configuration.precision == "int8-static"
    assert dict(zip([s.backbone for s in only.subjects], only.milliseconds, strict=True))["resnet18d"] == 50
    assert version_key("2.11") > version_key("2.9") > version_key("master")


def test_a_folder_without_figures_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="no CSV file with figures"):
        read_series(tmp_path, load_profiles())
