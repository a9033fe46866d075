"""Which files belong to which class: a folder a class, or a CSV or Parquet file of paths and labels.

A folder: each subfolder is a class, searched to any depth. Where the subfolders are called train, val and test
(validation, valid too), they are the user's own split and the classes lie one level down.
A table: columns `path` (relative to the table's folder, or absolute) and `label`; optionally `split` (train,
validation, test) and `group` (images of one group never lie in two splits).
"""

import csv
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


def list_images(source: Path) -> Listing:
    """List the labelled images at `source`. Raises InvalidInput with all faults at once."""
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
    splits = {folder.name.lower(): folder for folder in folders}
    if splits.keys() <= SPLIT_NAMES.keys() and "train" in {SPLIT_NAMES[name] for name in splits}:
        pairs = [(SPLIT_NAMES[name], folder) for name, part in sorted(splits.items()) for folder in _subfolders(part)]
    else:
        pairs = [("", folder) for folder in folders]
    entries: list[Entry] = []
    ignored: list[Path] = []
    for split, folder in pairs:
        for path in sorted(p for p in folder.rglob("*") if p.is_file() and not p.name.startswith(".")):
            if path.suffix.lower() in SUFFIXES:
                entries.append(Entry(path, folder.name, split or None))
            else:
                ignored.append(path)
    above = {root, *(folder.parent for _, folder in pairs)}
    loose = [
        p for place in sorted(above) for p in sorted(place.iterdir()) if p.suffix.lower() in SUFFIXES and p.is_file()
    ]
    return Listing(root, tuple(entries), tuple(sorted({f.name for _, f in pairs})), tuple(ignored), tuple(loose))


def _subfolders(root: Path) -> list[Path]:
    return sorted(p for p in root.iterdir() if p.is_dir() and not p.name.startswith("."))


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
