"""The store on PostgreSQL: `SELECTOR_TEST_POSTGRESQL` names a database where schemas may be made and dropped."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from uuid import uuid4

import pytest

from selector.errors import StoreFailed
from selector.evidence.record import Conditions, FreezePoint, Provenance, Record
from selector.evidence.store import open_store

URL = os.environ.get("SELECTOR_TEST_POSTGRESQL")
pytestmark = pytest.mark.skipif(not URL, reason="SELECTOR_TEST_POSTGRESQL names no database")


def record(value: float) -> Record:
    at = Conditions("resnet50", "local", "onnxruntime", None, "fp32", 224, 1, 2, FreezePoint("head", 18, 18))
    return Record.of(
        "latency_ms_p50",
        value,
        at,
        provenance=Provenance.MEASURED,
        source="“x”",
        low=value / 3,
        stable=False,
        n=64,
        fingerprint="aa",
        recorded_at=datetime(2026, 1, 1, 0, 0, 0, 1, tzinfo=UTC),
    )


@pytest.fixture
def url() -> Iterator[str]:
    """The database with a fresh schema of its own."""
    import psycopg

    assert URL is not None
    name = f"selector_test_{uuid4().hex}"
    with psycopg.connect(URL, autocommit=True) as connection:
        connection.execute(f'CREATE SCHEMA "{name}"'.encode())
        yield f"{URL}{'&' if '?' in URL else '?'}options=-csearch_path%3D{name}"
        connection.execute(f'DROP SCHEMA "{name}" CASCADE'.encode())


def test_round_trip(url: str) -> None:
    records = [record(1 / 3), record(1e300)]
    with open_store(url) as store:
        assert store.records() == []
        assert store.add(records, environments={"aa": {"ä": 1.5}}) == 2
        assert store.add([*records, record(2.0)]) == 1
    with open_store(url) as store:
        assert {r.figure.value for r in store.records(hardware="local")} == {1 / 3, 1e300, 2.0}
        assert records[0] in store.records()
        assert store.environment("aa") == {"ä": 1.5}


def test_several_that_create_and_write_at_once_lose_nothing(url: str) -> None:
    def write(first: int) -> int:
        with open_store(url) as store:
            return sum(store.add([record(float(first + i))]) for i in range(10))

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(write, (0, 100, 200, 300))) == [10] * 4
    with open_store(url) as store:
        assert len(store.records()) == 40


def test_a_newer_schema_is_refused(url: str) -> None:
    import psycopg

    with open_store(url) as store:
        store.add([record(1.0)])
    with psycopg.connect(url) as connection:
        connection.execute("UPDATE evidence_version SET version_num = '9999'")
    with pytest.raises(StoreFailed, match="newer version"):
        open_store(url)
