"""Which files belong to which class: a folder a class, or a CSV or Parquet file of paths and labels.

A folder: each subfolder is a class, searched to any depth. Where the subfolders that hold images are called train, val
and test (validation, valid too), they are the user's own split and the classes lie one level down. Where only some
are, with classes in them, it cannot be told what the others are, and the folder is refused.
A table: columns `path` (relative to the table's folder, or absolute) and `label`; optionally `split` (train,
validation, test) and `group` (images of one group never lie in two splits).
Names that are not UTF-8 can be written to no result: such files are left out by name, such classes refused.
"""

import csv
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from selector.errors import InvalidInput
from selector.tuning.data.images import SUFFIXES

SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
    "testing": "test",
}


@dataclass(frozen=True, slots=True)
class Entry:
    """One labelled file, not yet opened. `split` and `group` are the user's own, where given."""

    path: Path
    label: str
    split: str | None = None
    group: str | None = None


@dataclass(frozen=True, slots=True)
class Listing:
    """All labelled files, in a stable order, and the classes that were named (some may hold no file)."""

    root: Path
    entries: tuple[Entry, ...]
    classes: tuple[str, ...]
    ignored: tuple[Path, ...]  # files in class folders that are no images by their suffix
    loose: tuple[Path, ...] = ()  # images that lie in no class's folder
    misnamed: tuple[Path, ...] = ()  # images whose name is not UTF-8


def list_images(source: Path) -> Listing:
    """List the labelled images at `source`. Raises InvalidInput with all faults at once."""
    if not _is_text(source):
        raise InvalidInput(f"{shown(source)}: {misnaming(source.resolve())}")
    if not source.exists():
        raise InvalidInput(
            f"{source} does not exist; give a folder with one subfolder a class, or a CSV or Parquet file"
        )
    if source.is_dir():
        return _list_folder(source)
    if source.suffix.lower() in (".csv", ".parquet"):
        return _list_table(source)
    raise InvalidInput(f"{source} is neither a folder nor a .csv or .parquet file of paths and labels")


def _list_folder(root: Path) -> Listing:
    folders = _subfolders(root)
    if not folders:
        raise InvalidInput(f"{root} has no subfolders; each class needs a folder of its own, named after it")
    pairs, beside = _split_and_class_folders(root, folders)
    if faults := [f"class folder {shown(f)}: {misnaming(f)}" for _, f in pairs if not _is_text(f.name)]:
        raise InvalidInput(faults)
    entries: list[Entry] = []
    ignored = [path for folder in beside for path in _files(folder)]
    misnamed: list[Path] = []
    for split, folder in pairs:
        for path in _files(folder):
            if path.suffix.lower() not in SUFFIXES:
                ignored.append(path)
            elif not _is_text(path):
                misnamed.append(path)
            else:
                entries.append(Entry(path, folder.name, split or None))
    above = {root, *(folder.parent for _, folder in pairs)}
    loose = [
        p for place in sorted(above) for p in sorted(place.iterdir()) if p.suffix.lower() in SUFFIXES and p.is_file()
    ]
    classes = tuple(sorted({f.name for _, f in pairs}))
    return Listing(root, tuple(entries), classes, tuple(ignored), tuple(loose), tuple(misnamed))


def _split_and_class_folders(root: Path, folders: list[Path]) -> tuple[list[tuple[str, Path]], list[Path]]:
    """Pairs of split ("": none is given) and class folder, and the folders that are neither.

    What an archive leaves beside the splits (`__MACOSX`, notes) holds no image and does not count. A class may be
    called train: its images lie in it, and not in folders of their own.
    """
    bearing = [folder for folder in folders if _holds_image(folder)]
    splits = [folder for folder in bearing if folder.name.lower() in SPLIT_NAMES]
    others = [folder for folder in bearing if folder not in splits]
    trained = any(SPLIT_NAMES[folder.name.lower()] == "train" for folder in splits)
    if trained and not others:
        parts = [folder for folder in folders if folder.name.lower() in SPLIT_NAMES]
        pairs = [(SPLIT_NAMES[part.name.lower()], folder) for part in parts for folder in _subfolders(part)]
        return pairs, [folder for folder in folders if folder not in parts]
    if nested := [folder for folder in splits if any(_holds_image(inner) for inner in _subfolders(folder))]:
        names, rest = (", ".join(shown(f.name) for f in some) for some in (nested, others))
        raise InvalidInput(
            f"{root} holds {names} with folders of images in them, which looks like a split, "
            + (f"and beside them images in {rest}" if others else "and no train")
            + "; leave train, val and test alone in it, or, where these are classes, put their images right into them"
        )
    return [("", folder) for folder in folders], []


