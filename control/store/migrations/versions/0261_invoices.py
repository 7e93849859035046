"""Invoices with their profiles, lines, allocations, credit notes, documents and mails."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0261"
down_revision = "0260"
branch_labels = None
depends_on = None

BIG = sa.BigInteger()
ID = BIG.with_variant(sa.Integer(), "sqlite")


def _text(name: str) -> sa.Column[Any]:
    return sa.Column(name, sa.Text(), server_default="", nullable=False)


def _amount(name: str) -> sa.Column[Any]:
    return sa.Column(name, BIG, server_default="0", nullable=False)


def _points(table: str, column: str, target: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint([column], [f"{target}.id"], name=op.f(f"fk_{table}_{column}_{target}"))


def upgrade() -> None:
    op.create_table(
        "number_series",
        sa.Column("name", sa.String(length=20), nullable=False),
        sa.Column("next", BIG, nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_number_series")),
    )
    op.create_table(
        "invoice_profiles",
        sa.Column("customer_id", BIG, nullable=False),
        sa.Column("frequency", sa.String(length=8), nullable=False),
        sa.Column("day", sa.Integer(), nullable=False),
        sa.Column("since_day", sa.String(length=10), nullable=True),
        sa.Column("due_days", sa.Integer(), nullable=True),
        sa.Column("auto_issue", sa.Boolean(), server_default=sa.text("(true)"), nullable=False),
        sa.Column("send_mail", sa.Boolean(), server_default=sa.text("(true)"), nullable=False),
        sa.Column("auto_allocate", sa.Boolean(), server_default=sa.text("(true)"), nullable=False),
        sa.Column("recipients", sa.JSON(), server_default="[]", nullable=False),
        _text("billing_name"),
        _text("billing_address"),
        _text("tax_id"),
        _text("reference"),
        sa.Column("row_version", sa.Integer(), server_default="1", nullable=False),
        sa.Column("updated_ms", BIG, nullable=False),
        _points("invoice_profiles", "customer_id", "customers"),
        sa.PrimaryKeyConstraint("customer_id", name=op.f("pk_invoice_profiles")),
    )
    op.create_table(
        "invoices",
        sa.Column("id", ID, nullable=False),
        sa.Column("customer_id", BIG, nullable=False),
        sa.Column("status", sa.String(length=8), nullable=False),
        sa.Column("number", sa.Text(), nullable=True),
        sa.Column("serial", BIG, nullable=True),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("time_zone", sa.Text(), nullable=False),
        sa.Column("from_day", sa.String(length=10), nullable=False),
        sa.Column("until_day", sa.String(length=10), nullable=False),
        sa.Column("starts_ms", BIG, nullable=False),
        sa.Column("ends_ms", BIG, nullable=False),
        sa.Column("after_entry_id", BIG, nullable=False),
        sa.Column("upto_entry_id", BIG, nullable=False),
        _amount("opening_nanos"),
        _amount("net_nanos"),
        _amount("tax_nanos"),
        _amount("gross_nanos"),
        _amount("total_nanos"),
        _amount("payments_nanos"),
        _amount("closing_nanos"),
        _amount("credited_nanos"),
        _amount("paid_nanos"),
        sa.Column("due_days", sa.Integer(), nullable=False),
        sa.Column("due_day", sa.String(length=10), nullable=True),
        sa.Column("due_ms", BIG, nullable=True),
        sa.Column("issued_ms", BIG, nullable=True),
        sa.Column("issued_day", sa.String(length=10), nullable=True),
        sa.Column("settled_ms", BIG, nullable=True),
        sa.Column("overdue_ms", BIG, nullable=True),
        sa.Column("seller", sa.JSON(), server_default="{}", nullable=False),
        sa.Column("buyer", sa.JSON(), server_default="{}", nullable=False),
        _text("created_by"),
        sa.Column("row_version", sa.Integer(), server_default="1", nullable=False),
        sa.Column("created_ms", BIG, nullable=False),
        sa.Column("updated_ms", BIG, nullable=False),
        sa.Column("archived_ms", BIG, nullable=True),
        _points("invoices", "customer_id", "customers"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_invoices")),
    )
    op.create_index(op.f("ix_invoices_customer_id"), "invoices", ["customer_id"], unique=False)
    op.create_index(
        "uq_invoices_draft",
        "invoices",
        ["customer_id"],
        unique=True,
        sqlite_where=sa.text("status = 'draft' AND archived_ms IS NULL"),
        postgresql_where=sa.text("status = 'draft' AND archived_ms IS NULL"),
    )
    op.create_index(
        "uq_invoices_number",
        "invoices",
        ["number"],
        unique=True,
        sqlite_where=sa.text("serial IS NOT NULL"),
        postgresql_where=sa.text("serial IS NOT NULL"),
    )
    op.create_index(
        "uq_invoices_serial",
        "invoices",
        ["serial"],
        unique=True,
        sqlite_where=sa.text("serial IS NOT NULL"),
        postgresql_where=sa.text("serial IS NOT NULL"),
    )
    op.create_index(
        "uq_invoices_start",
        "invoices",
        ["customer_id", "starts_ms"],
        unique=True,
        sqlite_where=sa.text("archived_ms IS NULL"),
        postgresql_where=sa.text("archived_ms IS NULL"),
    )
    op.create_table(
        "invoice_lines",
        sa.Column("id", ID, nullable=False),
        sa.Column("invoice_id", BIG, nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("section", sa.String(length=12), nullable=False),
        _text("description"),
        _text("prefix"),
        sa.Column("count", BIG, nullable=False),
        sa.Column("seconds", BIG, nullable=False),
        sa.Column("tax_ppm", BIG, nullable=False),
        _amount("net_nanos"),
        _amount("tax_nanos"),
        _amount("gross_nanos"),
        _points("invoice_lines", "invoice_id", "invoices"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_invoice_lines")),
    )
    op.create_index("uq_invoice_lines_position", "invoice_lines", ["invoice_id", "position"], unique=True)
    op.create_table(
        "payment_allocations",
        sa.Column("id", ID, nullable=False),
        sa.Column("customer_id", BIG, nullable=False),
        sa.Column("payment_id", BIG, nullable=False),
        sa.Column("invoice_id", BIG, nullable=False),
        sa.Column("amount_nanos", BIG, nullable=False),
        sa.Column("is_automatic", sa.Boolean(), server_default=sa.text("(false)"), nullable=False),
        _text("created_by"),
        sa.Column("created_ms", BIG, nullable=False),
        sa.Column("released_ms", BIG, nullable=True),
        _text("released_by"),
        _points("payment_allocations", "customer_id", "customers"),
        _points("payment_allocations", "invoice_id", "invoices"),
        _points("payment_allocations", "payment_id", "payments"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_payment_allocations")),
    )
    op.create_index(op.f("ix_payment_allocations_customer_id"), "payment_allocations", ["customer_id"], unique=False)
    op.create_index(op.f("ix_payment_allocations_invoice_id"), "payment_allocations", ["invoice_id"], unique=False)
    op.create_index(op.f("ix_payment_allocations_payment_id"), "payment_allocations", ["payment_id"], unique=False)
    op.create_table(
        "credit_notes",
        sa.Column("id", ID, nullable=False),
        sa.Column("customer_id", BIG, nullable=False),
        sa.Column("invoice_id", BIG, nullable=False),
        sa.Column("number", sa.Text(), nullable=False),
        sa.Column("serial", BIG, nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        _text("reason"),
        _text("note"),
        sa.Column("tax_ppm", BIG, nullable=False),
        _amount("net_nanos"),
        _amount("tax_nanos"),
        _amount("gross_nanos"),
        sa.Column("entry_id", BIG, nullable=False),
        sa.Column("seller", sa.JSON(), server_default="{}", nullable=False),
        sa.Column("buyer", sa.JSON(), server_default="{}", nullable=False),
        sa.Column("issued_day", sa.String(length=10), nullable=False),
        sa.Column("created_ms", BIG, nullable=False),
        _text("created_by"),
        _points("credit_notes", "customer_id", "customers"),
        _points("credit_notes", "invoice_id", "invoices"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_credit_notes")),
    )
    op.create_index(op.f("ix_credit_notes_customer_id"), "credit_notes", ["customer_id"], unique=False)
    op.create_index(op.f("ix_credit_notes_invoice_id"), "credit_notes", ["invoice_id"], unique=False)
    op.create_index("uq_credit_notes_number", "credit_notes", ["number"], unique=True)
    op.create_index("uq_credit_notes_serial", "credit_notes", ["serial"], unique=True)
    op.create_table(
        "documents",
        sa.Column("kind", sa.String(length=12), nullable=False),
        sa.Column("document_id", BIG, nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.Column("created_ms", BIG, nullable=False),
        sa.PrimaryKeyConstraint("kind", "document_id", name=op.f("pk_documents")),
    )
    op.create_table(
        "document_mails",
        sa.Column("id", ID, nullable=False),
        sa.Column("kind", sa.String(length=12), nullable=False),
        sa.Column("document_id", BIG, nullable=False),
        sa.Column("recipient", sa.Text(), nullable=False),
        sa.Column("round", sa.Integer(), server_default="0", nullable=False),
        sa.Column("state", sa.String(length=8), nullable=False),
        sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
        sa.Column("next_ms", BIG, nullable=False),
        _text("error"),
        sa.Column("created_ms", BIG, nullable=False),
        sa.Column("sent_ms", BIG, nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_document_mails")),
    )
    op.create_index(
        "ix_document_mails_pending",
        "document_mails",
        ["next_ms"],
        unique=False,
        sqlite_where=sa.text("state = 'pending'"),
        postgresql_where=sa.text("state = 'pending'"),
    )
    op.create_index(
        "uq_document_mails_recipient", "document_mails", ["kind", "document_id", "recipient", "round"], unique=True
    )
