"""What alembic runs: the revisions, on the connection and in the transaction that the store hands over."""

from alembic import context

from selector.evidence.schema import VERSION_TABLE

context.configure(connection=context.config.attributes["connection"], version_table=VERSION_TABLE)
context.run_migrations()
