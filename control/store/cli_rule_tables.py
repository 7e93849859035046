"""The table of customers' rules about calling numbers."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Boolean, Column, ForeignKey, Index, Integer, String, Table, Text, text

from control.store.tables import METADATA, BigId

cli_rules: Final = Table(
    "cli_rules",
    METADATA,
    Column("id", BigId, primary_key=True),
    Column("customer_id", BigInteger, ForeignKey("customers.id"), nullable=False),
    # 1, 2, 3 … among the customer's rules that are not archived.
    Column("position", Integer, nullable=False),
    Column("match", Text, nullable=False, server_default=""),
    Column("pai_match", Text, nullable=False, server_default=""),
    Column("dialled_match", Text, nullable=False, server_default=""),
    Column("action", String(8), nullable=False),
    Column("to", Text, nullable=False, server_default=""),
    Column("enabled", Boolean, nullable=False, server_default=text("true")),
    Column("notes", Text, nullable=False, server_default=""),
    Column("row_version", Integer, nullable=False, server_default="1"),
    Column("created_ms", BigInteger, nullable=False),
    Column("updated_ms", BigInteger, nullable=False),
    Column("archived_ms", BigInteger),
)
Index("ix_cli_rules_customer", cli_rules.c.customer_id, cli_rules.c.position)
