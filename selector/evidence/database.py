"""The database below the store: where it lies, how it is opened, which schema it has, and what its errors mean.

SQLAlchemy is imported when a database is truly opened, alembic when its schema has to be made or changed.
"""

import os
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import quote

from selector import resources
from selector.errors import InvalidInput, StoreFailed

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine, Table

BUSY_SECONDS = 30.0  # how long a writer waits for another one
_KEPT = {
    "read": "; name another one with --store",
    "write": "; nothing of this step was kept, earlier records are as they were; name another one with --store",
}
MIGRATION_LOCK = 0x5E1EC708  # any number that only this product locks by


@dataclass(frozen=True, slots=True)
class Location:
    """A SQLite file (`path`) or a PostgreSQL database (`url`); the other is None."""

    path: Path | None
    url: str | None

    def __str__(self) -> str:
        """For people: a password is not shown."""
        if self.path is not None:
            return str(self.path)
        from sqlalchemy import make_url

        return make_url(self.url or "").render_as_string(hide_password=True)

    @property
    def absent(self) -> bool:
        """Whether this is a file that does not exist yet or holds nothing."""
        try:
            return self.path is not None and self.path.stat().st_size == 0
        except FileNotFoundError:
            return True
        except OSError as error:  # a folder on the way that may not be entered, or is a file
            raise StoreFailed(f"cannot read the evidence store {self}: {error.strerror}") from error


def locate(url: str | Path | None) -> Location:
    """The place that `url` names: a path, `sqlite:///PATH` or `postgresql://…`.

    None: `SELECTOR_STORE`, else `evidence.sqlite` in the user's data folder. Raises InvalidInput.
    """
    if url is None:
        url = os.environ.get("SELECTOR_STORE") or resources.home() / "evidence.sqlite"
    if isinstance(url, Path) or "://" not in url:
        return Location(Path(url).expanduser(), None)
    scheme, _, rest = url.partition("://")
    if scheme == "sqlite" and rest.startswith("/") and len(rest) > 1:
        return Location(Path(rest[1:]).expanduser(), None)
    if scheme in ("postgresql", "postgresql+psycopg"):
        return Location(None, "postgresql+psycopg://" + rest)
    raise InvalidInput(
        f"an evidence store cannot be {scheme}://{'…' if rest else ''}; use a file's path, sqlite:///PATH or postgresql://USER@HOST/DATABASE"
    )


def connect(location: Location) -> "Engine":
    """An engine on an existing file or on PostgreSQL; for writing transactions see `begin`."""
    from sqlalchemy import create_engine

    if location.path is None:
        try:
            return create_engine(location.url or "", pool_pre_ping=True)
        except ImportError as error:
            raise StoreFailed(
                "a PostgreSQL store needs psycopg: pip install 'backbone-selector[postgresql]'"
            ) from error
    return _sqlite_engine(location.path)


