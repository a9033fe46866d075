import os
from pathlib import Path

import pytest

from selector.errors import OutputFailed
from selector.reporting.output import opened_output


def test_file_is_written_whole(tmp_path: Path) -> None:
    place = tmp_path / "page.html"
    with opened_output(place) as write:
        assert not place.exists()  # nobody reads half a page
        write("words")
    assert place.read_text() == "words"
    assert [p.name for p in tmp_path.iterdir()] == ["page.html"]


def test_failed_work_leaves_the_former_file(tmp_path: Path) -> None:
    place = tmp_path / "page.html"
    place.write_text("former")
    with pytest.raises(FileNotFoundError), opened_output(place):
        raise FileNotFoundError("the work's own failure is not the output's")
    assert place.read_text() == "former"
    assert [p.name for p in tmp_path.iterdir()] == ["page.html"]


@pytest.mark.parametrize("name", ["missing/page.html", ""])
def test_bad_place_is_told_before_the_work(tmp_path: Path, name: str) -> None:
    worked = False
    with pytest.raises(OutputFailed, match="cannot write"), opened_output(tmp_path / name):
        worked = True
    assert not worked


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no /dev/full")
def test_full_disk_is_told() -> None:
    with pytest.raises(OutputFailed, match="No space left"), opened_output(Path("/dev/full")) as write:
        write("words")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write to protected files")
def test_protected_file_is_kept(tmp_path: Path) -> None:
    place = tmp_path / "page.html"
    place.write_text("former")
    place.chmod(0o444)
    with pytest.raises(OutputFailed, match="write-protected"), opened_output(place):
        pass
    assert place.read_text() == "former"
