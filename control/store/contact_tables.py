"""Tables of people who log in for a customer, and of the tokens that they hold.

A token's row is kept when it has ended: from where somebody logged in before is what tells the owner
of an account from those who guess at it.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
    text,
)

from control.store.tables import METADATA, BigId

contacts: Final = Table(
    "contacts",
    METADATA,
    Column("id", BigId, primary_key=True),
    Column("customer_id", BigInteger, ForeignKey("customers.id"), nullable=False, index=True),
    Column("name", Text, nullable=False),
    Column("email", Text, nullable=False),
    Column("email_key", Text, nullable=False),
    Column("phone", Text, nullable=False, server_default=""),
    Column("enabled", Boolean, nullable=False, server_default=text("true")),
    Column("ip_allow_list", JSON, nullable=False, server_default="[]"),
    Column("notes_public", Text, nullable=False, server_default=""),
    Column("notes_private", Text, nullable=False, server_default=""),
    # Empty: nobody can log in by it.
    Column("password_hash", Text, nullable=False, server_default=""),
    Column("password_set_ms", BigInteger),
    # Sealed with the installation's key; empty: no second factor.
    Column("totp_sealed", Text, nullable=False, server_default=""),
    Column("totp_pending", Text, nullable=False, server_default=""),
    # The last time step whose code was taken: none is taken twice.
    Column("totp_step", BigInteger, nullable=False, server_default="0"),
    Column("last_login_ms", BigInteger),
    Column("row_version", Integer, nullable=False, server_default="1"),
    Column("created_ms", BigInteger, nullable=False),
    Column("updated_ms", BigInteger, nullable=False),
    Column("archived_ms", BigInteger),
)
_ALIVE = contacts.c.archived_ms.is_(None)
Index("uq_contacts_email", contacts.c.email_key, unique=True, sqlite_where=_ALIVE, postgresql_where=_ALIVE)

contact_tokens: Final = Table(
    "contact_tokens",
    METADATA,
    Column("id", BigId, primary_key=True),
    Column("contact_id", BigInteger, ForeignKey("contacts.id"), nullable=False),
    # session | reset
    Column("kind", String(8), nullable=False),
    Column("token_hash", LargeBinary, nullable=False),
    Column("address", Text, nullable=False, server_default=""),
    Column("user_agent", Text, nullable=False, server_default=""),
    Column("created_ms", BigInteger, nullable=False),
    Column("expires_ms", BigInteger, nullable=False),
    Column("ended_ms", BigInteger),
)
Index("uq_contact_tokens_token_hash", contact_tokens.c.token_hash, unique=True)
Index("ix_contact_tokens_contact", contact_tokens.c.contact_id, contact_tokens.c.kind, contact_tokens.c.address)
