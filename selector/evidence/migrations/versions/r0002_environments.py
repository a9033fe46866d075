"""Environments: what a record's fingerprint stands for, as one JSON document each."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Create the table of environments, and the index that most questions go by."""
    op.create_table(
        "evidence_environments",
        sa.Column("fingerprint", sa.Text, primary_key=True),
        sa.Column("document", sa.Text, nullable=False),
    )
    op.create_index("evidence_records_by_hardware", "evidence_records", ["hardware", "metric"])
