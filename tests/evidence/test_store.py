import os
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from selector.errors import InvalidEvidence, InvalidInput, StoreFailed
from selector.evidence.record import Conditions, FreezePoint, Provenance, Record
from selector.evidence.store import Store, open_store
from selector.hardware import machine

AT = datetime(2026, 3, 1, 12, 30, 0, 123456, tzinfo=UTC)


def measured(value: float, *, backbone: str = "resnet50", hardware: str = "local", minutes: int = 0) -> Record:
    return Record.of(
        "latency_ms_p50",
        value,
        Conditions(backbone, hardware, "onnxruntime", "1.32.0", "fp32", 224, 1, 2, FreezePoint("last-3", 15, 18)),
        provenance=Provenance.MEASURED,
        source="protocol 1",
        low=value - 0.1,
        high=value + 0.1,
        n=64,
        stable=True,
        fingerprint="0123456789ab",
        protocol="1",
        recorded_at=AT + timedelta(minutes=minutes),
    )


def published(value: float, *, backbone: str = "vgg16", hardware: str = "raspberry-pi-4") -> Record:
    return Record.of(
        "latency_ms_p50",
        value,
        Conditions(backbone, hardware, "tflite"),
        provenance=Provenance.PUBLISHED,
        source="a citation, “quoted”",
        recorded_at=AT,
    )


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SELECTOR_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("SELECTOR_STORE", raising=False)
    return tmp_path / "home"


def test_records_come_back_as_they_were(home: Path) -> None:
    records = [published(1e-300), measured(1 / 3, minutes=1), measured(2.0, minutes=2)]
    with open_store() as store:
        assert store.add(reversed(records)) == 3
    with open_store() as store:
        assert store.records() == records  # oldest first
        assert [r.figure.value for r in store.records(backbones="resnet50")] == [1 / 3, 2.0]
    assert [p.name for p in home.iterdir()] == ["evidence.sqlite"]


def test_same_record_is_kept_once(home: Path) -> None:
    with open_store() as store:
        assert store.add([measured(1.0), measured(1.0)]) == 1
        assert store.add([measured(1.0), measured(1.5)]) == 1
        own = measured(1.0, hardware=machine.detect().slug())
        assert store.add([own]) == 0  # this machine's own name means local
        assert len(store.records()) == 2


def test_local_never_stands_in_the_file(home: Path) -> None:
    with open_store() as store:
        store.add([measured(1.0), measured(3.0, hardware="another-machine-8c")])
        assert [r.figure.value for r in store.records(hardware="local")] == [1.0]
    with sqlite3.connect(home / "evidence.sqlite") as plain:
        names = {name for (name,) in plain.execute("SELECT hardware FROM evidence_records")}
    assert names == {machine.detect().slug(), "another-machine-8c"}


