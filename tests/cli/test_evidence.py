import json
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from selector.cli.main import main
from selector.evidence.metrics import METRICS
from selector.evidence.record import Conditions, FreezePoint, Provenance, Record
from selector.evidence.store import open_store
from selector.hardware import machine


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SELECTOR_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("SELECTOR_STORE", raising=False)
    return tmp_path / "home"


@pytest.fixture
def figures() -> list[Record]:
    """Two figures in the store: one measured here with its environment, one published."""
    at = Conditions("resnet50", "local", "onnxruntime", "1.32.0", "fp32", 224, 1, 2, FreezePoint("last-3", 15, 18))
    records = [
        Record.of(
            "latency_ms_p50",
            1234.5678,
            at,
            provenance=Provenance.MEASURED,
            source="here [1]",
            low=1230.0,
            high=1240.0,
            stable=False,
            fingerprint="aa",
        ),
        Record.of("params", 138e6, Conditions("vgg16", "board"), provenance=Provenance.PUBLISHED, source="there"),
    ]
    with open_store() as store:
        store.add(records, environments={"aa": {"machine": {}}})
    return records


class Outcome:
    """What a run of the command line left: exit code, stdout, stderr."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err


Run = Callable[..., Outcome]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    def evidence(*arguments: object) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["selector", "evidence", *map(str, arguments)])
        with pytest.raises(SystemExit) as caught:
            main()
        captured = capsys.readouterr()
        return Outcome(int(caught.value.code or 0), captured.out, captured.err)

    return evidence


def test_list_shows_conditions_figure_and_source(run: Run, figures: list[Record]) -> None:
    done = run("list")
    assert done.code == 0
    [line] = [line for line in done.out.splitlines() if "resnet50" in line]
    for part in ("local", "onnxruntime 1.32.0", "224 px", "last-3 (15 of 18 frozen)", "unstable", "here [1]"):
        assert part in line
    assert "1,234.57 ms [1,230.00, 1,240.00]" in line


def test_list_as_json(run: Run, figures: list[Record]) -> None:
    document = json.loads(run("list", "--json", "--backbone", "resnet50", "--metric", "latency_ms_p50").out)
    assert document["schema_version"] == 1
    [record] = document["records"]
    assert record == figures[0].as_json()
    assert record["freeze"] == {"name": "last-3", "frozen_blocks": 15, "total_blocks": 18}
    assert json.loads(run("list", "--json", "--hardware", "board").out)["records"] == [figures[1].as_json()]


def test_list_of_metrics(run: Run) -> None:
    document = json.loads(run("list", "--metrics", "--json").out)
    assert [m["name"] for m in document["metrics"]] == list(METRICS)
    assert "latency_ms_p50" in run("list", "--metrics").out


def test_list_of_an_unknown_metric_suggests_one(run: Run) -> None:
    done = run("list", "--metric", "latency_p50")
    assert done.code == 2
    assert "did you mean 'latency_ms_p50'" in done.err


def test_every_unknown_metric_is_told(run: Run) -> None:
    assert len(run("list", "--metric", "foo", "--metric", "bar").err.splitlines()) == 2


def test_names_that_the_store_does_not_know_get_the_nearest(run: Run, figures: list[Record]) -> None:
    done = run("list", "--hardware", "bord", "--backbone", "resnt50")
    assert (done.code, done.out) == (0, "")
    hardware, backbone = done.err.splitlines()
    assert "did you mean 'board'" in hardware
    assert "did you mean 'resnet50'" in backbone
    assert json.loads(run("list", "--json", "--hardware", "bord").out)["records"] == []


def test_ids_are_whole_on_a_terminal_of_80_columns(
    run: Run, figures: list[Record], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    lines = [line.rstrip() for line in run("list").out.splitlines()]
    assert lines[0] == "resnet50, local, onnxruntime 1.32.0, fp32, 224 px, batch 1, 2 threads, last-3"
    assert lines[2].split() == ["latency_ms_p50", "1,234.57", "ms", "[1,230.00,", "1,240.00]", "measured"]
    assert lines[3].strip() == "here [1]"


def test_list_of_nothing(run: Run, home: Path) -> None:
    done = run("list")
    assert (done.code, done.out) == (0, "")
    assert "selector profile" in done.err
    assert run("list", "--quiet").err == ""
    assert not home.exists()


@pytest.mark.parametrize("suffix", ["csv", "parquet", "json"])
def test_export_and_import_elsewhere(run: Run, figures: list[Record], tmp_path: Path, suffix: str) -> None:
    place, other = tmp_path / f"figures.{suffix}", tmp_path / "other.sqlite"
    exported = run("export", "-o", place)
    assert exported.code == 0
    assert "figures written" in exported.err
    assert ("travels in json" in exported.err) is (suffix != "json")
    imported = run("import", place, "--store", other)
    assert imported.code == 0
    assert "imported: 2, there already: 0" in imported.err
    assert "imported: 0, there already: 4" in run("import", place, place, "--store", other).err
    with open_store(other) as store:
        assert store.records() == figures
        assert store.environment("aa") == ({"machine": {}} if suffix == "json" else None)


def test_export_to_stdout(run: Run, figures: list[Record]) -> None:
    hardware = [r["hardware"] for r in json.loads(run("export", "-o", "-", "--format", "json").out)["records"]]
    assert hardware == [machine.detect().slug(), "board"]
    assert "suffix names no format" in run("export", "-o", "-").err


def test_one_bad_row_keeps_all_files_out(run: Run, figures: list[Record], tmp_path: Path) -> None:
    good, bad = tmp_path / "good.csv", tmp_path / "bad.csv"
    run("export", "-o", good)
    bad.write_text(good.read_text().replace("1234.5678", "fast").replace("published", "rumoured"))
    done = run("import", good, bad, "--store", tmp_path / "other.sqlite")
    assert done.code == 2
    assert f"{bad}, line 2: value 'fast'" in done.err
    assert f"{bad}, line 3: provenance 'rumoured'" in done.err
    assert not (tmp_path / "other.sqlite").exists()


def test_faults_of_several_files_are_told_together(run: Run, figures: list[Record], tmp_path: Path) -> None:
    (tmp_path / "a.xls").write_bytes(b"x")
    (tmp_path / "b.json").write_text("{")
    (tmp_path / "c.csv").write_bytes(b"\xff")
    (tmp_path / "f").mkdir()
    files = [tmp_path / name for name in ("a.xls", "b.json", "c.csv", "d.csv", "e.txt", "f")]
    done = run("import", *files)
    assert (done.code, done.out) == (2, "")
    told = done.err.splitlines()
    assert [next(f.name for f in files if str(f) in line) for line in told] == [f.name for f in files]
    assert len(run("import", *files[:5], "--format", "xls").err.splitlines()) == 1


def test_columns_are_told_together(run: Run, tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("backbone,hardwar,metric,value,provenance,source,colour\n")
    missing, unknown = run("import", tmp_path / "a.csv").err.splitlines()
    assert missing.endswith("a.csv: misses columns: hardware, recorded_at")
    assert "unknown columns: 'hardwar', did you mean 'hardware'?; 'colour'" in unknown


def test_failures_are_one_message(run: Run, figures: list[Record], tmp_path: Path) -> None:
    (tmp_path / "page.html").write_text("<html>" * 100)
    for arguments, code in (
        (("list", "--store", tmp_path / "page.html"), 1),
        (("export", "-o", tmp_path / "missing" / "a.csv"), 1),
        (("export", "-o", tmp_path / "a.txt"), 2),
        (("import", tmp_path / "missing.csv"), 2),
    ):
        done = run(*arguments)
        assert (done.code, len(done.err.splitlines()), done.out) == (code, 1, "")
