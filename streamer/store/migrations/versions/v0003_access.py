"""The audit log counts the refusals that it does not list."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add the column."""
    op.add_column("audit", sa.Column("not_listed", sa.Integer))
