"""Where a model is handed over: nothing of anybody else's is lost."""

from pathlib import Path

import pytest

from selector.errors import InvalidInput, OutputFailed
from selector.tuning.place import OWN_FILES, check_place, hand_over


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
