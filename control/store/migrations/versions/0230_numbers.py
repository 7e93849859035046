"""DIDs with their charges, and internal number blocks."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0230"
down_revision = "0101"
branch_labels = None
depends_on = None

BIG = sa.BigInteger()
ID = BIG.with_variant(sa.Integer(), "sqlite")
ALIVE = sa.text("archived_ms IS NULL")
IS_DUE = sa.text("charge_due_ms IS NOT NULL")
IS_COOLING = sa.text("cooling_off_until_ms IS NOT NULL")


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), server_default="", nullable=False)


def _amount(name: str) -> sa.Column[int]:
    return sa.Column(name, BIG, server_default="0", nullable=False)


def _stamps() -> list[sa.Column[int]]:
    return [
        sa.Column("row_version", sa.Integer(), server_default="1", nullable=False),
        sa.Column("created_ms", BIG, nullable=False),
        sa.Column("updated_ms", BIG, nullable=False),
        sa.Column("archived_ms", BIG, nullable=True),
    ]


def _points(table: str, column: str, target: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint([column], [f"{target}.id"], name=op.f(f"fk_{table}_{column}_{target}"))


def upgrade() -> None:
    op.create_table(
        "number_blocks",
        sa.Column("id", ID, nullable=False),
        sa.Column("customer_id", BIG, nullable=False),
        sa.Column("start", BIG, nullable=False),
        sa.Column("size", BIG, nullable=False),
        _text("description"),
        *_stamps(),
        _points("number_blocks", "customer_id", "customers"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_number_blocks")),
    )
    op.create_index(op.f("ix_number_blocks_customer_id"), "number_blocks", ["customer_id"])
    op.create_index("ix_number_blocks_start", "number_blocks", ["start"])
    op.create_table(
        "dids",
        sa.Column("id", ID, nullable=False),
        sa.Column("number", sa.String(length=15), nullable=False),
        _text("name"),
        _text("description"),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("destinations", sa.JSON(), server_default="[]", nullable=False),
        sa.Column("order", sa.String(length=8), server_default="serial", nullable=False),
        sa.Column("provider_id", BIG, nullable=True),
        sa.Column("provider_card_id", BIG, nullable=True),
        sa.Column("customer_id", BIG, nullable=True),
        sa.Column("customer_card_id", BIG, nullable=True),
        _amount("cost_nanos"),
        _amount("retail_nanos"),
        _amount("setup_cost_nanos"),
        _amount("setup_retail_nanos"),
        sa.Column("channels", sa.Integer(), nullable=True),
        sa.Column("enabled", sa.Boolean(), server_default=sa.text("(true)"), nullable=False),
        sa.Column("allocated_at_ms", BIG, nullable=True),
        sa.Column("assigned_at_ms", BIG, nullable=True),
        sa.Column("released_at_ms", BIG, nullable=True),
        sa.Column("cooling_off_until_ms", BIG, nullable=True),
        sa.Column("last_customer_id", BIG, nullable=True),
        sa.Column("charge_from", sa.String(length=10), nullable=True),
        sa.Column("charge_due_ms", BIG, nullable=True),
        sa.Column("is_setup_due", sa.Boolean(), server_default=sa.text("(false)"), nullable=False),
        *_stamps(),
        _points("dids", "provider_id", "providers"),
        _points("dids", "provider_card_id", "rate_cards"),
        _points("dids", "customer_id", "customers"),
        _points("dids", "customer_card_id", "rate_cards"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_dids")),
    )
    for column in ("provider_id", "provider_card_id", "customer_id", "customer_card_id"):
        op.create_index(op.f(f"ix_dids_{column}"), "dids", [column])
    op.create_index("uq_dids_number", "dids", ["number"], unique=True, sqlite_where=ALIVE, postgresql_where=ALIVE)
    op.create_index("ix_dids_charge_due", "dids", ["charge_due_ms"], sqlite_where=IS_DUE, postgresql_where=IS_DUE)
    op.create_index(
        "ix_dids_cooling_off",
        "dids",
        ["cooling_off_until_ms"],
        sqlite_where=IS_COOLING,
        postgresql_where=IS_COOLING,
    )
    op.create_table(
        "did_charges",
        sa.Column("id", ID, nullable=False),
        sa.Column("did_id", BIG, nullable=False),
        sa.Column("customer_id", BIG, nullable=False),
        sa.Column("provider_id", BIG, nullable=True),
        sa.Column("kind", sa.String(length=8), nullable=False),
        sa.Column("first_day", sa.String(length=10), nullable=False),
        sa.Column("until_day", sa.String(length=10), nullable=False),
        _amount("net_nanos"),
        _amount("tax_nanos"),
        _amount("cost_nanos"),
        sa.Column("entry_id", BIG, nullable=True),
        sa.Column("at_ms", BIG, nullable=False),
        _points("did_charges", "did_id", "dids"),
        _points("did_charges", "customer_id", "customers"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_did_charges")),
    )
    op.create_index(op.f("ix_did_charges_customer_id"), "did_charges", ["customer_id"])
    op.create_index("uq_did_charges_period", "did_charges", ["did_id", "customer_id", "kind", "first_day"], unique=True)
