"""Commands that need no model load no torch, and nothing happens at import."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = ("torch", "torchvision", "timm", "onnxruntime", "onnx", "scipy.stats", "pyarrow")

SCRIPT = """
import sys
sys.argv = ["selector", *{arguments!r}]
from selector.cli.main import main
code = 0
try:
    main()
except SystemExit as end:
    code = end.code or 0
print("LOADED", *(name for name in {heavy!r} if name in sys.modules), file=sys.stderr)
sys.exit(code)
"""


@pytest.mark.parametrize(
    "arguments",
    [
        ("--help",),
        ("recommend", "--hardware", "edge", "--data-size", "5000", "--json"),
        ("recommend", "--hardware", "local", "--data-size", "5000", "--json"),
        ("catalog", "--json"),
        ("hardware", "list"),
        ("evidence", "list"),
    ],
)
def test_a_command_without_a_model_loads_no_torch(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    script = SCRIPT.format(arguments=list(arguments), heavy=HEAVY)
    environment = {k: v for k, v in os.environ.items() if not k.startswith("SELECTOR_")}
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        env=environment | {"SELECTOR_HOME": str(tmp_path)},
        check=False,
    )
    assert done.stderr.splitlines()[-1].split() == ["LOADED"], done.stderr
    assert done.returncode in (0, 5), done.stderr  # 5: nothing measured yet


def test_importing_the_package_loads_nothing_heavy(tmp_path: Path) -> None:
    script = f"import sys, selector, selector.advisor; print([m for m in {HEAVY!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=tmp_path, check=True)
    assert done.stdout.strip() == "[]"
    assert list(tmp_path.iterdir()) == []


def test_imports_go_down_only() -> None:
    """The contract of pyproject.toml, as `make check` holds it."""
    pytest.importorskip("importlinter")
    root = Path(__file__).parents[1]
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "from importlinter.cli import lint_imports_command; lint_imports_command()",
            "--no-cache",
        ],
        capture_output=True,
        text=True,
        cwd=root,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
