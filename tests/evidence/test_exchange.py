import csv
import io
import json
import math
import sys
from datetime import UTC, datetime
from pathlib import Path

import pyarrow
import pytest
from pyarrow import parquet

from selector.errors import InvalidEvidence, InvalidInput, OutputFailed
from selector.evidence.exchange import COLUMNS, Figures, Format, dump, format_of, load, write
from selector.evidence.metrics import METRICS
from selector.evidence.record import Conditions, FreezePoint, Provenance, Record
from selector.evidence.store import open_store

AWKWARD_NUMBERS = (0.1 + 0.2, 1 / 3, 5e-324, sys.float_info.max, -0.0, 4_089_184_256, math.pi * 1e-20)
AWKWARD_TEXTS = (
    "a, b",
    'say "x"',
    "two\nlines",
    "carriage\r\nreturn",
    " spaces ",
    "中文 µs × ±",
    "=1+1",
    "null",
    "#",
    "'",
)
AT = datetime(2026, 2, 28, 23, 59, 59, 999999, tzinfo=UTC)


def records() -> tuple[Record, ...]:
    """Every metric, awkward numbers and texts, everything stated and nothing stated."""
    full = [
        Record.of(
            name,
            AWKWARD_NUMBERS[i % len(AWKWARD_NUMBERS)],
            Conditions(
                "resnet50", "board", "onnxruntime", "1.32.0", "fp32", 224, 1, 2, FreezePoint("last-3", 15 + i % 4, 18)
            ),
            provenance=list(Provenance)[i % 3],
            source=AWKWARD_TEXTS[i % len(AWKWARD_TEXTS)],
            low=-1e-9,
            high=AWKWARD_NUMBERS[i % len(AWKWARD_NUMBERS)],
            n=64 + i,
            stable=i % 2 == 0,
            fingerprint="0123456789ab",
            protocol="1",
            recorded_at=AT,
        )
        for i, name in enumerate(METRICS)
    ]
    bare = Record.of("params", 1, Conditions("x", "y"), provenance=Provenance.PUBLISHED, source="z", recorded_at=AT)
    return (*full, bare)


ENVIRONMENTS = {"0123456789ab": {"machine": {"cores": 2, "quota_cpus": None}, "ä": [1.5, True]}}


@pytest.mark.parametrize("form", Format)
def test_round_trip_is_exact(tmp_path: Path, form: Format) -> None:
    place = tmp_path / f"figures.{form.value}"
    write(place, dump(Figures(records(), ENVIRONMENTS), form, device="here"))
    back = load([place])
    assert back.records == records()
    numbers = [[r.figure.value + 0.0 for r in each] for each in (back.records, records())]  # + 0.0: −0.0 may become 0.0
    assert [repr(number) for number in numbers[0]] == [repr(number) for number in numbers[1]]
    assert all(r.recorded_at.utcoffset() == AT.utcoffset() for r in back.records)
    assert back.environments == (ENVIRONMENTS if form is Format.JSON else {})


@pytest.mark.parametrize("form", Format)
def test_from_store_to_store(tmp_path: Path, form: Format) -> None:
    place = tmp_path / f"figures.{form.value}"
    local = Record.of("load_ms", 0.1, Conditions("x", "local"), provenance=Provenance.MEASURED, source="y")
    with open_store(tmp_path / "a.sqlite") as store:
        store.add([*records(), local])
        write(place, dump(Figures(tuple(store.records()), {}), form, device=store.device))
        assert "local" not in {r.conditions.hardware for r in load([place]).records}
        assert store.add(load([place]).records) == 0  # its own figures come home
    with open_store(tmp_path / "b.sqlite") as other:
        assert other.add(load([place, place]).records) == len(records()) + 1
        assert other.records(metrics="load_ms")[-1] == local  # the same sort of machine


@pytest.mark.parametrize("form", Format)
def test_local_is_written_under_the_devices_own_name(tmp_path: Path, form: Format) -> None:
    local = Record.of("load_ms", 0.1, Conditions("x", "local"), provenance=Provenance.MEASURED, source="y")
    place = tmp_path / f"f.{form.value}"
    write(place, dump(Figures((local,), {}), form, device="amd-epyc-7763-64c"))
    assert [r.conditions.hardware for r in load([place]).records] == ["amd-epyc-7763-64c"]


def test_csv_reads_as_a_table(tmp_path: Path) -> None:
    text = dump(Figures(records(), {}), Format.CSV, device="here").decode()
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert len(rows) == len(records())
    assert tuple(rows[0]) == tuple(COLUMNS)
    assert {row["unit"] for row in rows} == {m.unit for m in METRICS.values()}


GOOD = "resnet50,board,latency_ms_p50,1.5,ms,published,x,2026-01-01T00:00:00Z,2,,,"
HEADER = "backbone,hardware,metric,value,unit,provenance,source,recorded_at,threads,freeze,frozen_blocks,total_blocks"
BAD_ROWS = {
    "resnet50,board,latency_ms_p50,fast,ms,published,x,2026-01-01T00:00:00Z,0,,,": ["value 'fast'", "threads '0'"],
    "resnet50,board,latency_ms_p51,1,ms,published,x,2026-01-01T00:00:00Z,,,,": ["did you mean 'latency_ms_p50'"],
    "resnet50,board,latency_ms_p50,nan,s,published,,2026-01-01T00:00:00Z,,,,": [
        "value 'nan'",
        "is in ms",
        "source is mi",
    ],
    ",local,latency_ms_p50,1,ms,guessed,x,2026-01-01T00:00:00,,,,": [
        "backbone is mi",
        "'local'",
        "'guessed'",
        "timezone",
    ],
    "resnet50,board,latency_ms_p50,1,ms,published,x,2026-01-01T00:00:00Z,,head,,": ["frozen_blocks and total_blocks"],
    "resnet50,board,latency_ms_p50,1,ms,published,x,2026-01-01T00:00:00Z,,head,9,8": ["9 frozen blocks of 8"],
    "resnet50,board": ["2 cells, the header names 12"],
}


