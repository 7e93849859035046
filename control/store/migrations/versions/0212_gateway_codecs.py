"""Codecs that a gateway takes."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0212"
down_revision = "0211"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("gateways", sa.Column("codecs", sa.JSON(), server_default="[]", nullable=False))
