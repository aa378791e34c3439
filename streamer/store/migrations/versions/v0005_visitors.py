"""The pseudonyms of tracks that show nobody of the gallery."""

import sqlalchemy as sa
from alembic import op

from streamer.store.tables import Moment

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "visitor_tracks",
        sa.Column("track_id", sa.String(64), primary_key=True),
        sa.Column("payload", sa.LargeBinary, nullable=False),
        sa.Column("at", Moment, nullable=False),
    )
    op.create_index("visitor_tracks_at", "visitor_tracks", ["at"])
    op.create_table(
        "merged_visitors",
        sa.Column("visitor_id", sa.String(64), primary_key=True),
        sa.Column("payload", sa.LargeBinary, nullable=False),
        sa.Column("at", Moment, nullable=False),
    )
    op.create_index("merged_visitors_at", "merged_visitors", ["at"])
