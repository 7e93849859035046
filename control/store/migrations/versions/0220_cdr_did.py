"""CDRs of inbound calls name the number that was called."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0220"
down_revision = "0101"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("cdrs", sa.Column("did_id", sa.BigInteger(), nullable=True))
    is_inbound = sa.text("did_id IS NOT NULL")
    op.create_index(
        "ix_cdrs_did_invited",
        "cdrs",
        ["did_id", "invited_ms"],
        sqlite_where=is_inbound,
        postgresql_where=is_inbound,
    )


def downgrade() -> None:
    op.drop_index("ix_cdrs_did_invited", "cdrs")
    op.drop_column("cdrs", "did_id")
