"""Tables of people who log in for a customer, and of the tokens that they hold.

A token's row is kept when it has ended: from where somebody logged in before is what tells the owner
of an account from those who guess at it.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Column, ForeignKey, Index, LargeBinary, String, Table, Text

from control.store.columns import flag, json_list, number, row_id, stamps, text_column
from control.store.tables import METADATA

contacts: Final = Table(
    "contacts",
    METADATA,
    row_id(),
    Column("customer_id", BigInteger, ForeignKey("customers.id"), nullable=False, index=True),
    Column("name", Text, nullable=False),
    Column("email", Text, nullable=False),
    Column("email_key", Text, nullable=False),
    text_column("phone"),
    flag("enabled", default=True),
    json_list("ip_allow_list"),
    text_column("notes_public"),
    text_column("notes_private"),
    # Empty: nobody can log in by it.
    text_column("password_hash"),
    Column("password_set_ms", BigInteger),
    # Sealed with the installation's key; empty: no second factor.
    text_column("totp_sealed"),
    text_column("totp_pending"),
    # The last time step whose code was taken: none is taken twice.
    number("totp_step"),
    Column("last_login_ms", BigInteger),
    *stamps(),
)
_ALIVE = contacts.c.archived_ms.is_(None)
Index("uq_contacts_email", contacts.c.email_key, unique=True, sqlite_where=_ALIVE, postgresql_where=_ALIVE)

contact_tokens: Final = Table(
    "contact_tokens",
    METADATA,
    row_id(),
    Column("contact_id", BigInteger, ForeignKey("contacts.id"), nullable=False),
    # session | reset
    Column("kind", String(8), nullable=False),
    Column("token_hash", LargeBinary, nullable=False),
    text_column("address"),
    text_column("user_agent"),
    Column("created_ms", BigInteger, nullable=False),
    Column("expires_ms", BigInteger, nullable=False),
    Column("ended_ms", BigInteger),
)
Index("uq_contact_tokens_token_hash", contact_tokens.c.token_hash, unique=True)
Index("ix_contact_tokens_contact", contact_tokens.c.contact_id, contact_tokens.c.kind, contact_tokens.c.address)