def _holds_image(folder: Path) -> bool:
    return any(p.suffix.lower() in SUFFIXES and not p.name.startswith(".") for p in folder.rglob("*"))


def _files(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*") if p.is_file() and not p.name.startswith("."))


def _subfolders(root: Path) -> list[Path]:
    return sorted(p for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))


def _is_text(name: str | Path) -> bool:
    """Whether a name can be written as UTF-8; one with other bytes comes with surrogates in their place."""
    try:
        str(name).encode()
    except UnicodeEncodeError:
        return False
    return True


def shown(name: str | Path) -> str:
    """A name as it can be written, bytes that are no UTF-8 escaped."""
    return str(name).encode(errors="backslashreplace").decode()


def misnaming(path: Path) -> str:
    """What is wrong with a name that is not UTF-8, and how it reads as what it probably is."""
    part = next(p for p in reversed(path.parts) if not _is_text(p))
    try:
        read = f"as GBK it reads {os.fsencode(part).decode('gbk')!r}; "
    except UnicodeDecodeError:
        read = ""
    return f"its name is not UTF-8, as of an archive that was packed on another system; {read}rename it"


def _list_table(source: Path) -> Listing:
    rows = list(_csv_rows(source) if source.suffix.lower() == ".csv" else _parquet_rows(source))
    faults: list[str] = []
    entries: list[Entry] = []
    for line, row in rows:
        path, label = (row.get("path") or "").strip(), (row.get("label") or "").strip()
        split = (row.get("split") or "").strip().lower()
        if not path or not label:
            faults.append(f"{source.name} line {line}: no {'path' if not path else 'label'}")
        elif split and split not in SPLIT_NAMES:
            faults.append(f"{source.name} line {line}: split {split!r} is not train, validation or test")
        else:
            group = (row.get("group") or "").strip() or None
            entries.append(Entry(source.parent / path, label, SPLIT_NAMES.get(split), group))
    given = sum(entry.split is not None for entry in entries)
    if given and given < len(entries):
        faults.append(f"{source.name}: {len(entries) - given} rows have no split while others do; give all or none")
    if not rows:
        faults.append(f"{source.name} has no rows")
    if faults:
        raise InvalidInput(faults)
    return Listing(source.parent, tuple(entries), tuple(sorted({e.label for e in entries})), ())


def _csv_rows(source: Path) -> Iterable[tuple[int, dict[str, str]]]:
    try:
        with source.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file)
            _need_columns(source, reader.fieldnames or ())
            yield from ((reader.line_num, row) for row in reader)
    except UnicodeDecodeError:
        raise InvalidInput(f"{source} is not UTF-8 text; save it as CSV UTF-8") from None
    except (csv.Error, OSError) as error:
        raise InvalidInput(f"{source} cannot be read as CSV: {error}") from None


def _parquet_rows(source: Path) -> Iterable[tuple[int, dict[str, str]]]:
    import pyarrow
    import pyarrow.parquet

    try:
        table = pyarrow.parquet.read_table(source)
    except (pyarrow.ArrowInvalid, OSError) as error:
        raise InvalidInput(f"{source} cannot be read as Parquet: {error}") from None
    _need_columns(source, table.column_names)
    for number, row in enumerate(table.to_pylist(), start=1):
        yield number, {name: "" if value is None else str(value) for name, value in row.items()}


def _need_columns(source: Path, columns: Iterable[str]) -> None:
    present = list(columns)
    missing = [name for name in ("path", "label") if name not in present]
    if missing:
        if len(present) == 1 and any(mark in present[0] for mark in ";\t|"):
            raise InvalidInput(f"{source} has one column, {present[0]!r}; separate columns with commas")
        columns_missing = " and no column ".join(map(repr, missing))
        raise InvalidInput(f"{source} has no column {columns_missing}; it has {', '.join(present) or 'none'}")
