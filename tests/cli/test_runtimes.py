import json
import sys
from dataclasses import replace

import pytest

from selector.cli import runtimes as command
from selector.cli.main import main
from selector.hardware.gpus import Gpu
from selector.hardware.machine import detect
from selector.profiling.runtimes import RUNTIMES


def show(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    monkeypatch.setattr(sys, "argv", ["selector", "runtimes", *arguments])
    with pytest.raises(SystemExit) as caught:
        main()
    assert not caught.value.code
    return capsys.readouterr().out


def test_every_runtime_is_usable_or_says_why_not(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    document = json.loads(show(monkeypatch, capsys, "--json"))
    assert document["schema_version"] == 1
    assert [row["name"] for row in document["runtimes"]] == list(RUNTIMES)
    for row in document["runtimes"]:
        assert bool(row["precisions"]) == row["usable"]
        assert bool(row["why"]) == (not row["usable"])
        assert not set(row["precisions"]) & set(row["elsewhere"])
    eager = document["runtimes"][0]
    assert eager["usable"]
    assert eager["version"][0].isdigit()


def test_a_person_reads_the_same(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    text = " ".join(show(monkeypatch, capsys).split())
    for row in command.rows(detect()):
        assert row.name in text
        assert row.why is None or row.why in text


def test_half_precision_is_offered_where_the_cpu_computes_in_it() -> None:
    machine = replace(detect(), isa=("avx2", "fma"))
    plain = {row.name: row for row in command.rows(machine)}
    amx = {row.name: row for row in command.rows(replace(machine, isa=("avx512f", "amx_bf16")))}
    assert {"bf16", "amp"} <= set(plain["torch-eager"].elsewhere)
    assert {"bf16", "amp"} <= set(amx["torch-eager"].precisions)
    assert "fp16" in amx["torch-eager"].elsewhere


def test_a_gpu_offers_what_its_tensor_cores_take() -> None:
    machine = replace(detect(), gpus=(Gpu("NVIDIA T4", compute_capability="7.5"),))
    turing = {row.name: row for row in command.rows(machine)}["torch-cuda"]
    assert turing.precisions == ("fp32", "fp16", "amp")
    machine = replace(detect(), gpus=(Gpu("NVIDIA L4", compute_capability="8.9"),))
    ada = {row.name: row for row in command.rows(machine)}["torch-cuda"]
    assert ada.precisions == ("fp32", "tf32", "fp16", "bf16", "amp")
    machine = replace(detect(), gpus=(Gpu("NVIDIA L4"),))  # nvidia-ml-py is missing
    unknown = {row.name: row for row in command.rows(machine)}["torch-cuda"]
    assert unknown.precisions == ("fp32",)


def test_a_machine_without_a_compiler_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("CXX", raising=False)
    row = {row.name: row for row in command.rows(detect())}["torch-compile"]
    assert not row.usable
    assert "C++ compiler" in str(row.why)
    assert "install" in str(row.why)
