"""Vendors' contracts, their revisions and signed copies."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0262"
down_revision = "0261"
branch_labels = None
depends_on = None

BIG = sa.BigInteger()
ID = BIG.with_variant(sa.Integer(), "sqlite")
DAY = sa.String(length=10)


def _text(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.Text(), server_default="", nullable=False)


def _points(table: str, column: str, target: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint([column], [f"{target}.id"], name=op.f(f"fk_{table}_{column}_{target}"))


def upgrade() -> None:
    op.create_table(
        "contracts",
        sa.Column("id", ID, nullable=False),
        sa.Column("customer_id", BIG, nullable=False),
        sa.Column("provider_id", BIG, nullable=True),
        sa.Column("title", sa.Text(), nullable=False),
        _text("reference"),
        sa.Column("required_by", DAY, nullable=True),
        _text("notes"),
        sa.Column("stage", sa.String(length=8), nullable=False),
        sa.Column("ends", DAY, nullable=True),
        sa.Column("revisions", sa.Integer(), server_default="0", nullable=False),
        sa.Column("row_version", sa.Integer(), server_default="1", nullable=False),
        sa.Column("created_ms", BIG, nullable=False),
        sa.Column("updated_ms", BIG, nullable=False),
        sa.Column("archived_ms", BIG, nullable=True),
        _points("contracts", "customer_id", "customers"),
        _points("contracts", "provider_id", "providers"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_contracts")),
    )
    for column in ("customer_id", "provider_id"):
        op.create_index(op.f(f"ix_contracts_{column}"), "contracts", [column])
    op.create_table(
        "contract_revisions",
        sa.Column("id", ID, nullable=False),
        sa.Column("contract_id", BIG, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("starts", DAY, nullable=True),
        sa.Column("ends", DAY, nullable=True),
        sa.Column("rate_card_id", BIG, nullable=True),
        _text("created_by"),
        sa.Column("created_ms", BIG, nullable=False),
        sa.Column("sent_ms", BIG, nullable=True),
        sa.Column("signed_ms", BIG, nullable=True),
        _points("contract_revisions", "contract_id", "contracts"),
        _points("contract_revisions", "rate_card_id", "rate_cards"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_contract_revisions")),
    )
    op.create_index("uq_contract_revisions_number", "contract_revisions", ["contract_id", "number"], unique=True)
    op.create_table(
        "contract_files",
        sa.Column("revision_id", BIG, autoincrement=False, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("size", BIG, nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        _text("signed_by"),
        sa.Column("signed_on", DAY, nullable=False),
        _text("uploaded_by"),
        sa.Column("uploaded_ms", BIG, nullable=False),
        _points("contract_files", "revision_id", "contract_revisions"),
        sa.PrimaryKeyConstraint("revision_id", name=op.f("pk_contract_files")),
    )
