import os
import subprocess
import sys
from pathlib import Path

import pytest

from selector.cli.report import spread

SELECTOR = [sys.executable, "-c", "from selector.cli.main import main; main()"]


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def run(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith("SELECTOR_")} | {"SELECTOR_HOME": str(home)}
    return subprocess.run(
        [*SELECTOR, "report", *arguments], capture_output=True, text=True, env=environment, cwd=home.parent, check=False
    )


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("--compare a b --lang zh", "--compare a --compare b --lang zh"),
        ("--compare a --compare b", "--compare a --compare b"),
        ("--compare a --data-size 1 2 -q", "--compare a --data-size 1 --data-size 2 -q"),
        ("--data-size -1 5", "--data-size -1 --data-size 5"),  # refused by name later, not taken for an option
        ("-o x --compare", "-o x --compare"),
        ("--compare=a b", "--compare=a b"),
    ],
)
def test_several_values_after_one_option(given: str, meant: str) -> None:
    assert spread(given.split()) == meant.split()


def test_comparison_from_shipped_evidence(home: Path) -> None:
    done = run(home, "--compare", "edge", "cpu", "--data-size", "500", "5000", "--lang", "zh")
    assert done.returncode == 0, done.stderr
    page = home.parent / "selector-report.zh.html"
    assert done.stdout == f"{page}\n"
    text = page.read_text(encoding="utf-8")
    assert '<html lang="zh-CN">' in text
    for number in range(1, 5):
        assert f'<details class="answer" id="a{number}">' in text
    assert len(text.encode()) <= 6_000_000


def test_one_answer_to_a_place_of_choice(home: Path) -> None:
    place = home.parent / "page.html"
    done = run(home, "--compare", "edge", "--data-size", "5000", "-o", str(place), "--quiet")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{place}\n", "")
    assert "Raspberry Pi 4" in place.read_text(encoding="utf-8")


def test_faults_are_told_at_once_and_nothing_is_written(home: Path) -> None:
    done = run(home, "--compare", "egde", "--data-size", "-1", "500")
    assert done.returncode == 2
    assert "did you mean 'edge'" in done.stderr
    assert "-1" in done.stderr
    assert done.stderr.count("egde") == 1
    assert not list(home.parent.glob("*.html"))


def test_the_page_s_faults_do_not_hide_those_of_the_questions(home: Path) -> None:
    done = run(home, "--compare", "egde", "cpu", "--data-size", "0", "--lang", "fr", "--domain", "cats")
    assert done.returncode == 2
    told = done.stderr.splitlines()
    assert len(told) == 4
    for word in ("--lang is 'fr'", "did you mean 'edge'", "--data-size is 0", "domain 'cats'"):
        assert word in done.stderr


def test_unwritable_place_is_told_before_the_work(home: Path) -> None:
    done = run(home, "--compare", "edge", "--data-size", "500", "-o", str(home.parent / "missing" / "page.html"))
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "cannot write" in done.stderr


def test_hardware_without_an_answer_leaves_the_others_theirs(home: Path) -> None:
    profiles = home / "hardware_profiles"
    profiles.mkdir(parents=True)
    shipped = Path(__file__).parents[2] / "hardware_profiles" / "edge.toml"
    strict = shipped.read_text(encoding="utf-8")
    (profiles / "strict.toml").write_text(
        strict.replace('name = "edge"', 'name = "strict"').replace("latency_ms = 100.0", "latency_ms = 0.001"),
        encoding="utf-8",
    )
    place = home.parent / "page.html"
    done = run(home, "--compare", "strict", "edge", "--data-size", "500", "-o", str(place))
    assert done.returncode == 0, done.stderr
    assert "strict, 500 images: no candidate" in done.stderr
    assert "strict, 500 images: no candidate keeps every limit" in place.read_text(encoding="utf-8")
    alone = run(home, "--compare", "strict", "--data-size", "500")
    assert alone.returncode == 3
    assert "the nearest is" in alone.stderr


def test_more_than_a_page_takes_is_refused(home: Path) -> None:
    done = run(home, "--compare", "edge", "cpu", "gpu", "--data-size", *map(str, range(1, 9)), "--lang", "fr")
    assert done.returncode == 2
    assert "24 answers" in done.stderr
    assert "'fr'" in done.stderr
