"""A worker's temporary files: they go with it, however it ends. Nothing of a run is left in the folder for such."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from session_parts import SMALL, fake, medians, session

from selector.evidence.record import Record
from selector.hardware.machine import detect
from selector.profiling.jobs import InferenceJob
from selector.profiling.runtimes import runtime


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that this process and those that it starts have for temporary files."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    monkeypatch.setenv("TMPDIR", str(folder))
    return folder


def test_what_torch_compile_compiled_goes_with_its_worker(home: Path, temporary: Path) -> None:
    offer = runtime("torch-compile").availability(detect())
    if not offer.usable:
        pytest.skip(offer.why or "torch-compile")
    compiled: list[Path] = []

    def look(records: Sequence[Record]) -> None:
        compiled.extend(temporary.rglob("*.so"))

    made = session(look)
    made.run([InferenceJob(SMALL, "torch-compile", "fp32", 32, 1)])
    assert made.failures == []
    assert compiled, "Inductor keeps its kernels elsewhere now"
    assert list(temporary.iterdir()) == []


def test_an_interrupted_run_leaves_nothing(fakes: None, own_home: Path, temporary: Path) -> None:
    seen: list[str] = []

    def interrupted(records: Sequence[Record]) -> None:
        seen.extend(file.name for file in temporary.rglob("litter-*"))
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        session(interrupted).run([fake("resnet18", "litters")])
    assert seen
    assert list(temporary.iterdir()) == []


def test_a_worker_that_is_killed_leaves_nothing(fakes: None, own_home: Path, temporary: Path) -> None:
    made = session()
    made.run([fake("resnet18", "litters"), fake("resnet50", "litters")])
    assert [(failure.job.backbone, failure.outcome) for failure in made.failures] == [("resnet18", "killed")]
    assert set(medians(made.records)) == {"resnet50"}
    assert list(temporary.iterdir()) == []


def test_what_a_killed_run_left_goes_with_the_next_and_what_a_living_one_has_stays(
    fakes: None, own_home: Path, temporary: Path
) -> None:
    script = (
        "import os, sys; from selector.profiling.workers import run_worker; "
        "going = run_worker({'kind': 'peaks', 'device': 'cpu', 'threads': 1, 'patience_s': 100.0}); "
        "next(going); print(*os.listdir(sys.argv[1]), flush=True); sys.stdin.read(); going.close()"
    )
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(temporary)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    try:
        for run in runs:
            assert run.stdout is not None
            assert run.stdout.readline()
        assert len(list(temporary.iterdir())) == 2
        runs[0].kill()
        runs[0].wait()
        for folder in temporary.iterdir():
            os.utime(folder, (0, 0))
        session().run([fake("resnet50", "litters")])
        assert len(list(temporary.iterdir())) == 1
    finally:
        for run in runs:
            run.communicate()
    assert list(temporary.iterdir()) == []
