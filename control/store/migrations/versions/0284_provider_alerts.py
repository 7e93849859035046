"""Alerts on a provider, and its penalty."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0284_provider_alerts"
down_revision = "0283_declare"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("providers", sa.Column("penalty_until_ms", sa.BigInteger(), nullable=True))
    op.add_column("alerts", sa.Column("provider_id", sa.BigInteger(), nullable=True))
    op.create_index("ix_alerts_provider_id", "alerts", ["provider_id"])
