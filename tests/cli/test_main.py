import json
import os
import subprocess
import sys
from pathlib import Path

SELECTOR = [sys.executable, "-c", "from selector.cli.main import main; main()"]
BROKEN = [
    *(sys.executable, "-c"),
    """
from selector.cli import main
from selector.backbones import catalog
def names():
    raise KeyError("a slip\\nof ours")
catalog.names = catalog.backbones = names
main.main()
""",
]
QUESTION = ("recommend", "--hardware", "edge", "--data-size", "5000")


def run(command: list[str], *arguments: str, home: Path, **variables: str) -> subprocess.CompletedProcess[bytes]:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("SELECTOR_", "LC_", "LANG", "PYTHONUTF8"))}
    environment |= {"SELECTOR_HOME": str(home), **variables}
    return subprocess.run([*command, *arguments], capture_output=True, env=environment, check=False)


def test_a_fault_of_ours_is_one_line_and_exit_code_1_and_debug_shows_the_traceback(tmp_path: Path) -> None:
    done = run(BROKEN, *QUESTION, home=tmp_path)
    assert done.returncode == 1
    assert done.stdout == b""
    (line,) = done.stderr.decode().splitlines()
    assert line.startswith("selector: unexpected failure")
    assert "KeyError" in line
    assert "--debug" in line
    told = run(BROKEN, "--debug", *QUESTION, home=tmp_path)
    assert told.returncode == 1
    assert b"Traceback" in told.stderr


def test_a_locale_without_unicode_still_gets_documents_in_utf_8(tmp_path: Path) -> None:
    done = run(
        SELECTOR,
        *QUESTION,
        "--lang",
        "zh",
        "--json",
        home=tmp_path,
        LC_ALL="C",
        PYTHONCOERCECLOCALE="0",
        PYTHONUTF8="0",
    )
    assert done.returncode == 0, done.stderr
    assert "张图像" in json.dumps(json.loads(done.stdout.decode("utf-8")), ensure_ascii=False)


def test_more_images_than_there_are_is_refused_and_makes_no_page(tmp_path: Path) -> None:
    done = run(SELECTOR, *QUESTION[:-1], "9" * 400, home=tmp_path)
    assert done.returncode in (1, 2)  # the place of the page is tried first; its name is too long
    assert b"Traceback" not in done.stderr
    done = run(SELECTOR, *QUESTION[:-1], "9" * 30, home=tmp_path)
    assert done.returncode == 2
    assert b"--data-size is above 1,000,000,000,000" in done.stderr
    assert not list(tmp_path.rglob("*.html"))


def test_a_reader_that_leaves_is_no_failure(tmp_path: Path) -> None:
    command = f"{sys.executable} -c 'from selector.cli.main import main; main()' hardware show nvidia-rtx-4090"
    done = subprocess.run(
        ["bash", "-c", f"{command} | head -1; exit ${{PIPESTATUS[0]}}"],
        capture_output=True,
        text=True,
        env=os.environ | {"SELECTOR_HOME": str(tmp_path)},
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
