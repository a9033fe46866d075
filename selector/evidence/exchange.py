"""Figures that move between machines: records as CSV, Parquet or JSON.

Numbers, missing values and times come back exactly. `local` never leaves a machine: a file carries the device's own
name (`Machine.slug`, "amd-epyc-7763-64c"), which reads as local again on that sort of machine alone. Environment
documents travel in JSON; CSV and Parquet carry the fingerprints only. An import reports every bad row at once.
"""

import csv
import io
import json
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from selector.errors import InvalidEvidence, InvalidInput, OutputFailed, close_name
from selector.evidence.record import Record
from selector.evidence.rows import LOCAL, row_of

if TYPE_CHECKING:
    import pyarrow

Environments = Mapping[str, Mapping[str, Any]]

# the columns of CSV and Parquet: a row's names in their order, the unit after the value
TEXT, INTEGER, FLOAT, TRUTH, TIME = "string", "int64", "double", "bool", "timestamp[us, UTC]"
COLUMNS = {
    "backbone": TEXT,
    "hardware": TEXT,
    "runtime": TEXT,
    "runtime_version": TEXT,
    "precision": TEXT,
    "resolution": INTEGER,
    "batch_size": INTEGER,
    "threads": INTEGER,
    "freeze": TEXT,
    "frozen_blocks": INTEGER,
    "total_blocks": INTEGER,
    "metric": TEXT,
    "value": FLOAT,
    "unit": TEXT,
    "low": FLOAT,
    "high": FLOAT,
    "provenance": TEXT,
    "source": TEXT,
    "n": INTEGER,
    "stable": TRUTH,
    "fingerprint": TEXT,
    "protocol": TEXT,
    "recorded_at": TIME,
}


class Format(StrEnum):
    """What a file of records is written as."""

    CSV = "csv"
    PARQUET = "parquet"
    JSON = "json"


@dataclass(frozen=True, slots=True)
class Figures:
    """What a file holds: records, and the environments that it knows of, by fingerprint."""

    records: tuple[Record, ...]
    environments: Environments


def format_of(path: Path, named: str | None = None) -> Format:
    """The format called `named`, else the one of the path's suffix. Raises InvalidInput."""
    text = (named or path.suffix.lstrip(".")).lower()
    if text not in set(Format):
        what = f"no format {text!r}" if named else f"{path}: its suffix names no format"
        raise InvalidInput(f"{what}; evidence moves as {', '.join(Format)} (.csv, .parquet, .json, or --format)")
    return Format(text)


def dump(figures: Figures, form: Format, *, device: str) -> bytes:
    """The file's content. `device` is this machine's own name (`Store.device`), written in place of "local"."""
    if form is Format.JSON:
        return _dump_json(figures, device)
    rows = []
    for record in figures.records:
        row = row_of(record, device=device)
        rows.append({**row, "unit": record.figure.metric.unit})
    return _dump_csv(rows) if form is Format.CSV else _dump_parquet(figures.records, rows)


def load(paths: Sequence[Path], *, named: str | None = None) -> Figures:
    """The records of all files. Raises InvalidEvidence with every fault of every file, each with its line or row."""
    from selector.evidence.imported import record_from

    records: list[Record] = []
    environments: dict[str, Mapping[str, Any]] = {}
    found: list[str] = []
    for path in paths:
        try:
            if path.is_dir():
                raise InvalidEvidence("is a folder; name the files in it")
            form = format_of(path, named)
            rows, documents = _rows(path, form)
        except InvalidEvidence as error:
            found += [f"{path}: {fault}" for fault in error.faults]
            continue
        except InvalidInput as error:  # a name without a format, which names the file itself
            found += error.faults
            continue
        environments.update(documents)
        for place, row in rows:
            try:
                records.append(record_from(row, typed=form is Format.JSON))
            except InvalidEvidence as error:
                found += [f"{path}, {place}: {fault}" for fault in error.faults]
    if found:
        raise InvalidEvidence(list(dict.fromkeys(found)))
    return Figures(tuple(records), environments)


def write(path: Path, content: bytes) -> None:
    """Put `content` in place at `path` whole or not at all; `-` is stdout. Raises OutputFailed."""
    if path == Path("-"):
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()
        return
    try:
        if path.exists() and not path.is_file():
            path.write_bytes(content)  # a pipe or a device: nothing can be moved there
            return
        place = path.resolve()  # a link keeps pointing at the file that it names
        with tempfile.TemporaryDirectory(prefix=f".{place.name}.", dir=place.parent) as folder:
            draft = Path(folder) / place.name
            draft.write_bytes(content)
            os.replace(draft, place)
    except OSError as error:
        raise OutputFailed(
            f"cannot write {path}: {error.strerror or error}; choose a folder that exists, has room and may be "
            "written to (-o PATH)"
        ) from error


