"""The ledger: entries, running balances, payments; calls that are stored already become entries."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

BIG = sa.BigInteger()
ID = BIG.with_variant(sa.Integer(), "sqlite")


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), server_default="", nullable=False)


def upgrade() -> None:
    _make_entries()
    op.create_table(
        "accounts",
        sa.Column("customer_id", BIG, autoincrement=False, nullable=False),
        sa.Column("balance_nanos", BIG, nullable=False),
        sa.CheckConstraint(
            "balance_nanos BETWEEN -9000000000000000000 AND 9000000000000000000", name=op.f("ck_accounts_in_range")
        ),
        sa.PrimaryKeyConstraint("customer_id", name=op.f("pk_accounts")),
    )
    _make_payments()
    op.execute(
        "INSERT INTO ledger_entries (customer_id, kind, amount_nanos, net_nanos, tax_nanos, at_ms, cdr_number)"
        " SELECT customer_id, 'call', -gross_nanos, net_nanos, tax_nanos, ended_ms, number FROM cdrs"
        " WHERE gross_nanos <> 0 ORDER BY number"
    )
    op.execute(
        "INSERT INTO accounts (customer_id, balance_nanos)"
        " SELECT customer_id, CAST(SUM(amount_nanos) AS BIGINT) FROM ledger_entries GROUP BY customer_id"
    )


def _make_entries() -> None:
    op.create_table(
        "ledger_entries",
        sa.Column("id", ID, nullable=False),
        sa.Column("customer_id", BIG, nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("amount_nanos", BIG, nullable=False),
        sa.Column("net_nanos", BIG, nullable=True),
        sa.Column("tax_nanos", BIG, nullable=True),
        sa.Column("at_ms", BIG, nullable=False),
        sa.Column("cdr_number", BIG, nullable=True),
        sa.Column("payment_id", BIG, nullable=True),
        sa.Column("reversed_id", BIG, nullable=True),
        _text("reference"),
        _text("description"),
        _text("note"),
        _text("actor"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ledger_entries")),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "ix_ledger_entries_customer_at", "ledger_entries", ["customer_id", "at_ms", "id", "amount_nanos"], unique=False
    )
    _make_partial_index("uq_ledger_entries_call", ["cdr_number"], "kind = 'call'", unique=True)
    _make_partial_index("ix_ledger_entries_booked_id", ["id"], "kind <> 'call'")
    _make_partial_index("ix_ledger_entries_booked_customer_at", ["customer_id", "at_ms", "id"], "kind <> 'call'")
    _make_partial_index("ix_ledger_entries_booked_cdr", ["cdr_number"], "kind <> 'call'")
    _make_partial_index("uq_ledger_entries_reversed", ["reversed_id"], "reversed_id IS NOT NULL", unique=True)
    # Nobody edits money that has moved, not even our own code by mistake: another entry makes it good.
    if op.get_context().dialect.name == "sqlite":
        for action in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER ledger_refuses_{action.lower()} BEFORE {action} ON ledger_entries"
                " BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END"
            )
    else:
        op.execute(
            "CREATE FUNCTION refuse_ledger_edit() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN RAISE EXCEPTION 'the ledger is append-only'; END $$"
        )
        op.execute(
            "CREATE TRIGGER ledger_refuses_edits BEFORE UPDATE OR DELETE ON ledger_entries"
            " FOR EACH ROW EXECUTE FUNCTION refuse_ledger_edit()"
        )


def _make_payments() -> None:
    op.create_table(
        "payments",
        sa.Column("id", ID, nullable=False),
        sa.Column("customer_id", BIG, nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("total_nanos", BIG, nullable=False),
        _text("description"),
        _text("reason"),
        sa.Column("key", sa.Text(), nullable=True),
        sa.Column("entry_id", BIG, nullable=True),
        sa.Column("reversal_id", BIG, nullable=True),
        sa.Column("completed_ms", BIG, nullable=True),
        sa.Column("reversed_ms", BIG, nullable=True),
        _text("created_by"),
        sa.Column("row_version", sa.Integer(), server_default="1", nullable=False),
        sa.Column("created_ms", BIG, nullable=False),
        sa.Column("updated_ms", BIG, nullable=False),
        sa.Column("archived_ms", BIG, nullable=True),
        sa.ForeignKeyConstraint(["customer_id"], ["customers.id"], name=op.f("fk_payments_customer_id_customers")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_payments")),
    )
    op.create_index(op.f("ix_payments_customer_id"), "payments", ["customer_id"], unique=False)
    op.create_index(
        "uq_payments_key",
        "payments",
        ["customer_id", "key"],
        unique=True,
        sqlite_where=sa.text("key IS NOT NULL"),
        postgresql_where=sa.text("key IS NOT NULL"),
    )
    op.create_table(
        "idempotency_keys",
        sa.Column("customer_id", BIG, autoincrement=False, nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("request", sa.LargeBinary(), nullable=False),
        sa.Column("entry_id", BIG, nullable=True),
        sa.Column("status", sa.Integer(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("location", sa.Text(), nullable=False),
        sa.Column("created_ms", BIG, nullable=False),
        sa.PrimaryKeyConstraint("customer_id", "key", name=op.f("pk_idempotency_keys")),
    )


def _make_partial_index(name: str, columns: list[str], where: str, *, unique: bool = False) -> None:
    condition = sa.text(where)
    op.create_index(name, "ledger_entries", columns, unique=unique, sqlite_where=condition, postgresql_where=condition)
