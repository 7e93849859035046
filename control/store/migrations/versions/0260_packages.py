"""Packages: the catalogue, assignments, what they charge and what they give back."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0260"
down_revision = "0101"
branch_labels = None
depends_on = None

BIG = sa.BigInteger()
ID = BIG.with_variant(sa.Integer(), "sqlite")
ALIVE = sa.text("archived_ms IS NULL")
DAY = sa.String(length=10)


def _text(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.Text(), server_default="", nullable=False)


def _amount(name: str) -> sa.Column[Any]:
    return sa.Column(name, BIG, server_default="0", nullable=False)


def _stamps() -> list[sa.Column[Any]]:
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
        "packages",
        sa.Column("id", ID, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("name_key", sa.Text(), nullable=False),
        _text("description"),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("duration", sa.Integer(), nullable=True),
        sa.Column("duration_unit", sa.String(length=8), nullable=False),
        _amount("cost_nanos"),
        _amount("retail_nanos"),
        _amount("setup_cost_nanos"),
        _amount("setup_retail_nanos"),
        sa.Column("frequency", sa.String(length=8), nullable=False),
        sa.Column("day", sa.Integer(), nullable=False),
        sa.Column("minimum_days", sa.Integer(), server_default="0", nullable=False),
        sa.Column("free_minutes", sa.Integer(), nullable=True),
        _text("free_destination"),
        sa.Column("minimum_spend_nanos", BIG, nullable=True),
        sa.Column("enabled", sa.Boolean(), server_default=sa.text("(true)"), nullable=False),
        _text("notes"),
        *_stamps(),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_packages")),
    )
    op.create_index(
        "uq_packages_name", "packages", ["name_key"], unique=True, sqlite_where=ALIVE, postgresql_where=ALIVE
    )
    op.create_table(
        "customer_packages",
        sa.Column("id", ID, nullable=False),
        sa.Column("customer_id", BIG, nullable=False),
        sa.Column("package_id", BIG, nullable=False),
        sa.Column("quantity", sa.Integer(), nullable=False),
        sa.Column("start", DAY, nullable=False),
        sa.Column("end", DAY, nullable=True),
        sa.Column("auto_decrement", sa.Boolean(), nullable=False),
        _text("notes_public"),
        _text("notes_private"),
        sa.Column("terms", sa.JSON(), nullable=False),
        sa.Column("until_day", DAY, nullable=True),
        sa.Column("next_day", DAY, nullable=False),
        sa.Column("spend_day", DAY, nullable=False),
        sa.Column("free_number", BIG, server_default="0", nullable=False),
        sa.Column("free_entry_id", BIG, server_default="0", nullable=False),
        *_stamps(),
        _points("customer_packages", "customer_id", "customers"),
        _points("customer_packages", "package_id", "packages"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_customer_packages")),
    )
    for column in ("customer_id", "package_id"):
        op.create_index(op.f(f"ix_customer_packages_{column}"), "customer_packages", [column])
    op.create_index(
        "ix_customer_packages_next", "customer_packages", ["next_day"], sqlite_where=ALIVE, postgresql_where=ALIVE
    )
    op.create_table(
        "package_charges",
        sa.Column("id", ID, nullable=False),
        sa.Column("customer_package_id", BIG, nullable=False),
        sa.Column("customer_id", BIG, nullable=False),
        sa.Column("kind", sa.String(length=8), nullable=False),
        sa.Column("period", DAY, nullable=False),
        sa.Column("first_day", DAY, nullable=False),
        sa.Column("until_day", DAY, nullable=False),
        sa.Column("step", sa.Integer(), nullable=False),
        sa.Column("quantity", sa.Integer(), nullable=False),
        _amount("net_nanos"),
        _amount("tax_nanos"),
        _amount("cost_nanos"),
        sa.Column("entry_id", BIG, nullable=True),
        sa.Column("created_ms", BIG, nullable=False),
        _points("package_charges", "customer_package_id", "customer_packages"),
        _points("package_charges", "customer_id", "customers"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_package_charges")),
    )
    op.create_index(op.f("ix_package_charges_customer_id"), "package_charges", ["customer_id"])
    op.create_index(
        "uq_package_charges_period",
        "package_charges",
        ["customer_package_id", "kind", "period", "step"],
        unique=True,
    )
    op.create_table(
        "package_credits",
        sa.Column("id", ID, nullable=False),
        sa.Column("customer_package_id", BIG, nullable=False),
        sa.Column("customer_id", BIG, nullable=False),
        sa.Column("period", DAY, nullable=False),
        sa.Column("cdr_number", BIG, nullable=False),
        sa.Column("step", sa.Integer(), nullable=False),
        sa.Column("seconds", BIG, nullable=False),
        _amount("net_nanos"),
        _amount("tax_nanos"),
        sa.Column("entry_id", BIG, nullable=True),
        sa.Column("created_ms", BIG, nullable=False),
        _points("package_credits", "customer_package_id", "customer_packages"),
        _points("package_credits", "customer_id", "customers"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_package_credits")),
    )
    op.create_index(
        "uq_package_credits_call", "package_credits", ["customer_package_id", "cdr_number", "step"], unique=True
    )
    op.create_index("ix_package_credits_cdr", "package_credits", ["cdr_number"])
    op.create_index("ix_package_credits_period", "package_credits", ["customer_package_id", "period"])
