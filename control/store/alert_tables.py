"""Tables of alerts: what is watched, and whether it has fired."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Column, ForeignKey, Index, Integer, String, Table, Text

from control.store.columns import flag, json_list, row_id, stamps, text_column
from control.store.tables import METADATA

alerts: Final = Table(
    "alerts",
    METADATA,
    row_id(),
    Column("name", Text, nullable=False),
    Column("name_key", Text, nullable=False),
    # None: of the whole installation, or of a provider.
    Column("customer_id", BigInteger, ForeignKey("customers.id"), index=True),
    # None: not of a provider. No reference: SQLite adds none to a table that is there.
    Column("provider_id", BigInteger, index=True),
    json_list("recipients"),
    Column("area", String(16), nullable=False),
    Column("operator", String(2), nullable=False),
    Column("threshold_nanos", BigInteger, nullable=False),
    Column("reset_threshold_nanos", BigInteger),
    Column("sample_minutes", Integer, nullable=False),
    Column("minimum_calls", Integer, nullable=False),
    Column("penalty_minutes", Integer),
    Column("repeat_minutes", Integer),
    flag("enabled", default=True),
    text_column("notes"),
    *stamps(),
)
_ALIVE = alerts.c.archived_ms.is_(None)
# A NULL differs from every other one: among the installation's own alerts, the service looks by itself.
Index(
    "uq_alerts_name", alerts.c.customer_id, alerts.c.name_key, unique=True, sqlite_where=_ALIVE, postgresql_where=_ALIVE
)

# Apart from the rule, whose version counts what people change.
alert_states: Final = Table(
    "alert_states",
    METADATA,
    Column("alert_id", BigInteger, ForeignKey("alerts.id"), primary_key=True, autoincrement=False),
    Column("fired_ms", BigInteger),
    Column("told_ms", BigInteger),
    Column("penalty_until_ms", BigInteger),
    # Calls before this are not judged: its penalty ended then.
    Column("armed_ms", BigInteger, nullable=False),
    # As they were at the last of these.
    Column("value_nanos", BigInteger),
    Column("value_ms", BigInteger),
)
