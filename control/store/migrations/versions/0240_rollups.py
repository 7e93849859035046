"""Sums of calls by time; those of calls that are stored already are made in the background."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0240"
down_revision = "0101"
branch_labels = None
depends_on = None

BIG = sa.BigInteger()
COUNTS = ("attempts", "answered", "effective", "duration_ms", "billed_s", "pdd_ms", "pdd_calls")
MONEY = ("net_nanos", "tax_nanos", "gross_nanos", "cost_nanos")


def _rollup(name: str, keys: dict[str, Any], sums: tuple[str, ...], *more: str) -> None:
    op.create_table(
        name,
        *(sa.Column(key, kind, autoincrement=False, nullable=False) for key, kind in keys.items()),
        *(sa.Column(each, sa.Text(), nullable=False) for each in more),
        *(sa.Column(each, BIG, nullable=False) for each in sums),
        sa.PrimaryKeyConstraint(*keys, name=op.f(f"pk_{name}")),
        sqlite_with_rowid=False,
    )


def upgrade() -> None:
    currency, status = sa.String(length=3), sa.Integer()
    _rollup(
        "call_rollups",
        {"customer_id": BIG, "at_ms": BIG, "route_id": BIG, "currency": currency, "status": status},
        (*COUNTS, *MONEY),
    )
    _rollup(
        "prefix_rollups",
        {"customer_id": BIG, "at_ms": BIG, "prefix": sa.Text(), "currency": currency},
        (*COUNTS, *MONEY),
        "destination",
    )
    _rollup(
        "provider_rollups",
        {"provider_id": BIG, "at_ms": BIG, "gateway_id": BIG, "currency": currency, "status": status},
        (*COUNTS, "net_nanos", "cost_nanos"),
    )
    op.create_table(
        "load_peaks",
        sa.Column("owner", sa.String(length=8), nullable=False),
        sa.Column("owner_id", BIG, autoincrement=False, nullable=False),
        sa.Column("at_ms", BIG, autoincrement=False, nullable=False),
        sa.Column("channels", sa.Integer(), nullable=False),
        sa.Column("cps", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("owner", "owner_id", "at_ms", name=op.f("pk_load_peaks")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "rollup_state",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("cursor_number", BIG, nullable=False),
        sa.Column("upto_number", BIG, nullable=False),
        sa.Column("folded_ms", BIG, nullable=False),
        sa.CheckConstraint("id = 1", name=op.f("ck_rollup_state_one_row")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_rollup_state")),
    )
    op.execute(
        "INSERT INTO rollup_state (id, cursor_number, upto_number, folded_ms)"
        " SELECT 1, 0, COALESCE(MAX(number), 0), 0 FROM cdrs"
    )
