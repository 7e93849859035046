"""Recalculations: runs, their lines, and corrections of vendors' costs."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

BIG = sa.BigInteger()
ID = BIG.with_variant(sa.Integer(), "sqlite")


def _count(name: str) -> sa.Column[int]:
    return sa.Column(name, BIG, server_default="0", nullable=False)


def upgrade() -> None:
    op.create_table(
        "recalculations",
        sa.Column("id", ID, nullable=False),
        sa.Column("kind", sa.String(length=8), nullable=False),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("undoes_id", BIG, nullable=True),
        sa.Column("filters", sa.JSON(), nullable=False),
        sa.Column("rule", sa.JSON(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("created_ms", BIG, nullable=False),
        sa.Column("created_by", sa.JSON(), nullable=False),
        sa.Column("applied_ms", BIG, nullable=True),
        sa.Column("applied_by", sa.JSON(), nullable=True),
        sa.Column("applied_order", sa.Integer(), nullable=True),
        sa.Column("seen_order", sa.Integer(), nullable=False),
        sa.Column("upto_number", BIG, nullable=False),
        _count("cursor_ms"),
        _count("cursor_number"),
        _count("calls"),
        sa.Column("error", sa.Text(), server_default="", nullable=False),
        sa.ForeignKeyConstraint(
            ["undoes_id"], ["recalculations.id"], name=op.f("fk_recalculations_undoes_id_recalculations")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_recalculations")),
    )
    op.create_index("uq_recalculations_undoes_id", "recalculations", ["undoes_id"], unique=True)
    op.create_index("uq_recalculations_applied_order", "recalculations", ["applied_order"], unique=True)
    _make_lines()
    op.create_table(
        "cost_adjustments",
        sa.Column("id", ID, nullable=False),
        sa.Column("line_id", BIG, nullable=False),
        sa.Column("cdr_id", sa.String(length=32), nullable=False),
        sa.Column("customer_id", BIG, nullable=False),
        sa.Column("provider_id", BIG, nullable=True),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("invited_ms", BIG, nullable=False),
        sa.Column("amount_nanos", BIG, nullable=False),
        sa.Column("at_ms", BIG, nullable=False),
        sa.ForeignKeyConstraint(
            ["line_id"], ["recalculation_lines.id"], name=op.f("fk_cost_adjustments_line_id_recalculation_lines")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_cost_adjustments")),
    )
    op.create_index("uq_cost_adjustments_line_id", "cost_adjustments", ["line_id"], unique=True)
    op.create_index("ix_cost_adjustments_invited", "cost_adjustments", ["invited_ms"], unique=False)


def _make_lines() -> None:
    op.create_table(
        "recalculation_lines",
        sa.Column("id", ID, nullable=False),
        sa.Column("recalculation_id", BIG, nullable=False),
        sa.Column("side", sa.String(length=4), nullable=False),
        sa.Column("cdr_number", BIG, nullable=False),
        sa.Column("cdr_id", sa.String(length=32), nullable=False),
        sa.Column("invited_ms", BIG, nullable=False),
        sa.Column("customer_id", BIG, nullable=False),
        sa.Column("provider_id", BIG, nullable=True),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("before_nanos", BIG, nullable=False),
        sa.Column("after_nanos", BIG, nullable=False),
        sa.Column("before", sa.Text(), nullable=False),
        sa.Column("after", sa.Text(), nullable=False),
        sa.Column("problem", sa.String(length=20), server_default="", nullable=False),
        sa.Column("is_booked", sa.Boolean(), server_default=sa.text("(false)"), nullable=False),
        sa.Column("entry_id", BIG, nullable=True),
        sa.ForeignKeyConstraint(
            ["recalculation_id"],
            ["recalculations.id"],
            name=op.f("fk_recalculation_lines_recalculation_id_recalculations"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_recalculation_lines")),
    )
    columns = ["recalculation_id", "cdr_number", "side"]
    op.create_index("uq_recalculation_lines_call", "recalculation_lines", columns, unique=True)
    op.create_index("ix_recalculation_lines_cdr_number", "recalculation_lines", ["cdr_number"], unique=False)
