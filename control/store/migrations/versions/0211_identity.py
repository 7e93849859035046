"""Whose identities are trusted, who is told of them, and headers of one's own."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0211"
down_revision = "0210"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("customers", sa.Column("trust_pai", sa.Boolean(), server_default=sa.text("(false)"), nullable=False))
    for name, default in (("send_pai", "pass"), ("pai_format", "sip"), ("privacy", "honour")):
        op.add_column("providers", sa.Column(name, sa.Text(), server_default=default, nullable=False))
    for table in ("customers", "providers"):
        op.add_column(table, sa.Column("allowed_headers", sa.JSON(), server_default="[]", nullable=False))
