"""The places of sinks in the log."""

import sqlalchemy as sa
from alembic import op

from streamer.store.tables import Moment

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "sinks",
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("sequence", sa.BigInteger, nullable=False),
        sa.Column("updated", Moment, nullable=False),
    )
