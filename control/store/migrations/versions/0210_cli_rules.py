"""Rules about calling numbers, and what they decided in each CDR."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0210"
down_revision = "0101"
branch_labels = None
depends_on = None

BIG = sa.BigInteger()
ID = BIG.with_variant(sa.Integer(), "sqlite")


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), server_default="", nullable=False)


def upgrade() -> None:
    op.create_table(
        "cli_rules",
        sa.Column("id", ID, nullable=False),
        sa.Column("customer_id", BIG, nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        _text("match"),
        _text("pai_match"),
        _text("dialled_match"),
        sa.Column("action", sa.String(length=8), nullable=False),
        _text("to"),
        sa.Column("enabled", sa.Boolean(), server_default=sa.text("(true)"), nullable=False),
        _text("notes"),
        sa.Column("row_version", sa.Integer(), server_default="1", nullable=False),
        sa.Column("created_ms", BIG, nullable=False),
        sa.Column("updated_ms", BIG, nullable=False),
        sa.Column("archived_ms", BIG, nullable=True),
        sa.ForeignKeyConstraint(["customer_id"], ["customers.id"], name=op.f("fk_cli_rules_customer_id_customers")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_cli_rules")),
    )
    op.create_index("ix_cli_rules_customer", "cli_rules", ["customer_id", "position"], unique=False)
    op.add_column("cdrs", _text("decision"))
