"""The store of records: SQLite in the user's data folder, or PostgreSQL for several hosts.

A store never holds the word "local": it keeps the device's own name (`Machine.slug`) instead, and shows the
figures of the machine that reads as "local". So a store that is copied, shared or exported stays true elsewhere.
"""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from selector.errors import InvalidEvidence, StoreFailed, UnknownName
from selector.evidence import database
from selector.evidence.check import faults
from selector.evidence.record import Record
from selector.evidence.rows import LOCAL, content_id, record_of, row_of

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

Names = str | Collection[str] | None  # one, any of several, or (None) all


def open_store(url: str | Path | None = None) -> "Store":
    """The store at `url`: a path, `sqlite:///PATH` or `postgresql://…`; None: `SELECTOR_STORE`, else the user's own.

    An absent file is an empty store and is created by the first `add`. An older schema is brought up to date.
    Raises StoreFailed where the schema is newer than this version, the file is no store, or nothing answers;
    InvalidInput for another kind of URL.
    """
    return Store(database.locate(url))


class Store:
    """Records and the environments that they were measured in. A context manager; made by `open_store`."""

    def __init__(self, location: database.Location) -> None:
        self.location = location
        self._engine: Engine | None = None
        self._revision: str | None = None
        if not location.absent:
            with database.failures(location, "read"):
                self._open()

    def __enter__(self) -> "Store":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the database. Using the store again opens it again."""
        if self._engine is not None:
            self._engine.dispose()
        self._engine = self._revision = None

    @cached_property
    def device(self) -> str:
        """This machine's own name, which stands in the store for "local"."""
        from selector.hardware import machine

        return machine.detect().slug()

    def add(self, records: Iterable[Record], *, environments: Mapping[str, Mapping[str, Any]] | None = None) -> int:
        """Keep `records` (and `environments`, by fingerprint) in one transaction: all of them or none.

        Returns how many were new; one that is already there is not kept twice. Raises InvalidEvidence with every
        fault of every record, StoreFailed when it cannot be written.
        """
        given = list(records)
        found = [f"record {i}: {fault}" for i, record in enumerate(given, 1) for fault in faults(record)]
        if found:
            raise InvalidEvidence(found)
        rows = {content_id(row): row for row in (row_of(record, device=self.device) for record in given)}
        documents = [
            {"fingerprint": name, "document": json.dumps(document, sort_keys=True, allow_nan=False)}
            for name, document in (environments or {}).items()
        ]
        if not rows and not documents:
            return 0
        with self._writing() as connection:
            from selector.evidence.schema import ENVIRONMENTS, RECORDS

            new = database.insert_new(connection, RECORDS, [{"id": name, **row} for name, row in rows.items()])
            database.insert_new(connection, ENVIRONMENTS, documents)
        return new

    def add_environment(self, fingerprint: str, document: Mapping[str, Any]) -> None:
        """Keep what `fingerprint` stands for (hardware/fingerprint.py). A fingerprint's first document stays."""
        self.add((), environments={fingerprint: document})

    def records(
        self,
        *,
        hardware: Names = None,
        backbones: Names = None,
        metrics: Names = None,
        runtime: Names = None,
        precision: Names = None,
        provenance: Names = None,
        fingerprint: Names = None,
    ) -> list[Record]:
        """The records that fit every filter, oldest first. A filter is one name, several, or None for all.

        Raises StoreFailed when the store cannot be read, or holds a metric that this version does not know.
        """
        with self._reading() as connection:
            if connection is None:
                return []
            from sqlalchemy import select

            from selector.evidence.schema import RECORDS

            asked: dict[str, Names] = {
                "hardware": None if hardware is None else [self._own(name) for name in _several(hardware)],
                "backbone": backbones,
                "metric": metrics,
                "runtime": runtime,
                "precision": precision,
                "provenance": provenance,
                "fingerprint": fingerprint,
            }
            query = select(RECORDS).order_by(RECORDS.c.recorded_at, RECORDS.c.id)
            for column, names in asked.items():
                if names is not None:
                    query = query.where(RECORDS.c[column].in_(_several(names)))
            rows = [dict(row) for row in connection.execute(query).mappings()]
        try:
            return [record_of(row, device=self.device) for row in rows]
        except UnknownName as error:
            raise StoreFailed(
                f"the evidence store {self.location} was written by a newer version: {error}; upgrade backbone-selector"
            ) from error

    def environment(self, fingerprint: str) -> dict[str, Any] | None:
        """What `fingerprint` stands for, None where the store does not know."""
        return self.environments(fingerprint).get(fingerprint)

    def environments(self, fingerprints: Names = None) -> dict[str, dict[str, Any]]:
        """The known environments of these fingerprints, or all, by fingerprint."""
        with self._reading() as connection:
            if connection is None:
                return {}
            from sqlalchemy import select

            from selector.evidence.schema import ENVIRONMENTS

            query = select(ENVIRONMENTS).order_by(ENVIRONMENTS.c.fingerprint)
            if fingerprints is not None:
                query = query.where(ENVIRONMENTS.c.fingerprint.in_(_several(fingerprints)))
            return {row.fingerprint: json.loads(row.document) for row in connection.execute(query)}

    def _open(self) -> "Engine":
        """The engine, with the schema checked and, where it is an older one, brought up to date."""
        if self._engine is None:
            self._engine = database.connect(self.location)
        if self._revision is None:
            with database.begin(self._engine) as connection:
                self._revision = database.known_revision(self.location, connection)
        if self._revision is not None and self._revision != database.head():
            self._migrate(self._engine)
        return self._engine

    def _migrate(self, engine: "Engine") -> None:
        with database.begin(engine, writes=True) as connection:
            database.bring_up_to_date(self.location, connection)
        self._revision = database.head()

    @contextmanager
    def _reading(self) -> Iterator["Connection | None"]:
        """A reading transaction; None where the store is still empty."""
        if self._engine is None and self.location.absent:
            yield None
            return
        with database.failures(self.location, "read"):
            engine = self._open()
            if self._revision is None:
                yield None
                return
            with database.begin(engine) as connection:
                yield connection

    @contextmanager
    def _writing(self) -> Iterator["Connection"]:
        with database.failures(self.location, "write"):
            if self._engine is None and self.location.path is not None and not self.location.path.exists():
                database.create(self.location)
            engine = self._open()
            if self._revision is None:
                self._migrate(engine)
            with database.begin(engine, writes=True) as connection:
                yield connection

    def _own(self, hardware: str) -> str:
        return self.device if hardware == LOCAL else hardware


def _several(names: str | Collection[str]) -> list[str]:
    # StrEnum members are bound by their value, which not every driver does by itself
    return [str(names)] if isinstance(names, str) else [str(name) for name in names]
