"""A worker's temporary files: they go with it, however it ends. Nothing of a run is left in the folder for such."""

import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from test_session import SMALL, fake, medians, session

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


@pytest.fixture
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SELECTOR_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


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
