"""Where a model is handed over: nothing of anybody else's is lost."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from selector.errors import InvalidInput, OutputFailed
from selector.tuning.place import (
    OWN_FILES,
    check_home,
    check_place,
    draft_of,
    hand_over,
    hand_over_more,
    new_draft,
)


def model(folder: Path, says: str) -> Path:
    folder.mkdir()
    for name in OWN_FILES:
        (folder / name).write_text(says)
    return folder


def test_a_new_an_empty_and_a_former_models_folder_will_do(tmp_path: Path) -> None:
    check_place(tmp_path / "a" / "new")
    assert list((tmp_path / "a").iterdir()) == []
    (tmp_path / "empty").mkdir()
    check_place(tmp_path / "empty")
    check_place(model(tmp_path / "former", "old"))


def test_a_folder_with_anything_else_is_refused(tmp_path: Path) -> None:
    images = tmp_path / "images"
    images.mkdir()
    for name in ("a.png", "b.png", "c.png", "d.png"):
        (images / name).write_bytes(b"x")
    with pytest.raises(InvalidInput, match=r"holds a.png, b.png, c.png and 1 more"):
        check_place(images)
    project = tmp_path / "project"
    project.mkdir()
    (project / "README.md").write_text("mine")  # a name of ours, and no model
    with pytest.raises(InvalidInput, match=r"holds README.md"):
        check_place(project)
    with pytest.raises(InvalidInput, match="is a file"):
        check_place(images / "a.png")
    with pytest.raises(OutputFailed, match="cannot write"):
        check_place(images / "a.png" / "model")


def test_a_new_model_replaces_the_former_one_and_nothing_beside_it(tmp_path: Path) -> None:
    save = model(tmp_path / "model", "old")
    (save / "notes.txt").write_text("mine")
    draft = tmp_path / ".model.part"
    draft.mkdir()
    for name in OWN_FILES - {"model.int8.onnx"}:
        (draft / name).write_text("new")
    hand_over(draft, save)
    assert {f.name for f in save.iterdir()} == OWN_FILES - {"model.int8.onnx"} | {"notes.txt"}
    assert (save / "notes.txt").read_text() == "mine"
    assert (save / "preprocessing.json").read_text() == "new"
    assert not draft.exists()


def test_what_comes_later_is_added_and_card_and_record_name_it_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save = model(tmp_path / "model", "old")
    (save / "model.int8.onnx").unlink()
    new_draft(save)
    beside = ("model.onnx", "preprocessing.json", "left by a job that was killed")  # what the making needed
    for name in ("README.md", "reproduce.json", "model.int8.onnx", *beside):
        (draft_of(save) / name).write_text("new")
    moved: list[str] = []
    move = os.replace

    def told(source: Path, target: Path) -> None:
        assert (save / "model.onnx").read_text() == "old"
        moved.append(target.name)
        move(source, target)

    monkeypatch.setattr(os, "replace", told)
    hand_over_more(draft_of(save), save)
    assert moved == ["model.int8.onnx", "README.md", "reproduce.json"]
    assert (save / "preprocessing.json").read_text() == (save / "model.onnx").read_text() == "old"
    assert {f.name for f in save.iterdir()} == OWN_FILES
    assert not draft_of(save).exists()
    (draft_of(save)).mkdir()
    (draft_of(save) / "model.onnx").write_text("of a run that was killed")
    new_draft(save)
    assert list(draft_of(save).iterdir()) == []


def test_a_home_that_cannot_be_made_is_told_with_what_to_do(tmp_path: Path) -> None:
    check_home(tmp_path / "new" / "home")
    assert list((tmp_path / "new" / "home").iterdir()) == []
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(OutputFailed, match=r"cannot write to .*file/home: Not a directory; .*SELECTOR_HOME"):
        check_home(tmp_path / "file" / "home")


def test_a_disk_that_fills_leaves_the_former_file_and_says_where(tmp_path: Path) -> None:
    file = tmp_path / "data.json"
    file.write_text("former")
    code = (
        "import resource, sys; from pathlib import Path; from selector.tuning.jobs.common import write_whole\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"  # as good as a full disk, and needs no disk
        "write_whole(Path(sys.argv[1]), 'x' * 2000)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(file)], capture_output=True, text=True, check=False)
    assert f"OutputFailed: cannot write to {file}: " in done.stderr
    assert file.read_text() == "former"
    assert list(tmp_path.iterdir()) == [file]


def test_a_path_that_is_no_text_is_refused_before_the_work(tmp_path: Path) -> None:
    strange = tmp_path / os.fsdecode("模型".encode("gbk"))
    for check in (check_place, check_home):
        with pytest.raises(InvalidInput, match=r"udcd0.* is no UTF-8"):
            check(strange)
    assert not strange.exists()
