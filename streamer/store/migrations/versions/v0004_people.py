"""The ledger of people, their keys and references, and the templates of tracks."""

import sqlalchemy as sa
from alembic import op

from streamer.store.tables import Moment

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "ledger",
        sa.Column("id", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("at", Moment, nullable=False),
        sa.Column("actor", sa.Text, nullable=False),
        sa.Column("action", sa.String(16), nullable=False),
        sa.Column("person_id", sa.String(64), nullable=False),
        sa.Column("payload", sa.LargeBinary, nullable=False),
    )
    op.create_index("ledger_person", "ledger", ["person_id"])
    op.create_table(
        "person_keys",
        sa.Column("owner", sa.String(64), primary_key=True),
        sa.Column("key", sa.LargeBinary, nullable=False),
    )
    op.create_table(
        "person_references",
        sa.Column("reference_id", sa.String(64), primary_key=True),
        sa.Column("person_id", sa.String(64), nullable=False),
        sa.Column("model_id", sa.Text, nullable=False),
        sa.Column("source", sa.String(16), nullable=False),
        sa.Column("quality", sa.Float, nullable=False),
        sa.Column("embedding", sa.LargeBinary, nullable=False),
        sa.Column("crop", sa.LargeBinary),
        sa.Column("details", sa.LargeBinary, nullable=False),
        sa.Column("created", Moment, nullable=False),
    )
    op.create_index("person_references_person", "person_references", ["person_id"])
    op.create_table(
        "templates",
        sa.Column("track_id", sa.String(64), primary_key=True),
        sa.Column("model_id", sa.Text, nullable=False),
        sa.Column("samples", sa.Integer, nullable=False),
        sa.Column("quality", sa.Float, nullable=False),
        sa.Column("template", sa.LargeBinary, nullable=False),
        sa.Column("at", Moment, nullable=False),
    )
    op.create_index("templates_at", "templates", ["at"])