def _sqlite_engine(path: Path) -> "Engine":
    from sqlalchemy import QueuePool, create_engine, event

    uri = f"file:{quote(str(path.absolute()))}?{_mode(path)}"

    def opened() -> sqlite3.Connection:
        # isolation_level None: the driver begins no transaction of its own, the event below does
        return sqlite3.connect(uri, uri=True, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)

    engine = create_engine("sqlite://", creator=opened, poolclass=QueuePool)

    @event.listens_for(engine, "begin")
    def begin_transaction(connection: "Connection") -> None:
        # IMMEDIATE: a reader that turns writer fails at once where another writes, a declared writer waits its turn
        writes = connection.get_execution_options().get("writes", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _mode(path: Path) -> str:
    """Read and write; where folder or file is read-only and no writer has left a log behind, read as it lies there."""
    effective = os.access in os.supports_effective_ids
    writable = all(os.access(place, os.W_OK, effective_ids=effective) for place in (path, path.parent))
    if writable or path.with_name(path.name + "-wal").exists():
        return "mode=rw"
    return "mode=ro&immutable=1"


@contextmanager
def begin(engine: "Engine", *, writes: bool = False) -> Iterator["Connection"]:
    """A connection within one transaction: committed at the end, rolled back whole when anything fails."""
    with engine.connect().execution_options(writes=writes) as connection, connection.begin():
        yield connection


def revision(connection: "Connection") -> str | None:
    """The schema revision of a database, None where it holds no evidence tables."""
    from sqlalchemy import inspect, select

    from selector.evidence.schema import VERSION, VERSION_TABLE

    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    found = connection.execute(select(VERSION.c.version_num)).scalar_one_or_none()
    return None if found is None else str(found)


def head() -> str:
    """The schema revision that this version writes."""
    from selector.evidence.schema import REVISIONS

    return REVISIONS[-1]


def known_revision(location: Location, connection: "Connection") -> str | None:
    """The schema revision. Raises StoreFailed where it is newer than this version, or the file is something else's."""
    from sqlalchemy import inspect

    from selector.evidence.schema import REVISIONS

    found = revision(connection)
    if found is not None and found not in REVISIONS:
        raise StoreFailed(
            f"the evidence store {location} was written by a newer version (schema {found}, this one knows up to "
            f"{head()}); upgrade backbone-selector, or name another store with --store"
        )
    if found is None and location.path is not None and inspect(connection).get_table_names():
        raise StoreFailed(f"{location} is a SQLite database but no evidence store; name another file with --store")
    return found


def create(location: Location) -> None:
    """A new, empty file, put in place whole: a full disk leaves none, and of two processes at once both find one."""
    path = location.path
    if path is None:
        raise ValueError("only a file is created; a PostgreSQL database is there already")
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as folder:
        draft = Path(folder) / path.name
        draft.touch()
        engine = _sqlite_engine(draft)
        try:
            # outside of any transaction, and kept in the file: readers do not block the writer, nor the writer them
            with closing(sqlite3.connect(draft)) as plain:
                plain.execute("PRAGMA journal_mode=WAL")
            with begin(engine, writes=True) as connection:
                bring_up_to_date(location, connection)
        finally:
            engine.dispose()
        with suppress(FileExistsError):  # the other process was first, and its store is as good
            _place(draft, path)


def _place(draft: Path, path: Path) -> None:
    """Give `draft` the name `path`, without replacing a file of that name. Raises FileExistsError."""
    try:
        os.link(draft, path)
    except FileExistsError:
        raise
    except OSError:  # a file system without links (exFAT, some network shares), where the check is the best there is
        if path.exists():
            raise FileExistsError(path) from None
        os.rename(draft, path)


def bring_up_to_date(location: Location, connection: "Connection") -> None:
    """Make this version's schema, or change an older one into it, within the caller's writing transaction."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({MIGRATION_LOCK})")
    if known_revision(location, connection) == head():
        return  # another process was first

    from alembic import command
    from alembic.config import Config

    config = Config()
    folder = Path(__file__).parent / "migrations"
    config.set_main_option("script_location", str(folder).replace("%", "%%"))  # % is the option's own escape
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


def insert_new(connection: "Connection", table: "Table", rows: list[dict[str, Any]]) -> int:
    """Insert the rows whose primary key is not there yet; returns how many those were."""
    if not rows:
        return 0
    from sqlalchemy.dialects import postgresql, sqlite

    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    statement = insert(table).on_conflict_do_nothing().returning(*table.primary_key)
    return len(connection.execute(statement, rows).all())


@contextmanager
def failures(location: Location, doing: Literal["read", "write"]) -> Iterator[None]:
    """Turn what a database or a disk raises into StoreFailed with one message."""
    # sqlite3's errors too: alembic and the file's creation meet the driver directly
    from sqlalchemy.exc import SQLAlchemyError

    try:
        yield
    except (SQLAlchemyError, sqlite3.Error, OSError) as error:
        raise StoreFailed(f"cannot {doing} the evidence store {location}: {_meaning(error)}{_KEPT[doing]}") from error


def _meaning(error: Exception) -> str:
    """What went wrong, in the user's words where it is known, else in the database's."""
    cause = getattr(error, "orig", None) or error
    text = str(cause).strip().splitlines()[0] if str(cause).strip() else type(cause).__name__
    known = {
        "disk is full": "the disk is full",
        "No space left": "the disk is full",
        "disk I/O error": "the disk refused it (full, over a quota, or failing)",
        "File too large": "the disk refused it (full, over a quota, or failing)",
        "is locked": f"another process has held it for {BUSY_SECONDS:.0f} s",
        "not a database": "the file is no SQLite database",
        "malformed": "the file is damaged",
        "readonly database": "it is read-only here",
        "Permission denied": "permission denied",
        "unable to open": "it cannot be opened (a folder, or no permission)",
    }
    return next((meaning for part, meaning in known.items() if part in text), text)
