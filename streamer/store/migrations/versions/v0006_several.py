"""The streamers of one database."""

import sqlalchemy as sa
from alembic import op

from streamer.store.tables import Moment

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "streamers",
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("started", Moment, nullable=False),
        sa.Column("forgotten", sa.BigInteger, nullable=False),
    )
