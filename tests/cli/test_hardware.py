"""`selector hardware` as a user runs it."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from selector.cli.main import main


@pytest.fixture(autouse=True)
def isolated(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SELECTOR_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("SELECTOR_HARDWARE_PROFILES", raising=False)
    monkeypatch.setenv("COLUMNS", "200")


def run(monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(sys, "argv", ["selector", "hardware", *arguments])
    with pytest.raises(SystemExit) as caught:
        main()
    code = caught.value.code
    return 0 if code is None else int(code)


def test_list_names_classes_devices_and_this_machine(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "list") == 0
    said = capsys.readouterr()
    rows = [line.split() for line in said.out.splitlines() if line.strip()]
    names = [row[0] for row in rows]
    assert names.index("edge") < names.index("raspberry-pi-4") < names.index("local")
    assert "latency ≤ 100 ms, memory ≤ 512 MB, artifact ≤ 25 MB" in said.out
    assert said.err == ""


@pytest.mark.parametrize("arguments", [("list",), ("show", "raspberry-pi-4"), ("show", "nvidia-rtx-4090")])
def test_ids_are_whole_in_80_columns(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], arguments: tuple[str, ...]
) -> None:
    assert run(monkeypatch, *arguments, "--json") == 0
    profiles = json.loads(capsys.readouterr().out)["profiles"]
    monkeypatch.setenv("COLUMNS", "80")
    assert run(monkeypatch, *arguments) == 0
    said = capsys.readouterr().out
    assert all(len(line.rstrip()) <= 80 for line in said.splitlines() if "/" not in line), (
        "but for the paths of sources"
    )
    words = set(said.replace(",", " ").replace("(", " ").replace(";", " ").split())
    ids = {p["name"] for p in profiles} | {r["name"] for p in profiles for r in p["runtimes"]}
    assert ids <= words
    if arguments[0] == "show":
        assert {f["backbone"] for p in profiles for f in p["published"]} <= words


def test_list_as_json_follows_the_contract(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, "list", "--json") == 0
    document = json.loads(capsys.readouterr().out)
    assert document["schema_version"] == 1
    assert document["refused"] == []
    assert len(document["profiles"]) >= 16
    for profile in document["profiles"]:
        assert {"name", "kind", "specification", "runtimes", "limits", "published"} <= profile.keys()
        assert profile["kind"] in ("class", "device")
    t4 = next(p for p in document["profiles"] if p["name"] == "nvidia-t4")
    assert t4["specification"]["bandwidth_gb_s"]["value"] == 320
    assert t4["published"][0]["source"].startswith("mlcommons/")


def test_show_tells_specification_limits_and_figures(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "show", "raspberry-pi-4") == 0
    board = capsys.readouterr().out
    assert "bandwidth_gb_s" in board
    assert "sbc-bench" in board, "an item's source"
    assert "Published figures: 376" in board
    assert any(line.split()[:2] == ["tf_efficientnet_lite0", "224"] and "62.59" in line for line in board.splitlines())
    assert run(monkeypatch, "show", "edge") == 0
    edge = capsys.readouterr().out
    assert "raspberry-pi-4" in edge
    assert "half of the smallest Raspberry Pi 4" in " ".join(edge.split()), "why the limits are what they are"


def test_show_as_json_has_one_profile(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, "show", "mobile", "--json") == 0
    document = json.loads(capsys.readouterr().out)
    (profile,) = document["profiles"]
    assert profile["name"] == "mobile"
    assert profile["reference_devices"][0] == "pixel-4"
    assert profile["limits"]["latency_ms"] == 33


def test_show_local_and_detect_agree(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(monkeypatch, "show", "local", "--json") == 0
    shown = json.loads(capsys.readouterr().out)
    assert run(monkeypatch, "detect", "--json") == 0
    detected = json.loads(capsys.readouterr().out)
    assert detected["profiles"] == shown["profiles"]
    assert len(detected["fingerprint"]) == 12
    assert detected["environment"]["machine"]["architecture"]
    assert run(monkeypatch, "detect") == 0
    assert detected["fingerprint"] in capsys.readouterr().out


def test_a_misspelt_name_exits_with_2_and_a_suggestion(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "show", "egde") == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert "did you mean 'edge'" in said.err


def test_a_broken_profile_is_reported_by_list_and_refused_by_show(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    (tmp_path / "mine.toml").write_text('name = "mine"\nkind = "device"\n', encoding="utf-8")
    assert run(monkeypatch, "list", "--json", "--hardware-profiles", str(tmp_path)) == 0
    said = capsys.readouterr()
    (refused,) = json.loads(said.out)["refused"]
    assert refused["file"] == str(tmp_path / "mine.toml")
    assert any("title: is missing" in fault for fault in refused["faults"])
    assert f"not listed: {tmp_path / 'mine.toml'}: title: is missing" in said.err
    assert run(monkeypatch, "show", "mine", "--hardware-profiles", str(tmp_path)) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert "title: is missing" in said.err
    assert "runtimes: is missing" in said.err


def test_no_model_library_is_imported() -> None:
    code = (
        "import sys; sys.argv = ['selector', 'hardware', 'list', '--json']\n"
        "from selector.cli.main import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print([m for m in ('torch', 'timm', 'onnxruntime', 'numpy', 'rich') if m in sys.modules], file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = done.stderr.strip().splitlines()[-1]
    assert "torch" not in loaded
    assert "timm" not in loaded
    assert "onnxruntime" not in loaded
