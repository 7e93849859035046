"""Changes that are asked for now and made later."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0282"
down_revision = "0281"
branch_labels = None
depends_on = None

BIG = sa.BigInteger()
PENDING = sa.text("state = 'pending'")


def upgrade() -> None:
    op.create_table(
        "scheduled_changes",
        sa.Column("id", BIG.with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("noun", sa.String(length=32), nullable=False),
        sa.Column("row_id", BIG, nullable=False),
        sa.Column("customer_id", BIG, nullable=True),
        sa.Column("fields", sa.JSON(), nullable=False),
        sa.Column("sealed", sa.Text(), server_default="", nullable=False),
        sa.Column("at_ms", BIG, nullable=False),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("reason", sa.Text(), server_default="", nullable=False),
        sa.Column("role", sa.String(length=16), nullable=False),
        sa.Column("actor_kind", sa.String(length=16), nullable=False),
        sa.Column("actor_id", BIG, nullable=True),
        sa.Column("actor_name", sa.Text(), nullable=False),
        sa.Column("actor_role", sa.String(length=16), nullable=False),
        sa.Column("created_ms", BIG, nullable=False),
        sa.Column("done_ms", BIG, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_scheduled_changes")),
    )
    op.create_index(
        "ix_scheduled_changes_pending",
        "scheduled_changes",
        ["at_ms", "id"],
        unique=False,
        sqlite_where=PENDING,
        postgresql_where=PENDING,
    )
    op.create_index("ix_scheduled_changes_row", "scheduled_changes", ["noun", "row_id"], unique=False)
