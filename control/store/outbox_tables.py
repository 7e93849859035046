"""Tables of what is told to others: events, who wants them, and how far each has been told.

An event is written in the transaction of the change that it tells of, with a delivery for each webhook
that wants it. Calls have no event of their own: their CDR is it, and `webhooks.cdr_number` says up to
which one deliveries were made.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import JSON, BigInteger, Boolean, Column, ForeignKey, Index, Integer, String, Table, Text, text

from control.store.tables import METADATA, BigId

outbox: Final = Table(
    "outbox",
    METADATA,
    # AUTOINCREMENT: old events go, and their numbers must not come again, for receivers sort by them.
    Column("id", BigId, primary_key=True),
    Column("event_id", String(40), nullable=False),
    Column("event", String(40), nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("customer_id", BigInteger),
    Column("payload", Text, nullable=False),
    sqlite_autoincrement=True,
)
Index("ix_outbox_at", outbox.c.at_ms)

webhooks: Final = Table(
    "webhooks",
    METADATA,
    Column("id", BigId, primary_key=True),
    Column("name", Text, nullable=False),
    Column("name_key", Text, nullable=False),
    Column("url", Text, nullable=False),
    Column("events", JSON, nullable=False, server_default="[]"),
    Column("customer_id", BigInteger, ForeignKey("customers.id"), index=True),
    Column("enabled", Boolean, nullable=False, server_default=text("true")),
    Column("notes", Text, nullable=False, server_default=""),
    # Sealed with the installation's key: signing needs it in clear.
    Column("secret_sealed", Text, nullable=False),
    # `cdrs.number` up to which its calls have deliveries.
    Column("cdr_number", BigInteger, nullable=False, server_default="0"),
    Column("row_version", Integer, nullable=False, server_default="1"),
    Column("created_ms", BigInteger, nullable=False),
    Column("updated_ms", BigInteger, nullable=False),
    Column("archived_ms", BigInteger),
)
_ALIVE = webhooks.c.archived_ms.is_(None)
Index("uq_webhooks_name", webhooks.c.name_key, unique=True, sqlite_where=_ALIVE, postgresql_where=_ALIVE)

deliveries: Final = Table(
    "deliveries",
    METADATA,
    Column("id", BigId, primary_key=True),
    # webhook | mail | sms
    Column("channel", String(8), nullable=False),
    Column("webhook_id", BigInteger, ForeignKey("webhooks.id")),
    # Of mail and SMS: where it goes.
    Column("address", Text, nullable=False, server_default=""),
    Column("event", String(40), nullable=False),
    Column("customer_id", BigInteger),
    # One of both: the event, or the call that is it.
    Column("outbox_id", BigInteger, ForeignKey("outbox.id"), index=True),
    Column("cdr_number", BigInteger),
    # pending | delivered | dead
    Column("state", String(12), nullable=False),
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("created_ms", BigInteger, nullable=False),
    # Tried for a day from then: the making, or the last time that somebody had it sent again.
    Column("since_ms", BigInteger, nullable=False),
    Column("next_ms", BigInteger, nullable=False),
    Column("done_ms", BigInteger),
    Column("status", Integer),
    Column("error", Text, nullable=False, server_default=""),
    sqlite_autoincrement=True,
)
_PENDING = text("state = 'pending'")
Index(
    "ix_deliveries_pending",
    deliveries.c.webhook_id,
    deliveries.c.id,
    sqlite_where=_PENDING,
    postgresql_where=_PENDING,
)
Index("ix_deliveries_done", deliveries.c.state, deliveries.c.done_ms)
Index("ix_deliveries_webhook", deliveries.c.webhook_id, deliveries.c.id)
Index("ix_deliveries_customer", deliveries.c.customer_id, deliveries.c.id)