def _dump_json(figures: Figures, device: str) -> bytes:
    records = []
    for record in figures.records:
        at = record.conditions
        named = replace(record, conditions=replace(at, hardware=device if at.hardware == LOCAL else at.hardware))
        records.append(named.as_json())
    document = {"schema_version": 1, "records": records, "environments": dict(figures.environments)}
    return (json.dumps(document, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()


def _dump_csv(rows: Sequence[Mapping[str, Any]]) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    for row in rows:
        words = {True: "true", False: "false", None: ""}
        writer.writerow({**row, "stable": words[row["stable"]]})
    return text.getvalue().encode()


def _dump_parquet(records: Sequence[Record], rows: Sequence[Mapping[str, Any]]) -> bytes:
    import pyarrow
    from pyarrow import parquet

    timed = [{**row, "recorded_at": record.recorded_at} for record, row in zip(records, rows, strict=True)]
    sink = io.BytesIO()
    parquet.write_table(pyarrow.Table.from_pylist(timed, schema=_parquet_schema()), sink)
    return sink.getvalue()


def _parquet_schema() -> "pyarrow.Schema":
    import pyarrow

    types = {
        TEXT: pyarrow.string(),
        INTEGER: pyarrow.int64(),
        FLOAT: pyarrow.float64(),
        TRUTH: pyarrow.bool_(),
        TIME: pyarrow.timestamp("us", tz="UTC"),
    }
    return pyarrow.schema([(name, types[kind]) for name, kind in COLUMNS.items()])


Rows = list[tuple[str, Mapping[str, Any]]]  # each with its place in the file, for people


def _rows(path: Path, form: Format) -> tuple[Rows, Environments]:
    """A file's rows as they stand, unchecked. Raises InvalidEvidence where the file as a whole cannot be read."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InvalidEvidence(f"cannot be read: {error.strerror}") from error
    if form is Format.PARQUET:
        return _rows_of_parquet(content), {}
    try:
        text = content.decode("utf-8-sig")  # spreadsheets begin a file with a mark
    except UnicodeDecodeError as error:
        raise InvalidEvidence(f"is not UTF-8 text (byte {error.start})") from error
    return _rows_of_json(text) if form is Format.JSON else (_rows_of_csv(text), {})


def _rows_of_csv(text: str) -> Rows:
    reader = csv.reader(io.StringIO(text, newline=""), strict=True)
    rows: Rows = []
    begins = 1
    header: list[str] | None = None
    try:
        for cells in reader:
            place, begins = f"line {begins}", reader.line_num + 1  # a quoted cell may hold line breaks
            if header is None:
                header = cells
                _check_columns(header)
            elif cells and len(cells) != len(header):
                rows.append((place, {"": f"{len(cells)} cells, the header names {len(header)}"}))
            elif cells:
                rows.append((place, {name: cell or None for name, cell in zip(header, cells, strict=True)}))
    except csv.Error as error:
        raise InvalidEvidence(f"line {reader.line_num}: {error}") from error
    if header is None:
        raise InvalidEvidence("is empty; the first line names the columns")
    return rows


def _rows_of_parquet(content: bytes) -> Rows:
    import pyarrow
    from pyarrow import parquet

    try:
        table = parquet.read_table(io.BytesIO(content))
        _check_columns(table.column_names)
        rows = table.to_pylist()
    except (pyarrow.ArrowException, ValueError) as error:  # ValueError: nanoseconds that no datetime holds
        raise InvalidEvidence(f"is no Parquet file that can be read: {error}") from error
    # NaN is how data frames write a missing number
    return [
        (f"row {i}", {name: None if value != value else value for name, value in row.items()})
        for i, row in enumerate(rows, 1)
    ]


def _rows_of_json(text: str) -> tuple[Rows, Environments]:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:  # the former says line and column
        raise InvalidEvidence(f"is no JSON: {error}") from error
    if not isinstance(document, dict) or document.get("schema_version") != 1:
        raise InvalidEvidence("is no document of schema_version 1, as `selector evidence export` writes it")
    records, documents = document.get("records"), document.get("environments", {})
    if not isinstance(records, list):
        raise InvalidEvidence('has no list "records"')
    if not isinstance(documents, dict) or not all(isinstance(d, dict) for d in documents.values()):
        raise InvalidEvidence('its "environments" are not objects by fingerprint')
    return [(f"record {i}", _flat(record)) for i, record in enumerate(records, 1)], documents


def _flat(record: Any) -> Mapping[str, Any]:
    """A JSON record as a row: its `freeze` object in three columns."""
    if not isinstance(record, dict):
        return {"": f"not an object but {record!r:.60}"}
    freeze = record.get("freeze")
    if not isinstance(freeze, dict):
        return record
    return {**{k: v for k, v in record.items() if k != "freeze"}, "freeze": freeze.get("name"), **_blocks(freeze)}


def _blocks(freeze: Mapping[str, Any]) -> dict[str, Any]:
    return {name: freeze.get(name) for name in ("frozen_blocks", "total_blocks")}


def _check_columns(names: Sequence[str]) -> None:
    from selector.evidence.imported import NEEDED

    missing = [name for name in NEEDED if name not in names]
    unknown = [name for name in names if name not in COLUMNS]
    twice = sorted({name for name in names if list(names).count(name) > 1})
    found = [f"misses columns: {', '.join(missing)}"] if missing else []
    if unknown:
        hints = [f"{name!r}{close_name(name, COLUMNS).replace('; did', ', did')}" for name in unknown]
        found.append(f"has unknown columns: {'; '.join(hints)}; there are {', '.join(COLUMNS)}")
    found += [f"column {name!r} stands there twice" for name in twice]
    if found:
        raise InvalidEvidence(found)
