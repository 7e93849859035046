"""Tables of what is told to others: events, who wants them, and how far each has been told.

An event is written in the transaction of the change that it tells of, with a delivery for each webhook
that wants it. Calls have no event of their own: their CDR is it, and `webhooks.cdr_number` says up to
which one deliveries were made.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Column, ForeignKey, Index, Integer, String, Table, Text, text

from control.store.columns import flag, json_list, number, row_id, stamps, text_column
from control.store.tables import METADATA

outbox: Final = Table(
    "outbox",
    METADATA,
    # AUTOINCREMENT: old events go, and their numbers must not come again, for receivers sort by them.
    row_id(),
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
    row_id(),
    Column("name", Text, nullable=False),
    Column("name_key", Text, nullable=False),
    Column("url", Text, nullable=False),
    json_list("events"),
    Column("customer_id", BigInteger, ForeignKey("customers.id"), index=True),
    flag("enabled", default=True),
    text_column("notes"),
    # Sealed with the installation's key: signing needs it in clear.
    Column("secret_sealed", Text, nullable=False),
    # `cdrs.number` up to which its calls have deliveries.
    number("cdr_number"),
    *stamps(),
)
_ALIVE = webhooks.c.archived_ms.is_(None)
Index("uq_webhooks_name", webhooks.c.name_key, unique=True, sqlite_where=_ALIVE, postgresql_where=_ALIVE)

deliveries: Final = Table(
    "deliveries",
    METADATA,
    row_id(),
    # webhook | mail | sms
    Column("channel", String(8), nullable=False),
    Column("webhook_id", BigInteger, ForeignKey("webhooks.id")),
    # Of mail and SMS: where it goes.
    text_column("address"),
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
    text_column("error"),
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
