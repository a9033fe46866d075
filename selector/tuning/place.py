"""The folder that a model is handed over in: only a new one, an empty one or a former model's is written to.

And the user's own data folder, in which studies lie: that it can be written to, and how it is told where it cannot.
"""

import errno
import os
import shutil
import tempfile
from pathlib import Path

from selector.errors import InvalidInput, OutputFailed

WEIGHTS = "model.safetensors"
SETTINGS = "preprocessing.json"
CARD = "README.md"
RECORD = "reproduce.json"
MODEL_FILES = {"fp32": "model.onnx", "int8-static": "model.int8.onnx"}
OWN_FILES = frozenset({WEIGHTS, SETTINGS, RECORD, CARD, *MODEL_FILES.values()})


NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS})
"""What the system says where a folder could be written to when the work began, and can no longer."""


def check_home(home: Path) -> None:
    """Try the user's data folder before the work. Raises OutputFailed where it cannot be made or written to."""
    _check_text(home, "SELECTOR_HOME")
    try:
        home.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=home, prefix=".selector-"):
            pass
    except OSError as error:
        raise cannot_write(home, error) from error


def _check_text(path: Path, option: str) -> None:
    """Raise InvalidInput where the whole path is no UTF-8: ONNX Runtime opens no such file."""
    whole = str(path.absolute())
    try:
        whole.encode()
    except UnicodeEncodeError as error:
        shown = whole.encode("utf-8", "backslashreplace").decode()
        raise InvalidInput(
            f"{shown} is no UTF-8, and no model in it could be opened; name another with {option}"
        ) from error


def cannot_write(path: Path, error: OSError) -> OutputFailed:
    """The error to be raised where `path`, in the user's data folder, could not be written."""
    return OutputFailed(
        f"cannot write to {path}: {error.strerror or error}; make room there, or name another folder in SELECTOR_HOME"
    )


def check_place(save: Path) -> None:
    """Try the folder before the work, so that an unusable one loses none.

    Raises InvalidInput for a folder that holds anything but a former model: a new model replaces what lies there.
    Raises OutputFailed where it cannot be made or written to.
    """
    _check_text(save, "--save")
    if save.is_dir():
        names = {file.name for file in save.iterdir()}
        strange = sorted(names - OWN_FILES) or (sorted(names) if names and RECORD not in names else [])
        if strange:
            more = f" and {len(strange) - 3} more" if len(strange) > 3 else ""
            raise InvalidInput(
                f"--save {save} holds {', '.join(strange[:3])}{more}; name a folder that does not exist, is empty or "
                "holds a model of `selector tune` alone"
            )
    elif save.exists():
        raise InvalidInput(f"--save {save} is a file; name a folder for the model")
    try:
        parent = save.resolve().parent
        parent.mkdir(parents=True, exist_ok=True)
        for place in (parent, save) if save.is_dir() else (parent,):
            with tempfile.TemporaryDirectory(dir=place, prefix=".selector-"):
                pass
    except OSError as error:
        raise OutputFailed(
            f"cannot write to {save}: {error.strerror or error}; choose another folder with --save"
        ) from error


def draft_of(save: Path) -> Path:
    """The folder beside `save` in which files lie until they are whole."""
    return save.parent / f".{save.name}.part"


def new_draft(save: Path) -> None:
    """Make that folder, and make it empty."""
    shutil.rmtree(draft_of(save), ignore_errors=True)
    draft_of(save).mkdir(parents=True)


def hand_over(draft: Path, save: Path) -> None:
    """Move the files of `draft` into `save`, in place of a former model's; what else lies there stays.

    The settings go first and come last: a model that was half replaced when the machine stopped is refused, not used.
    The record, by which `check_place` knows a model's folder, comes first.
    """
    save.mkdir(parents=True, exist_ok=True)
    for name in (SETTINGS, *sorted(OWN_FILES - {SETTINGS})):
        (save / name).unlink(missing_ok=True)
    for file in sorted(draft.iterdir(), key=lambda f: (f.name == SETTINGS, f.name != RECORD)):
        os.replace(file, save / file.name)
    shutil.rmtree(draft, ignore_errors=True)


def hand_over_more(draft: Path, save: Path) -> None:
    """Move the int8 model of `draft`, card and record to the model in `save`, which can be used all the while.

    Card and record come last: what they name is there. What else the draft holds served the making.
    """
    for name in (MODEL_FILES["int8-static"], CARD, RECORD):
        if (draft / name).is_file():
            os.replace(draft / name, save / name)
    shutil.rmtree(draft, ignore_errors=True)
