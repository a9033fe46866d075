"""Records: one row a figure with its conditions and its origin."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Create the table of records."""
    op.create_table(
        "evidence_records",
        sa.Column("id", sa.String(32), primary_key=True),
        sa.Column("backbone", sa.Text, nullable=False),
        sa.Column("hardware", sa.Text, nullable=False),
        sa.Column("runtime", sa.Text),
        sa.Column("runtime_version", sa.Text),
        sa.Column("precision", sa.Text),
        sa.Column("resolution", sa.BigInteger),
        sa.Column("batch_size", sa.BigInteger),
        sa.Column("threads", sa.BigInteger),
        sa.Column("freeze", sa.Text),
        sa.Column("frozen_blocks", sa.BigInteger),
        sa.Column("total_blocks", sa.BigInteger),
        sa.Column("metric", sa.Text, nullable=False),
        sa.Column("value", sa.Double, nullable=False),
        sa.Column("low", sa.Double),
        sa.Column("high", sa.Double),
        sa.Column("provenance", sa.Text, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("n", sa.BigInteger),
        sa.Column("stable", sa.Boolean),
        sa.Column("fingerprint", sa.Text),
        sa.Column("protocol", sa.Text),
        sa.Column("recorded_at", sa.String(32), nullable=False),
    )
