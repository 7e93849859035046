"""Scheduled changes of every kind: archives, steps and those of many rows beside updates."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0283_declare"
down_revision = "0282"
branch_labels = None
depends_on = None


def upgrade() -> None:
    action = sa.Column("action", sa.String(length=32), server_default="update", nullable=False)
    op.add_column("scheduled_changes", action)
