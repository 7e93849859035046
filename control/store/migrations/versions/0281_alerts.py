"""Alerts and whether they have fired."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0281"
down_revision = "0280"
branch_labels = None
depends_on = None

BIG = sa.BigInteger()
ID = BIG.with_variant(sa.Integer(), "sqlite")
ALIVE = sa.text("archived_ms IS NULL")


def upgrade() -> None:
    op.create_table(
        "alerts",
        sa.Column("id", ID, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("name_key", sa.Text(), nullable=False),
        sa.Column("customer_id", BIG, nullable=True),
        sa.Column("recipients", sa.JSON(), server_default="[]", nullable=False),
        sa.Column("area", sa.String(length=16), nullable=False),
        sa.Column("operator", sa.String(length=2), nullable=False),
        sa.Column("threshold_nanos", BIG, nullable=False),
        sa.Column("reset_threshold_nanos", BIG, nullable=True),
        sa.Column("sample_minutes", sa.Integer(), nullable=False),
        sa.Column("minimum_calls", sa.Integer(), nullable=False),
        sa.Column("penalty_minutes", sa.Integer(), nullable=True),
        sa.Column("repeat_minutes", sa.Integer(), nullable=True),
        sa.Column("enabled", sa.Boolean(), server_default=sa.text("(true)"), nullable=False),
        sa.Column("notes", sa.Text(), server_default="", nullable=False),
        sa.Column("row_version", sa.Integer(), server_default="1", nullable=False),
        sa.Column("created_ms", BIG, nullable=False),
        sa.Column("updated_ms", BIG, nullable=False),
        sa.Column("archived_ms", BIG, nullable=True),
        sa.ForeignKeyConstraint(["customer_id"], ["customers.id"], name=op.f("fk_alerts_customer_id_customers")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_alerts")),
    )
    op.create_index(op.f("ix_alerts_customer_id"), "alerts", ["customer_id"], unique=False)
    op.create_index(
        "uq_alerts_name",
        "alerts",
        ["customer_id", "name_key"],
        unique=True,
        sqlite_where=ALIVE,
        postgresql_where=ALIVE,
    )
    op.create_table(
        "alert_states",
        sa.Column("alert_id", BIG, autoincrement=False, nullable=False),
        sa.Column("fired_ms", BIG, nullable=True),
        sa.Column("told_ms", BIG, nullable=True),
        sa.Column("penalty_until_ms", BIG, nullable=True),
        sa.Column("armed_ms", BIG, nullable=False),
        sa.Column("value_nanos", BIG, nullable=True),
        sa.Column("value_ms", BIG, nullable=True),
        sa.ForeignKeyConstraint(["alert_id"], ["alerts.id"], name=op.f("fk_alert_states_alert_id_alerts")),
        sa.PrimaryKeyConstraint("alert_id", name=op.f("pk_alert_states")),
    )
