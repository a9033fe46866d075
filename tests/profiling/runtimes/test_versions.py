"""A runtime's library may come under another distribution's name, or under none."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import ClassVar

import pytest
from fake_runtimes import Fake

import selector
from selector.hardware.machine import detect
from selector.profiling.runtimes import base

Install = Callable[..., None]


class Named(Fake):
    name = "named"
    distribution: ClassVar[str] = "some-engine"


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Puts the module `some_engine` where Python finds it, and beside it what an installer would have noted."""
    monkeypatch.syspath_prepend(str(tmp_path))
    forget()

    def write(distribution: str | None, *, module: str = "") -> None:
        (tmp_path / "some_engine").mkdir()
        (tmp_path / "some_engine" / "__init__.py").write_text(module)
        if distribution is not None:
            note(tmp_path, distribution, "3.2.1", "some_engine")

    yield write
    forget()


def forget() -> None:
    for kept in (base.distribution_of, base._own_word):
        kept.cache_clear()
    sys.modules.pop("some_engine", None)


def note(place: Path, distribution: str, version: str, module: str) -> None:
    notes = place / f"{distribution.replace('-', '_')}-{version}.dist-info"
    notes.mkdir()
    (notes / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")
    (notes / "top_level.txt").write_text(f"{module}\n")


@pytest.mark.parametrize("distribution", ["some-engine", "some-engine-directml"])
def test_the_version_is_that_of_whichever_distribution_brings_the_module(install: Install, distribution: str) -> None:
    install(distribution, module="raise ImportError('nobody has to import this')")
    assert Named.availability(detect()).usable
    assert Named.version() == "3.2.1"


def test_a_module_that_no_installer_knows_speaks_for_itself(install: Install) -> None:
    install(None, module="__version__ = '4.0'")
    assert Named.availability(detect()).usable
    assert Named.version() == "4.0"


@pytest.mark.parametrize("module", ["", "raise OSError('libcuda.so.1 is missing')"])
def test_where_nothing_tells_the_version_the_runtime_cannot_be_used(install: Install, module: str) -> None:
    install(None, module=module)
    offer = Named.availability(detect())
    assert not offer.usable
    assert "pip install some-engine" in (offer.why or "")
    with pytest.raises(metadata.PackageNotFoundError):
        Named.version()


def test_what_is_not_there_is_not_installed() -> None:
    offer = Named.availability(detect())
    assert (offer.usable, offer.why) == (False, "some-engine is not installed; `pip install some-engine`")


def test_onnx_runtime_by_another_name_is_onnx_runtime(tmp_path: Path) -> None:
    """The library that is installed here, with the notes of onnxruntime-directml in place of its own."""
    own = Path(metadata.distribution("onnxruntime").locate_file(""))
    for entry in own.iterdir():
        if not entry.name.startswith("onnxruntime-"):
            (tmp_path / entry.name).symlink_to(entry)
    note(tmp_path, "onnxruntime-directml", "1.99.0", "onnxruntime")
    script = (
        "from selector.hardware.machine import detect; from selector.profiling.runtimes import runtime; "
        "kind, cuda = runtime('onnxruntime'), runtime('onnxruntime-cuda'); "
        "print(kind.availability(detect()).usable, kind.version()); print(cuda.availability(detect()).why)"
    )
    places = os.pathsep.join([str(Path(selector.__file__).parents[1]), str(tmp_path)])
    done = subprocess.run(  # -S: without the folder of installed libraries itself
        [sys.executable, "-S", "-c", script],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": places},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    usable, uninstall = done.stdout.splitlines()
    assert usable == "True 1.99.0"
    assert "`pip uninstall onnxruntime-directml`" in uninstall