def test_a_copied_store_is_not_local_on_another_machine(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with open_store() as store:
        store.add([measured(1.0)])
        here = store.device
    monkeypatch.setattr(Store, "device", "another-machine-8c")
    with open_store() as store:
        assert store.records(hardware="local") == []
        assert [r.conditions.hardware for r in store.records()] == [here]


def test_filters(home: Path) -> None:
    with open_store() as store:
        store.add([measured(1.0), measured(2.0, backbone="resnet18"), published(3.0)])

        def values(**filters: object) -> set[float]:
            return {r.figure.value for r in store.records(**filters)}  # type: ignore[arg-type]

        assert values(backbones=("resnet50", "vgg16")) == {1.0, 3.0}
        assert values(hardware=["local", "raspberry-pi-4"]) == {1.0, 2.0, 3.0}
        assert values(provenance=Provenance.PUBLISHED) == {3.0}
        assert values(runtime="onnxruntime", precision="fp32", fingerprint="0123456789ab") == {1.0, 2.0}
        assert values(metrics="load_ms") == values(backbones=[]) == set()


def test_times_of_other_zones_become_utc(home: Path) -> None:
    east = Record.of(
        "load_ms",
        5,
        Conditions("resnet50", "board"),
        provenance=Provenance.PUBLISHED,
        source="x",
        recorded_at=datetime(2026, 1, 1, 8, tzinfo=timezone(timedelta(hours=8))),
    )
    with open_store() as store:
        store.add([east])
        [back] = store.records()
    assert back == east
    assert back.recorded_at.utcoffset() == timedelta(0)


def test_one_bad_record_keeps_all_out_and_all_faults_are_told(home: Path) -> None:
    bad = Record.of(
        "load_ms",
        float("nan"),
        Conditions("", "board", threads=0, freeze=FreezePoint("head", 9, 8)),
        provenance=Provenance.PUBLISHED,
        source=" ",
        low=2.0,
        high=1.0,
        recorded_at=datetime(2026, 1, 1),  # no zone
    )
    with open_store() as store:
        with pytest.raises(InvalidEvidence) as caught:
            store.add([measured(1.0), bad])
        assert len(caught.value.faults) == 7
        assert all(fault.startswith("record 2: ") for fault in caught.value.faults)
        assert store.records() == []
    assert not home.exists()


def test_absent_store_reads_as_empty_and_is_not_created(home: Path) -> None:
    with open_store() as store:
        assert store.records() == []
        assert store.environment("x") is None
        assert store.add([]) == 0
    assert not home.exists()


def test_environments(home: Path) -> None:
    document = {"machine": {"cores": 2, "quota_cpus": 1.5, "isa": ["avx2"]}, "libraries": {"torch": None}}
    with open_store() as store:
        store.add_environment("aa", document)
        store.add([measured(1.0)], environments={"bb": {"a": 1}, "aa": {"another": "document"}})
        assert store.environment("aa") == document
        assert store.environments() == {"aa": document, "bb": {"a": 1}}
        assert store.environments(["bb", "cc"]) == {"bb": {"a": 1}}


def test_where_a_store_lies(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for url in (tmp_path / "a.sqlite", f"sqlite:///{tmp_path}/b.sqlite", str(tmp_path / "deeper" / "c%20?.sqlite")):
        with open_store(url) as store:
            store.add([measured(1.0)])
        with open_store(url) as store:
            assert len(store.records()) == 1
    assert (tmp_path / "deeper" / "c%20?.sqlite").is_file()
    monkeypatch.setenv("SELECTOR_STORE", str(tmp_path / "a.sqlite"))
    assert len(open_store().records()) == 1
    for url in ("mysql://user:secret@host/x", "sqlite://", "http://x"):
        with pytest.raises(InvalidInput, match="postgresql://") as caught:
            open_store(url)
        assert "secret" not in str(caught.value)


def test_a_file_system_without_links(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    with open_store() as store:
        store.add([measured(1.0)])
        assert len(store.records()) == 1
    assert [p.name for p in home.iterdir()] == ["evidence.sqlite"]


def test_password_is_not_shown() -> None:
    with pytest.raises(StoreFailed, match="cannot read the evidence store") as caught:
        open_store("postgresql://user:secret@127.0.0.1:1/none")
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("content", [b"figures" * 1000, b"SQLite format 3\0" + b"\xff" * 5000])
def test_a_file_that_is_no_database(tmp_path: Path, content: bytes) -> None:
    place = tmp_path / "evidence.sqlite"
    place.write_bytes(content)
    with pytest.raises(StoreFailed, match=r"(no SQLite database|damaged)"):
        open_store(place)
    assert place.read_bytes() == content


def test_a_database_of_something_else(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "photos.sqlite") as plain:
        plain.execute("CREATE TABLE photos (name)")
    with pytest.raises(StoreFailed, match="no evidence store"):
        open_store(tmp_path / "photos.sqlite")


def test_a_damaged_store(tmp_path: Path) -> None:
    place = tmp_path / "evidence.sqlite"
    with open_store(place) as store:
        store.add([measured(float(i), minutes=i) for i in range(1, 400)])
    whole = place.read_bytes()
    place.write_bytes(whole[:8192] + b"\x55" * (len(whole) - 8192))
    with pytest.raises(StoreFailed, match="damaged"), open_store(place) as store:
        store.records()


def test_a_folder_or_a_path_through_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for place in (tmp_path, tmp_path / "file" / "evidence.sqlite"):
        with pytest.raises(StoreFailed, match="cannot read the evidence store"):
            open_store(place)


@contextmanager
def no_rights_in(folder: Path) -> Iterator[None]:
    """Within the block, this process may not write to `folder`; as root it becomes nobody for so long."""
    folder.chmod(0o555)
    root = os.geteuid() == 0
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)
        folder.chmod(0o755)


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that other users may enter, which tmp_path is not."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


def test_read_only_folder(open_folder: Path) -> None:
    place = open_folder / "evidence.sqlite"
    with open_store(place) as store:
        store.add([measured(1.0)])
        before = store.records()
    with no_rights_in(open_folder):
        with open_store(place) as store:
            assert store.records() == before
            with pytest.raises(StoreFailed, match="read-only here"):
                store.add([measured(2.0)])
        with pytest.raises(StoreFailed, match=r"[Pp]ermission denied"):
            open_store(open_folder / "new.sqlite").add([measured(2.0)])
    assert [p.name for p in open_folder.iterdir()] == ["evidence.sqlite"]
    with open_store(place) as store:
        assert store.records() == before


def modules_after(code: str) -> set[str]:
    script = f"{code}\nimport sys; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], check=True, capture_output=True, text=True)
    return set(done.stdout.split())


def test_nothing_heavy_is_imported_before_it_is_needed(home: Path) -> None:
    read = "from selector.evidence.store import open_store\nwith open_store() as s: s.records()"
    absent = modules_after(read)
    assert not {"sqlalchemy", "alembic", "torch", "pydantic", "pyarrow"} & absent
    with open_store() as store:
        store.add([measured(1.0)])
    present = modules_after(read)
    assert "sqlalchemy" in present
    assert not {"alembic", "torch", "pydantic", "pyarrow"} & present
