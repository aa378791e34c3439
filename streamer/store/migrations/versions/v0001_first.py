"""The first tables."""

import sqlalchemy as sa
from alembic import op

from streamer.store.tables import Moment

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "meta",
        sa.Column("name", sa.String(64), primary_key=True),
        sa.Column("value", sa.Text, nullable=False),
    )
    op.create_table(
        "runs",
        sa.Column("run", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("instance_id", sa.String(64), nullable=False),
        sa.Column("started", Moment, nullable=False),
        sa.Column("ended", Moment),
        sa.Column("first_sequence", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "events",
        sa.Column("sequence", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("at", Moment, nullable=False),
        sa.Column("kind", sa.String(16), nullable=False),
        sa.Column("camera", sa.String(64), nullable=False),
        sa.Column("track_id", sa.String(64), nullable=False),
        sa.Column("payload", sa.LargeBinary, nullable=False),
    )
    op.create_index("events_at", "events", ["at"])
    op.create_index("events_track", "events", ["track_id"])
    op.create_table(
        "tracks",
        sa.Column("track_id", sa.String(64), primary_key=True),
        sa.Column("camera", sa.String(64), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("first_seen", Moment, nullable=False),
        sa.Column("last_seen", Moment, nullable=False),
        sa.Column("person", sa.Text),
        sa.Column("age", sa.Float),
        sa.Column("expression", sa.Integer),
        sa.Column("attributes", sa.Text, nullable=False),
        sa.Column("described", sa.Boolean, nullable=False),
        sa.Column("end_reason", sa.String(16)),
        sa.Column("quality", sa.Float, nullable=False),
        sa.Column("samples", sa.Integer, nullable=False),
        sa.Column("model_id", sa.Text, nullable=False),
        sa.Column("payload", sa.LargeBinary, nullable=False),
        sa.Column("stored", Moment, nullable=False),
    )
    op.create_index("tracks_stored", "tracks", ["stored"])
    op.create_index("tracks_camera", "tracks", ["camera", "last_seen"])
    op.create_index("tracks_last_seen", "tracks", ["last_seen"])
    op.create_index("tracks_person", "tracks", ["person", "last_seen"])
    op.create_index("tracks_state", "tracks", ["state"])
    op.create_table(
        "faces",
        sa.Column("track_id", sa.String(64), primary_key=True),
        sa.Column("at", Moment, nullable=False),
        sa.Column("quality", sa.Float, nullable=False),
        sa.Column("jpeg", sa.LargeBinary, nullable=False),
    )
    op.create_index("faces_at", "faces", ["at"])
    op.create_table(
        "streams",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("settings", sa.Text, nullable=False),
        sa.Column("created", Moment, nullable=False),
        sa.Column("updated", Moment, nullable=False),
    )
    op.create_table(
        "jobs",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("request_id", sa.String(64), unique=True),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("settings", sa.Text, nullable=False),
        sa.Column("owner", sa.String(64)),
        sa.Column("created", Moment, nullable=False),
        sa.Column("started", Moment),
        sa.Column("ended", Moment),
        sa.Column("progress", sa.Float, nullable=False),
        sa.Column("error", sa.Text),
    )
    op.create_index("jobs_state", "jobs", ["state", "created"])
    op.create_table(
        "tokens",
        sa.Column("id", sa.String(64), primary_key=True),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False, unique=True),
        sa.Column("scopes", sa.Text, nullable=False),
        sa.Column("cameras", sa.Text, nullable=False),
        sa.Column("created", Moment, nullable=False),
        sa.Column("expires", Moment),
        sa.Column("revoked", Moment),
    )
    op.create_table(
        "audit",
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("time", Moment, nullable=False),
        sa.Column("who", sa.Text, nullable=False),
        sa.Column("method", sa.Text, nullable=False),
        sa.Column("target", sa.Text, nullable=False),
        sa.Column("outcome", sa.Text, nullable=False),
    )
    op.create_index("audit_time", "audit", ["time"])
