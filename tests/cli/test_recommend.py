import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SELECTOR = [sys.executable, "-c", "from selector.cli.main import main; main()"]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def run(home: Path, *arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("SELECTOR_")} | {"SELECTOR_HOME": str(home)}
    return subprocess.run(
        [*SELECTOR, "recommend", *arguments], capture_output=True, text=True, env=environment, cwd=cwd, check=False
    )


def document(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    assert done.returncode == 0, done.stderr
    made: dict[str, Any] = json.loads(done.stdout)
    return made


ASKED = ("--hardware", "edge", "--data-size", "5000")


def test_json_is_one_document_of_the_contract(home: Path) -> None:
    made = document(run(home, *ASKED, "--json"))
    assert made["schema_version"] == 1
    assert {"hardware", "data_size", "classes", "domain", "limits"} <= made["request"].keys()
    chosen = made["recommendation"]
    assert {
        *("backbone", "family", "freeze", "runtime", "precision", "resolution", "hyperparameters", "expected"),
        *("probability_best", "why"),
    } <= chosen.keys()
    assert chosen["freeze"].keys() == {"name", "frozen_blocks", "total_blocks"}
    assert chosen["expected"].keys() == {"accuracy", "latency_ms", "artifact_mb", "train_seconds"}
    assert all(isinstance(reason, str) and reason for reason in chosen["why"])
    for candidate in made["candidates"]:
        assert {"params", "macs", "feasible", "violations", "pareto", "probability_best"} <= candidate.keys()
        assert candidate["expected"].keys() == chosen["expected"].keys()
        assert all(figure == candidate[name] for name, figure in candidate["expected"].items())
        for name in ("accuracy", "latency_ms", "artifact_mb", "memory_mb", "train_seconds"):
            figure = candidate[name]
            assert figure is None or figure.keys() == {"value", "low", "high", "unit", "provenance", "source"}
            assert figure is None or figure["provenance"] in ("measured", "published", "estimated")
    for dimension in ("params", "speed", "hardware_need", "typical_use"):
        assert made["document_table"][dimension].keys() == {"resnet", "vgg", "efficientnet", "mobilenet"}
        for cell in made["document_table"][dimension].values():
            assert {"document", "evidence"} <= cell.keys()
    assert [claim["id"] for claim in made["claims"]] == [f"C{i}" for i in range(1, 14)]
    for claim in made["claims"]:
        assert claim["verdict"] in ("confirmed", "refuted", "undecided")
        assert claim.keys() == {"id", "claim", "verdict", "figure", "source"}
    assert all(step["command"].startswith("selector ") for step in made["next_measurements"])
    assert Path(made["report"]).is_file()
    assert not list(home.glob("evidence*"))  # reading makes no store


def test_without_json_a_person_reads_what_to_take_and_where_the_page_is(home: Path) -> None:
    done = run(home, *ASKED, "--classes", "10")
    assert done.returncode == 0, done.stderr
    page = home / "reports" / "recommend-edge-5000.en.html"
    assert "5,000 images: take " in done.stdout.replace("\n", " ")
    assert str(page) in done.stdout.replace("\n", "")
    assert page.read_text(encoding="utf-8").startswith("<!")


def test_with_json_o_names_the_document_unless_it_is_a_page(home: Path, tmp_path: Path) -> None:
    done = run(home, *ASKED, "--json", "-o", "answer.json", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "")
    made = json.loads((tmp_path / "answer.json").read_text(encoding="utf-8"))
    assert Path(made["report"]).read_text(encoding="utf-8").startswith("<!")
    assert json.loads(run(home, *ASKED, "--json", "-o", "-").stdout)["schema_version"] == 1


def test_o_names_the_page_and_the_document_points_to_it(home: Path, tmp_path: Path) -> None:
    page = tmp_path / "页面.html"
    made = document(run(home, *ASKED, "--json", "--lang", "zh", "-o", str(page)))
    assert made["report"] == str(page)
    assert page.stat().st_size < 6_000_000
    assert any("张图像" in reason for reason in made["recommendation"]["why"])
    text = page.read_text(encoding="utf-8")
    for english in (
        "prior of published transfer studies",
        "counted: parameters",
        "estimated from layers",
        "in one process",
    ):
        assert english not in text, "our own sentences are Chinese on a Chinese page, in sources too"
    assert "已发表迁移研究的先验" in text
    assert "huggingface/pytorch-image-models results/results-imagenet.csv" in text, "what is cited stays"


def test_quiet_prints_the_place_alone(home: Path, tmp_path: Path) -> None:
    done = run(home, *ASKED, "--quiet", "-o", str(tmp_path / "page.html"))
    assert done.stdout == f"{tmp_path / 'page.html'}\n"
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (("--hardware", "egde", "--data-size", "-1"), 2, ("'edge'", "--data-size is -1")),
        ((*ASKED, "--max-latency-ms", "0.001"), 3, ("nearest is", "latency_ms")),
        ((*ASKED, "-o", "missing/page.html"), 1, ("cannot write",)),
        ((*ASKED, "--lang", "fr"), 2, ("en and zh",)),
        (("--hardware", "edge", "--data-size", "1"), 2, ("2 classes at least",)),
        ((*ASKED, "--domain", "cats"), 2, ("fine-grained",)),
        ((*ASKED, "--backbones", "resnet5,vgg16"), 2, ("'resnet50'",)),
    ],
)
def test_what_goes_wrong_is_told_without_a_traceback(
    home: Path, tmp_path: Path, arguments: tuple[str, ...], code: int, words: tuple[str, ...]
) -> None:
    done = run(home, *arguments, cwd=tmp_path)
    assert done.returncode == code
    assert done.stdout == ""
    assert "Traceback" not in done.stderr
    assert all(word in done.stderr for word in words), done.stderr


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (
            (
                "--hardware",
                "egde",
                "--data-size",
                "0",
                "--runtime",
                "onxruntime",
                "--precision",
                "fp23",
                "--lang",
                "fr",
            ),
            (
                "--lang is 'fr'",
                "'edge'",
                "--data-size is 0",
                "'onnxruntime'",
                "int8-static; did you mean 'fp32'",
            ),
        ),
        (
            (*ASKED, "--runtime", "onxruntime,tflite", "--precision", "fp23", "--save", "model", "--domain", "cats"),
            ("--save needs --data", "did you mean 'onnxruntime'", "did you mean 'fp32'", "fine-grained"),
        ),
        (
            ("--hardware", "egde", "--data", "nowhere", "--budget", "soon", "--weights", "none", "--seed", "-1"),
            ("--budget 'soon' is no time", "nowhere does not exist", "'edge'", "--weights none", "--seed is -1"),
        ),
        (("--hardware", "egde", "--data", "nowhere"), ("nowhere does not exist", "'edge'")),
    ],
)
def test_all_faults_are_told_at_once(home: Path, tmp_path: Path, arguments: tuple[str, ...], words: list[str]) -> None:
    done = run(home, *arguments, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    told = done.stderr.splitlines()
    assert len(told) == len(words), done.stderr
    assert all(word in done.stderr for word in words), done.stderr


@pytest.mark.parametrize(
    ("images", "notes"),
    [
        ("2", ("for so few images two were considered", "1.00 images a class are fewer than 10")),
        ("60", ("2 to 12 were considered", "5.00 images a class are fewer than 10")),
        ("5000", ("2 to 200 were considered",)),
    ],
)
def test_few_images_are_answered_with_what_that_means(home: Path, images: str, notes: tuple[str, ...]) -> None:
    made = document(run(home, "--hardware", "edge", "--data-size", images, "--json"))
    told = [note for note in made["notes"] if "were considered" in note or "images a class" in note]
    assert len(told) == len(notes)
    assert all(any(part in note for note in told) for part in notes), told
    accuracy = made["recommendation"]["expected"]["accuracy"]
    assert accuracy["high"] - accuracy["low"] > (20 if images == "2" else 5)


def test_where_no_candidate_keeps_the_limits_the_document_says_which_limit_excludes_what(
    home: Path, tmp_path: Path
) -> None:
    limits = ("--max-latency-ms", "8", "--min-accuracy", "99.9")
    done = run(home, *ASKED, "--json", *limits, "-o", "answer.json", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (3, "")
    made = json.loads((tmp_path / "answer.json").read_text(encoding="utf-8"))
    answered = document(run(home, *ASKED, "--json"))
    assert made.keys() >= answered.keys()
    assert (made["schema_version"], made["recommendation"], made["report"]) == (1, None, None)
    assert made["why_none"] == [line.removeprefix("selector: ") for line in done.stderr.splitlines()]
    assert made["request"]["limits"] == [e["limit"] for e in made["exclusions"]]
    assert all(c["violations"] and not c["feasible"] for c in made["candidates"])
    for e in made["exclusions"]:
        breaking = [c for c in made["candidates"] if any(v["limit"] == e["limit"]["name"] for v in c["violations"])]
        assert e["excluded"] == len(breaking)
        assert e["alone"] == sum(len(c["violations"]) == 1 for c in breaking)
    by = {e["limit"]["name"]: e["nearest"] for e in made["exclusions"]}
    assert by["latency_ms"]["figure"]["value"] > 8
    assert by["latency_ms"]["held"] in ("value", "p90", "high")
    assert by["accuracy"]["figure"]["value"] < 99.9
    nearest = made["nearest_misses"]
    assert 1 < len(nearest) == len({c["backbone"] for c in nearest})
    assert [c["times_over"] for c in nearest] == sorted(c["times_over"] for c in nearest)
    assert nearest[0]["backbone"] in done.stderr
    assert run(home, *ASKED, "--json", *limits).stdout == (tmp_path / "answer.json").read_text(encoding="utf-8")


def test_a_refusal_speaks_the_language_of_the_answer(home: Path) -> None:
    done = run(home, *ASKED, "--json", "--max-latency-ms", "0.01", "--lang", "zh")
    assert done.returncode == 3
    why = json.loads(done.stdout)["why_none"]
    assert "没有候选满足限制" in why[0]
    assert [line.removeprefix("selector: ") for line in done.stderr.splitlines()] == why


def test_a_former_page_stays_when_the_answer_fails(home: Path, tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text("before", encoding="utf-8")
    assert run(home, *ASKED, "--max-latency-ms", "0.001", "-o", str(page)).returncode == 3
    assert page.read_text(encoding="utf-8") == "before"
    assert list(tmp_path.glob(".*.part")) == []


def test_a_name_that_is_no_hardware_stays_in_its_folder(home: Path, tmp_path: Path) -> None:
    done = run(home, "--hardware", "../../x", "--data-size", "5", cwd=tmp_path)
    assert done.returncode == 2
    assert "../../x" in done.stderr
    assert list(tmp_path.rglob("*.html")) == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no /dev/full")
def test_a_full_disk_behind_stdout_is_one_message(home: Path) -> None:
    command = [*SELECTOR, "recommend", *ASKED, "--json"]
    environment = os.environ | {"SELECTOR_HOME": str(home)}
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, env=environment, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines()[0].startswith("selector: cannot write to stdout")
    assert "Traceback" not in done.stderr
