"""The table of customers' rules about calling numbers."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Column, ForeignKey, Index, Integer, String, Table

from control.store.columns import flag, row_id, stamps, text_column
from control.store.tables import METADATA

cli_rules: Final = Table(
    "cli_rules",
    METADATA,
    row_id(),
    Column("customer_id", BigInteger, ForeignKey("customers.id"), nullable=False),
    # 1, 2, 3 … among the customer's rules that are not archived.
    Column("position", Integer, nullable=False),
    text_column("match"),
    text_column("pai_match"),
    text_column("dialled_match"),
    Column("action", String(8), nullable=False),
    text_column("to"),
    flag("enabled", default=True),
    text_column("notes"),
    *stamps(),
)
Index("ix_cli_rules_customer", cli_rules.c.customer_id, cli_rules.c.position)
