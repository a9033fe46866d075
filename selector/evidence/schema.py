"""The store's tables as this version knows them. Made and changed by the revisions under `migrations/` alone.

The names begin with `evidence_`: on PostgreSQL the same database may hold the tuning studies too.
"""

from sqlalchemy import BigInteger, Boolean, Column, Double, Index, MetaData, String, Table, Text

# every revision, oldest first; a test compares it with the scripts, so that opening a store needs no alembic
REVISIONS = ("0001", "0002")
VERSION_TABLE = "evidence_version"

metadata = MetaData()

RECORDS = Table(
    "evidence_records",
    metadata,
    Column("id", String(32), primary_key=True),  # of the content: the same figure added twice is one row
    Column("backbone", Text, nullable=False),
    Column("hardware", Text, nullable=False),  # never "local": the device's own name
    Column("runtime", Text),
    Column("runtime_version", Text),
    Column("precision", Text),
    Column("resolution", BigInteger),
    Column("batch_size", BigInteger),
    Column("threads", BigInteger),
    Column("freeze", Text),
    Column("frozen_blocks", BigInteger),
    Column("total_blocks", BigInteger),
    Column("metric", Text, nullable=False),
    Column("value", Double, nullable=False),
    Column("low", Double),
    Column("high", Double),
    Column("provenance", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("n", BigInteger),
    Column("stable", Boolean),
    Column("fingerprint", Text),
    Column("protocol", Text),
    # ISO 8601 in UTC with microseconds: exact on both databases, and sorts as it reads
    Column("recorded_at", String(32), nullable=False),
)

Index("evidence_records_by_hardware", RECORDS.c.hardware, RECORDS.c.metric)  # what most questions go by

ENVIRONMENTS = Table(
    "evidence_environments",
    metadata,
    Column("fingerprint", Text, primary_key=True),
    Column("document", Text, nullable=False),  # JSON
)

VERSION = Table(VERSION_TABLE, MetaData(), Column("version_num", String(32), primary_key=True))