def test_every_bad_row_of_every_file_is_told_with_its_line(tmp_path: Path) -> None:
    first, second = tmp_path / "first.csv", tmp_path / "second.csv"
    several = '"two\nlines",' + GOOD.partition(",")[2]  # a row of two lines moves the ones below it
    first.write_text("\n".join([HEADER, GOOD, several, *BAD_ROWS, ""]))
    second.write_text("\n".join([HEADER, *BAD_ROWS, GOOD]))
    with pytest.raises(InvalidEvidence) as caught:
        load([first, second])
    told = list(caught.value.faults)
    for place, above in ((first, 5), (second, 2)):
        for line, parts in enumerate(BAD_ROWS.values(), above):
            for part in parts:
                [fault] = [f for f in told if f.startswith(f"{place}, line {line}: ") and part in f]
                told.remove(fault)
    assert told == []


def test_header_faults_are_told_at_once(tmp_path: Path) -> None:
    place = tmp_path / "a.csv"
    place.write_text("backbone,hardware,hardware,latency\nresnet50,a,b,1\n")
    with pytest.raises(InvalidEvidence) as caught:
        load([place])
    missing, unknown, twice = caught.value.faults
    assert missing.endswith("misses columns: metric, value, provenance, source, recorded_at")
    assert "has unknown columns: 'latency'; there are" in unknown
    assert twice.endswith("column 'hardware' stands there twice")


def test_json_types_stand_as_they_are(tmp_path: Path) -> None:
    place = tmp_path / "a.json"
    document = json.loads(dump(Figures(records()[:1], {}), Format.JSON, device="here"))
    record = document["records"][0]
    bad = [{**record, "value": "1.5"}, {**record, "value": True}, {**record, "n": 2.5}, {**record, "speed": 1}, [1]]
    bad.append({**record, "freeze": {"name": "head"}})
    place.write_text(json.dumps({**document, "records": [record, *bad]}))
    with pytest.raises(InvalidEvidence) as caught:
        load([place])
    assert [fault.partition(":")[0] for fault in caught.value.faults] == [
        f"{place}, record {i}" for i in range(2, 2 + len(bad))
    ]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.csv", b"", "is empty"),
        ("a.csv", b"\xff\xfe\0", "not UTF-8"),
        ("a.csv", HEADER.encode() + b'\n"open', "line 2"),
        ("a.json", b'{"schema_version": 1,\n "records": [}', "line 2 column"),
        ("a.json", b"[" * 100_000, "is no JSON"),
        ("a.json", b'{"schema_version": 2, "records": []}', "schema_version 1"),
        ("a.json", b'{"schema_version": 1}', "records"),
        ("a.json", b'{"schema_version": 1, "records": [], "environments": [1]}', "environments"),
        ("a.parquet", b"PAR1", "no Parquet file"),
    ],
)
def test_a_file_that_cannot_be_read(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InvalidEvidence, match=said):
        load([tmp_path / name, tmp_path / name])


def test_a_missing_file() -> None:
    with pytest.raises(InvalidEvidence, match="No such file"):
        load([Path("nowhere.csv")])


def test_a_spreadsheets_mark_and_line_ends_are_read(tmp_path: Path) -> None:
    place = tmp_path / "a.csv"
    place.write_bytes(f"\ufeff{HEADER}\r\n{GOOD}\r\n\r\n".encode())
    assert len(load([place]).records) == 1


def test_parquet_of_a_data_frame_with_gaps(tmp_path: Path) -> None:
    needed = {"backbone": "x", "hardware": "y", "metric": "params", "provenance": "published", "source": "z"}
    columns = {name: [text, text] for name, text in needed.items()}
    gaps = {"value": [1.0, 2.0], "threads": [2.0, math.nan], "recorded_at": [AT, AT]}
    parquet.write_table(pyarrow.table({**columns, **gaps}), tmp_path / "a.parquet")
    assert [r.conditions.threads for r in load([tmp_path / "a.parquet"]).records] == [2, None]


def test_format_by_suffix_or_name() -> None:
    assert format_of(Path("a.PARQUET")) is Format.PARQUET
    assert format_of(Path("a.txt"), "CSV") is Format.CSV
    for path, named in ((Path("a.txt"), None), (Path("-"), None), (Path("a.csv"), "xlsx")):
        with pytest.raises(InvalidInput, match="csv, parquet, json"):
            format_of(path, named)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no /dev/full")
def test_a_full_device_is_told_and_stays_one() -> None:
    with pytest.raises(OutputFailed, match="No space left"):
        write(Path("/dev/full"), b"figures")
    assert not Path("/dev/full").is_file()


def test_a_failed_write_leaves_the_former_file(tmp_path: Path) -> None:
    with pytest.raises(OutputFailed, match="cannot write"):
        write(tmp_path / "missing" / "a.csv", b"figures")
    with pytest.raises(OutputFailed, match="cannot write"):
        write(tmp_path, b"figures")
    assert list(tmp_path.iterdir()) == []
