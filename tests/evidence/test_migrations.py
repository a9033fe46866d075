import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine

from selector.errors import StoreFailed
from selector.evidence import migrations, schema
from selector.evidence.record import Conditions, FreezePoint, Provenance
from selector.evidence.store import open_store


def config() -> Config:
    made = Config()
    made.set_main_option("script_location", str(Path(migrations.__file__).parent))
    return made


@pytest.fixture
def old_store(tmp_path: Path) -> Path:
    """A store of the first schema with one record in it."""
    place = tmp_path / "evidence.sqlite"
    engine = create_engine(f"sqlite:///{place}")
    with engine.begin() as connection:
        first = config()
        first.attributes["connection"] = connection
        command.upgrade(first, "0001")
        connection.exec_driver_sql(
            "INSERT INTO evidence_records (id, backbone, hardware, freeze, frozen_blocks, total_blocks, metric, value,"
            " provenance, source, stable, recorded_at) VALUES ('old', 'resnet50', 'board', 'head', 18, 18,"
            " 'train_step_ms', 0.1, 'measured', 'long ago', 1, '2025-01-01T00:00:00.000000+00:00')"
        )
    engine.dispose()
    return place


def revision_in(place: Path) -> str:
    with closing(sqlite3.connect(place)) as plain:
        return str(plain.execute("SELECT version_num FROM evidence_version").fetchone()[0])


def test_listed_revisions_are_the_scripts() -> None:
    scripts = ScriptDirectory.from_config(config()).walk_revisions()
    assert [script.revision for script in scripts] == list(reversed(schema.REVISIONS))


def test_an_older_store_is_brought_up_to_date(old_store: Path) -> None:
    assert revision_in(old_store) == "0001"
    with open_store(old_store) as store:
        [record] = store.records()
        store.add_environment("aa", {"a": 1})
        assert store.environment("aa") == {"a": 1}
    assert revision_in(old_store) == schema.REVISIONS[-1]
    assert record.conditions == Conditions("resnet50", "board", freeze=FreezePoint("head", 18, 18))
    assert (record.figure.value, record.figure.provenance, record.stable) == (0.1, Provenance.MEASURED, True)


def test_a_failed_migration_changes_nothing(old_store: Path) -> None:
    with closing(sqlite3.connect(old_store)) as plain:
        plain.execute("CREATE TABLE evidence_environments (in_the_way)")
    before = old_store.read_bytes()
    with pytest.raises(StoreFailed, match="already exists"):
        open_store(old_store)
    assert old_store.read_bytes() == before


def test_a_newer_store_is_refused_and_left_alone(old_store: Path) -> None:
    with closing(sqlite3.connect(old_store)) as plain, plain:
        plain.execute("UPDATE evidence_version SET version_num = '9999'")
    before = old_store.read_bytes()
    with pytest.raises(StoreFailed, match=r"newer version \(schema 9999"):
        open_store(old_store)
    assert old_store.read_bytes() == before


def test_the_scripts_make_the_tables_that_the_store_asks_for(tmp_path: Path) -> None:
    place = tmp_path / "evidence.sqlite"
    with open_store(place) as store:
        store.add_environment("aa", {})
    engine = create_engine(f"sqlite:///{place}")
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"version_table": schema.VERSION_TABLE})
        assert compare_metadata(context, schema.metadata) == []
    engine.dispose()
