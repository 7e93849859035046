"""The catalogue, purchases, and bills, which refuse edits."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0271"
down_revision = "0270"
branch_labels = None
depends_on = None

BIG = sa.BigInteger()
ID = BIG.with_variant(sa.Integer(), "sqlite")
ALIVE = sa.text("archived_ms IS NULL")


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), server_default="", nullable=False)


def _stamps() -> list[sa.Column[int]]:
    return [
        sa.Column("row_version", sa.Integer(), server_default="1", nullable=False),
        sa.Column("created_ms", BIG, nullable=False),
        sa.Column("updated_ms", BIG, nullable=False),
        sa.Column("archived_ms", BIG, nullable=True),
    ]


def _priced() -> list[sa.Column[Any]]:
    return [
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("monthly_price_nanos", BIG, nullable=False),
        sa.Column("setup_price_nanos", BIG, nullable=False),
        sa.Column("notice_days", sa.Integer(), nullable=False),
    ]


def upgrade() -> None:
    op.add_column("clients", sa.Column("bill_month", sa.String(length=7), nullable=True))
    op.add_column("clients", sa.Column("bill_due_ms", BIG, nullable=True))
    _begin_bills()
    op.create_table(
        "products",
        sa.Column("id", ID, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("name_key", sa.Text(), nullable=False),
        sa.Column("kind", sa.String(length=8), nullable=False),
        _text("description"),
        *_priced(),
        sa.Column("enabled", sa.Boolean(), server_default=sa.text("(true)"), nullable=False),
        *_stamps(),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_products")),
    )
    op.create_index(
        "uq_products_name", "products", ["name_key"], unique=True, sqlite_where=ALIVE, postgresql_where=ALIVE
    )
    op.create_table(
        "purchases",
        sa.Column("id", ID, nullable=False),
        sa.Column("client_id", BIG, nullable=False),
        sa.Column("product_id", BIG, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("kind", sa.String(length=8), nullable=False),
        *_priced(),
        sa.Column("quantity", sa.Integer(), nullable=False),
        sa.Column("start_date", sa.String(length=10), nullable=False),
        sa.Column("end_date", sa.String(length=10), nullable=True),
        sa.Column("cancelled_ms", BIG, nullable=True),
        _text("notes"),
        *_stamps(),
        sa.ForeignKeyConstraint(["client_id"], ["clients.id"], name=op.f("fk_purchases_client_id_clients")),
        sa.ForeignKeyConstraint(["product_id"], ["products.id"], name=op.f("fk_purchases_product_id_products")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_purchases")),
    )
    op.create_index(op.f("ix_purchases_client_id"), "purchases", ["client_id"], unique=False)
    op.create_index(op.f("ix_purchases_product_id"), "purchases", ["product_id"], unique=False)
    op.create_table(
        "client_bills",
        sa.Column("id", ID, nullable=False),
        sa.Column("client_id", BIG, nullable=False),
        sa.Column("month", sa.String(length=7), nullable=False),
        sa.Column("number", BIG, nullable=False),
        sa.Column("billing_ref", sa.Text(), nullable=False),
        sa.Column("billing_ref_key", sa.Text(), nullable=False),
        sa.Column("client_name", sa.Text(), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("first_day", sa.String(length=10), nullable=False),
        sa.Column("last_day", sa.String(length=10), nullable=False),
        sa.Column("net_nanos", BIG, nullable=False),
        sa.Column("tax_ppm", BIG, nullable=False),
        sa.Column("tax_nanos", BIG, nullable=False),
        sa.Column("total_nanos", BIG, nullable=False),
        sa.Column("lines", sa.Text(), nullable=False),
        sa.Column("account", sa.Text(), nullable=False),
        sa.Column("issued_ms", BIG, nullable=False),
        sa.ForeignKeyConstraint(["client_id"], ["clients.id"], name=op.f("fk_client_bills_client_id_clients")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_client_bills")),
    )
    op.create_index("uq_client_bills_month", "client_bills", ["client_id", "month"], unique=True)
    op.create_index("uq_client_bills_number", "client_bills", ["number"], unique=True)
    op.create_index("ix_client_bills_billing_ref_key", "client_bills", ["billing_ref_key"], unique=False)
    _refuse_edits()


def _begin_bills() -> None:
    """Of clients that are billed from now on: their first bill is that of the month of `activated_ms`.

    Their time zone is UTC, since none could be set before; the hour after a month's end is `client_rules`'s.
    """
    if op.get_context().dialect.name == "sqlite":
        month = "strftime('%Y-%m', activated_ms / 1000, 'unixepoch')"
        ends_s = "CAST(strftime('%s', activated_ms / 1000, 'unixepoch', 'start of month', '+1 month') AS INTEGER)"
    else:
        moment = "to_timestamp(activated_ms / 1000) AT TIME ZONE 'UTC'"
        month = f"to_char({moment}, 'YYYY-MM')"
        ends_s = f"CAST(extract(epoch FROM date_trunc('month', {moment}) + interval '1 month') AS BIGINT)"
    op.execute(
        f"UPDATE clients SET bill_month = {month}, bill_due_ms = ({ends_s} + 3600) * 1000"  # noqa: S608
        " WHERE activated_ms IS NOT NULL AND status IN ('active', 'suspended')"
    )


def _refuse_edits() -> None:
    if op.get_context().dialect.name == "sqlite":
        for action in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER client_bills_refuse_{action.lower()} BEFORE {action} ON client_bills"
                " BEGIN SELECT RAISE(ABORT, 'an issued bill is never changed'); END"
            )
        return
    op.execute(
        "CREATE FUNCTION refuse_client_bill_edit() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " RAISE EXCEPTION 'an issued bill is never changed' USING ERRCODE = 'integrity_constraint_violation'; END $$"
    )
    op.execute(
        "CREATE TRIGGER client_bills_refuse_edits BEFORE UPDATE OR DELETE ON client_bills"
        " FOR EACH ROW EXECUTE FUNCTION refuse_client_bill_edit()"
    )
    op.execute(
        "CREATE TRIGGER client_bills_refuse_truncate BEFORE TRUNCATE ON client_bills"
        " FOR EACH STATEMENT EXECUTE FUNCTION refuse_client_bill_edit()"
    )
