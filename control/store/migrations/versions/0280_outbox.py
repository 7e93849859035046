"""Events, webhooks, and deliveries of the one to the other."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0280"
down_revision = "0101"
branch_labels = None
depends_on = None

BIG = sa.BigInteger()
ID = BIG.with_variant(sa.Integer(), "sqlite")
ALIVE = sa.text("archived_ms IS NULL")
PENDING = sa.text("state = 'pending'")


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), server_default="", nullable=False)


def upgrade() -> None:
    op.create_table(
        "outbox",
        sa.Column("id", ID, nullable=False),
        sa.Column("event_id", sa.String(length=40), nullable=False),
        sa.Column("event", sa.String(length=40), nullable=False),
        sa.Column("at_ms", BIG, nullable=False),
        sa.Column("customer_id", BIG, nullable=True),
        sa.Column("payload", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_outbox")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_outbox_at", "outbox", ["at_ms"], unique=False)
    op.create_table(
        "webhooks",
        sa.Column("id", ID, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("name_key", sa.Text(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("events", sa.JSON(), server_default="[]", nullable=False),
        sa.Column("customer_id", BIG, nullable=True),
        sa.Column("enabled", sa.Boolean(), server_default=sa.text("(true)"), nullable=False),
        _text("notes"),
        sa.Column("secret_sealed", sa.Text(), nullable=False),
        sa.Column("cdr_number", BIG, server_default="0", nullable=False),
        sa.Column("row_version", sa.Integer(), server_default="1", nullable=False),
        sa.Column("created_ms", BIG, nullable=False),
        sa.Column("updated_ms", BIG, nullable=False),
        sa.Column("archived_ms", BIG, nullable=True),
        sa.ForeignKeyConstraint(["customer_id"], ["customers.id"], name=op.f("fk_webhooks_customer_id_customers")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhooks")),
    )
    op.create_index(op.f("ix_webhooks_customer_id"), "webhooks", ["customer_id"], unique=False)
    op.create_index(
        "uq_webhooks_name", "webhooks", ["name_key"], unique=True, sqlite_where=ALIVE, postgresql_where=ALIVE
    )
    op.create_table(
        "deliveries",
        sa.Column("id", ID, nullable=False),
        sa.Column("channel", sa.String(length=8), nullable=False),
        sa.Column("webhook_id", BIG, nullable=True),
        _text("address"),
        sa.Column("event", sa.String(length=40), nullable=False),
        sa.Column("customer_id", BIG, nullable=True),
        sa.Column("outbox_id", BIG, nullable=True),
        sa.Column("cdr_number", BIG, nullable=True),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("created_ms", BIG, nullable=False),
        sa.Column("since_ms", BIG, nullable=False),
        sa.Column("next_ms", BIG, nullable=False),
        sa.Column("done_ms", BIG, nullable=True),
        sa.Column("status", sa.Integer(), nullable=True),
        _text("error"),
        sa.ForeignKeyConstraint(["webhook_id"], ["webhooks.id"], name=op.f("fk_deliveries_webhook_id_webhooks")),
        sa.ForeignKeyConstraint(["outbox_id"], ["outbox.id"], name=op.f("fk_deliveries_outbox_id_outbox")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_deliveries")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_deliveries_outbox_id"), "deliveries", ["outbox_id"], unique=False)
    op.create_index(
        "ix_deliveries_pending",
        "deliveries",
        ["webhook_id", "id"],
        unique=False,
        sqlite_where=PENDING,
        postgresql_where=PENDING,
    )
    op.create_index("ix_deliveries_done", "deliveries", ["state", "done_ms"], unique=False)
    op.create_index("ix_deliveries_webhook", "deliveries", ["webhook_id", "id"], unique=False)
    op.create_index("ix_deliveries_customer", "deliveries", ["customer_id", "id"], unique=False)
