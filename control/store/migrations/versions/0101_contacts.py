"""Contacts with a login and their tokens; periods of minimum payments."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0101"
down_revision = "0004"
branch_labels = None
depends_on = None

BIG = sa.BigInteger()
ID = BIG.with_variant(sa.Integer(), "sqlite")
ALIVE = sa.text("archived_ms IS NULL")


def _text(name: str) -> sa.Column[str]:
    return sa.Column(name, sa.Text(), server_default="", nullable=False)


def upgrade() -> None:
    op.create_table(
        "minimum_payment_periods",
        sa.Column("customer_id", BIG, autoincrement=False, nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("time_zone", sa.Text(), nullable=False),
        sa.Column("starts_ms", BIG, nullable=False),
        sa.Column("ends_ms", BIG, nullable=False),
        sa.ForeignKeyConstraint(
            ["customer_id"], ["customers.id"], name=op.f("fk_minimum_payment_periods_customer_id_customers")
        ),
        sa.PrimaryKeyConstraint("customer_id", name=op.f("pk_minimum_payment_periods")),
    )
    op.create_table(
        "contacts",
        sa.Column("id", ID, nullable=False),
        sa.Column("customer_id", BIG, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("email_key", sa.Text(), nullable=False),
        _text("phone"),
        sa.Column("enabled", sa.Boolean(), server_default=sa.text("(true)"), nullable=False),
        sa.Column("ip_allow_list", sa.JSON(), server_default="[]", nullable=False),
        _text("notes_public"),
        _text("notes_private"),
        _text("password_hash"),
        sa.Column("password_set_ms", BIG, nullable=True),
        _text("totp_sealed"),
        _text("totp_pending"),
        sa.Column("totp_step", BIG, server_default="0", nullable=False),
        sa.Column("last_login_ms", BIG, nullable=True),
        sa.Column("row_version", sa.Integer(), server_default="1", nullable=False),
        sa.Column("created_ms", BIG, nullable=False),
        sa.Column("updated_ms", BIG, nullable=False),
        sa.Column("archived_ms", BIG, nullable=True),
        sa.ForeignKeyConstraint(["customer_id"], ["customers.id"], name=op.f("fk_contacts_customer_id_customers")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_contacts")),
    )
    op.create_index(op.f("ix_contacts_customer_id"), "contacts", ["customer_id"], unique=False)
    op.create_index(
        "uq_contacts_email", "contacts", ["email_key"], unique=True, sqlite_where=ALIVE, postgresql_where=ALIVE
    )
    op.create_table(
        "contact_tokens",
        sa.Column("id", ID, nullable=False),
        sa.Column("contact_id", BIG, nullable=False),
        sa.Column("kind", sa.String(length=8), nullable=False),
        sa.Column("token_hash", sa.LargeBinary(), nullable=False),
        _text("address"),
        _text("user_agent"),
        sa.Column("created_ms", BIG, nullable=False),
        sa.Column("expires_ms", BIG, nullable=False),
        sa.Column("ended_ms", BIG, nullable=True),
        sa.ForeignKeyConstraint(["contact_id"], ["contacts.id"], name=op.f("fk_contact_tokens_contact_id_contacts")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_contact_tokens")),
    )
    op.create_index("uq_contact_tokens_token_hash", "contact_tokens", ["token_hash"], unique=True)
    op.create_index("ix_contact_tokens_contact", "contact_tokens", ["contact_id", "kind", "address"], unique=False)
