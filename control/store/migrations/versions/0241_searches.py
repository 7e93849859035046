"""Indexes that hold all that a search among very many endpoints and SIP users looks at."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0241"
down_revision = "0240"
branch_labels = None
depends_on = None

ALIVE = sa.text("archived_ms IS NULL")


def upgrade() -> None:
    for table, columns in (
        ("endpoints", ("customer_id", "host", "tech_prefix", "manufacturer", "archived_ms")),
        ("sip_users", ("customer_id", "username", "realm", "archived_ms")),
    ):
        op.create_index(f"ix_{table}_searched", table, list(columns), sqlite_where=ALIVE, postgresql_where=ALIVE)
