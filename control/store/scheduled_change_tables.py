"""Table of changes that somebody asked for and that are not due yet, or were."""

from __future__ import annotations

from typing import Final

from sqlalchemy import JSON, BigInteger, Column, Index, String, Table, Text, text

from control.store.columns import row_id, text_column
from control.store.tables import METADATA

scheduled_changes: Final = Table(
    "scheduled_changes",
    METADATA,
    row_id(),
    Column("noun", String(32), nullable=False),
    # Of `control.services.operations`.
    Column("action", String(32), nullable=False, server_default="update"),
    # 0: of many rows, which the fields name.
    Column("row_id", BigInteger, nullable=False),
    Column("customer_id", BigInteger),
    # The fields as they were sent, but what nobody may read.
    Column("fields", JSON, nullable=False),
    # JSON of those, sealed with the installation's key; empty: there are none.
    text_column("sealed"),
    Column("at_ms", BigInteger, nullable=False),
    # pending | applied | failed | cancelled
    Column("state", String(12), nullable=False),
    text_column("reason"),
    # The least role that may change such a row: who sees and undoes it.
    Column("role", String(16), nullable=False),
    Column("actor_kind", String(16), nullable=False),
    Column("actor_id", BigInteger),
    Column("actor_name", Text, nullable=False),
    Column("actor_role", String(16), nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("done_ms", BigInteger),
)
_PENDING = text("state = 'pending'")
Index(
    "ix_scheduled_changes_pending",
    scheduled_changes.c.at_ms,
    scheduled_changes.c.id,
    sqlite_where=_PENDING,
    postgresql_where=_PENDING,
)
Index("ix_scheduled_changes_row", scheduled_changes.c.noun, scheduled_changes.c.row_id)
