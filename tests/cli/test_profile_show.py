import json
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from selector.cli.main import main
from selector.evidence.record import Conditions, Provenance, Record
from selector.evidence.store import open_store

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SELECTOR_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("SELECTOR_STORE", raising=False)
    return tmp_path / "home"


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    def selector(*arguments: object) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["selector", "profile", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            main()
        told = capsys.readouterr()
        return int(caught.value.code or 0), told.out, told.err

    return selector


def record(ms: float, backbone: str = "resnet18", **changes: object) -> Record:
    at = Conditions(backbone, "local", "onnxruntime", "1.0", "fp32", 224, 1, 1)
    made = Record.of(
        "latency_ms_p50",
        ms,
        at,
        provenance=Provenance.MEASURED,
        source="a test",
        low=ms,
        high=ms,
        n=64,
        stable=True,
        fingerprint="0123456789ab",
        protocol="2",
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def test_an_empty_store_says_what_to_do_with_5(run: Run) -> None:
    code, _, err = run("show")
    assert code == 5
    assert "`selector profile` measures" in err


def test_what_the_store_does_not_hold_gets_the_nearest_that_it_does(run: Run) -> None:
    with open_store() as store:
        store.add([record(30.0)])
    code, _, err = run("show", "resnet81")
    assert (code, "did you mean 'resnet18'" in err) == (5, True)
    code, _, err = run("show", "--hardware", "locla")
    assert (code, "did you mean 'local'" in err) == (5, True)


def test_each_name_without_a_figure_is_told_and_the_others_are_shown(run: Run) -> None:
    with open_store() as store:
        store.add([record(30.0), record(12.0, "mobilenetv2_100")])
    for options in ((), ("--quiet",), ("--json",)):
        code, out, err = run("show", "resnet18", "resnet81", "vgg16", *options)
        assert (code, "resnet18" in out, "resnet81" in out) == (0, True, False)
        first, second = err.splitlines()
        assert "no measurement of resnet81 on 'local'; did you mean 'resnet18'?" in first
        assert "no measurement of vgg16 on 'local'" in second
    assert run("show", "resnet18", "mobilenetv2_100")[2] == ""


def test_quiet_says_nothing_of_the_tables(run: Run, tmp_path: Path) -> None:
    with open_store() as store:
        store.add([record(30.0)])
    loud = run("show")
    assert run("show", "--quiet") == loud
    assert "30.00" in loud[1]
    assert run("show", "--quiet", "-o", tmp_path / "p.json") == loud


def test_json_goes_to_stdout_once_whichever_way_it_was_asked_for(run: Run, tmp_path: Path) -> None:
    with open_store() as store:
        store.add([record(30.0)])
    code, out, err = run("show", "--json")
    assert (code, json.loads(out)["schema_version"], err) == (0, 1, "")
    for options in (("-o", "-"), ("--json", "-o", "-"), ("--json", "--quiet"), ("--json", "-o", tmp_path / "p.json")):
        assert run("show", *options) == (code, out, err)
    assert (tmp_path / "p.json").read_text() == out


def test_the_newest_figure_of_each_environment_is_shown(run: Run) -> None:
    old = record(30.0)
    at = old.recorded_at
    records = [
        old,
        record(31.0, recorded_at=at + timedelta(hours=1)),
        record(35.0, fingerprint="ba9876543210", recorded_at=at - timedelta(days=1)),
        record(12.0, "mobilenetv2_100"),
    ]
    with open_store() as store:
        store.add(records)
    code, out, _ = run("show", "--json")
    document = json.loads(out)
    assert code == 0
    assert document["schema_version"] == 1
    values = [sorted(r["value"] for r in e["records"]) for e in document["environments"]]
    assert values == [[12.0, 31.0], [35.0]]  # the environment measured last comes first
    code, out, _ = run("show", "resnet18")
    assert code == 0
    assert "31.00" in out
    assert "30.00" not in out
    assert "mobilenetv2_100" not in out


def test_the_page_has_a_roofline_of_this_machine(run: Run, tmp_path: Path) -> None:
    with open_store() as store:
        store.add([record(30.0)])
    code, _, _ = run("show", "-o", tmp_path / "page.html", "--quiet")
    page = (tmp_path / "page.html").read_text()
    assert code == 0
    assert "Roofline of" in page
    assert "measured: best of" in page


def test_another_devices_roof_is_its_profiles(run: Run, tmp_path: Path) -> None:
    def elsewhere(name: str) -> Record:
        made = record(5.0)
        return replace(made, conditions=replace(made.conditions, hardware=name))

    with open_store() as store:
        store.add([elsewhere("nvidia-a100-pcie-80gb"), elsewhere("aws-t2.medium")])
    assert run("show", "--hardware", "nvidia-a100-pcie-80gb", "-o", tmp_path / "a.html", "--quiet")[0] == 0
    assert "stated by the hardware profile" in (tmp_path / "a.html").read_text()
    assert run("show", "--hardware", "aws-t2.medium", "-o", tmp_path / "b.html", "--quiet")[0] == 0
    assert "states no peak and bandwidth" in (tmp_path / "b.html").read_text()


def test_blocks_of_a_backbone_as_table_page_and_json(run: Run, tmp_path: Path) -> None:
    small = ("mobilenetv3_small_050", "--by-block", "--resolution", 32)
    code, out, _ = run(*small, "-o", tmp_path / "blocks.html")
    assert code == 0
    assert "classifier" in out
    assert "Blocks, from the input" in (tmp_path / "blocks.html").read_text()
    code, out, _ = run(*small, "--json")
    document = json.loads(out)
    assert document["blocks"][-1]["name"] == "classifier"
    assert document["total"]["n"] > 0
    with open_store() as store:
        assert store.records() == []


def test_what_does_not_go_with_blocks_is_told_at_once(run: Run) -> None:
    code, _, err = run("resnet18", "--by-block", "--runtime", "onnxruntime", "--freeze", "head")
    assert code == 2
    assert "--freeze" in err
    assert "--runtime" in err
    code, _, err = run("resnet18", "resnet34", "--by-block")
    assert code == 2
    assert "one backbone" in err


def test_a_batch_size_and_a_store_do_not_go_with_blocks(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    code, _, err = run("resnet18", "--by-block", "--batch-size", 8, "--store", tmp_path / "s.sqlite")
    assert code == 2
    assert len(err.splitlines()) == 2
    assert "--by-block does not go with --batch-size" in err
    assert "--by-block does not go with --store" in err
    monkeypatch.setenv("SELECTOR_STORE", str(tmp_path / "s.sqlite"))  # it is there for all commands
    code, out, _ = run("mobilenetv3_small_050", "--by-block", "--resolution", 32)
    assert (code, "classifier" in out) == (0, True)
    assert not (tmp_path / "s.sqlite").exists()


@pytest.mark.parametrize("columns", [60, 80, 200])
def test_names_are_whole_and_nothing_is_lost_in_a_narrow_terminal(
    run: Run, monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    from selector.evidence.record import FreezePoint

    monkeypatch.setenv("COLUMNS", str(columns))
    names = ("tf_mobilenetv3_large_minimal_100", "vgg19_bn")
    figures = {
        "latency_ms_p50": 1234.5,
        "latency_ms_p90": 1345.6,
        "agreement_top1": 98.7,
        "cosine_logits": 0.99,
        "load_ms": 2345.6,
        "first_inference_ms": 456.7,
        "memory_rss_peak_bytes": 2.5e9,
        "artifact_bytes": 574.7e6,
    }
    steps = {"train_step_ms": 9876.5, "train_memory_rss_peak_bytes": 8.5e9, "params_trainable": 139.6e6}
    records = []
    for name in names:
        at = record(1.0, name).conditions
        trained = replace(at, runtime="torch-eager", batch_size=8, freeze=FreezePoint("last-3", 15, 18))
        for metric, value in figures.items():
            ends = {"low": 0.9 * value, "high": 1.1 * value} if metric == "latency_ms_p50" else {}
            records.append(Record.of(metric, value, at, provenance=Provenance.MEASURED, source="a test", **ends))
        for metric, value in steps.items():
            records.append(Record.of(metric, value, trained, provenance=Provenance.MEASURED, source="a test"))
    with open_store() as store:
        store.add([replace(r, fingerprint="0123456789ab", protocol="2") for r in records])
    code, out, _ = run("show")
    assert code == 0
    lines = out.splitlines()
    assert all(len(line.rstrip()) <= columns for line in lines)
    rows = [line.split() for line in lines]
    first = next(row for row in rows if row[:1] == [names[0]])
    assert first[1:4] == ["224", "1,234.50", "±10.0%"], "the most important figure stands first"
    for shown in ("1,345.60", "98.7", "2,346", "456.7", "2,500.0", "574.7", "9,876.5", "8,500.0", "139.60"):
        assert sum(shown in row for row in rows) == 2, f"{shown} stands in the row of each backbone"
    assert ("continued" in out) is (columns < 200)
