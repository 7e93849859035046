"""Tables of recalculations: runs that price calls anew, their lines, and what they change of vendors' costs.

A line that is booked is never touched again, and neither is its call's CDR: what a call costs now
is what its last booked line says. Customers' money moves by ledger entries alone; these rows say
why, and hold the buy side, which no balance knows.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import JSON, BigInteger, Column, ForeignKey, Index, Integer, String, Table, Text

from control.store.columns import flag, number, row_id, text_column
from control.store.tables import METADATA

recalculations: Final = Table(
    "recalculations",
    METADATA,
    row_id(),
    Column("kind", String(8), nullable=False),
    Column("state", String(12), nullable=False),
    Column("undoes_id", BigInteger, ForeignKey("recalculations.id")),
    Column("filters", JSON, nullable=False),
    Column("rule", JSON, nullable=False),
    Column("reason", Text, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("created_by", JSON, nullable=False),
    Column("applied_ms", BigInteger),
    Column("applied_by", JSON),
    # Place in the order in which runs came into force; the highest there was when this one began.
    Column("applied_order", Integer),
    Column("seen_order", Integer, nullable=False),
    # CDRs that came later are none of its business; how far it has got; how many it has looked at.
    Column("upto_number", BigInteger, nullable=False),
    number("cursor_ms"),
    number("cursor_number"),
    number("calls"),
    text_column("error"),
)
Index("uq_recalculations_undoes_id", recalculations.c.undoes_id, unique=True)
Index("uq_recalculations_applied_order", recalculations.c.applied_order, unique=True)

lines: Final = Table(
    "recalculation_lines",
    METADATA,
    row_id(),
    Column("recalculation_id", BigInteger, ForeignKey("recalculations.id"), nullable=False),
    Column("side", String(4), nullable=False),
    Column("cdr_number", BigInteger, nullable=False),
    Column("cdr_id", String(32), nullable=False),
    Column("invited_ms", BigInteger, nullable=False),
    Column("customer_id", BigInteger, nullable=False),
    Column("provider_id", BigInteger),
    Column("currency", String(3), nullable=False),
    Column("before_nanos", BigInteger, nullable=False),
    Column("after_nanos", BigInteger, nullable=False),
    Column("before", Text, nullable=False),
    Column("after", Text, nullable=False),
    Column("problem", String(20), nullable=False, server_default=""),
    flag("is_booked", default=False),
    Column("entry_id", BigInteger),
)
Index("uq_recalculation_lines_call", lines.c.recalculation_id, lines.c.cdr_number, lines.c.side, unique=True)
Index("ix_recalculation_lines_cdr_number", lines.c.cdr_number)

cost_adjustments: Final = Table(
    "cost_adjustments",
    METADATA,
    row_id(),
    Column("line_id", BigInteger, ForeignKey("recalculation_lines.id"), nullable=False),
    Column("cdr_id", String(32), nullable=False),
    Column("customer_id", BigInteger, nullable=False),
    Column("provider_id", BigInteger),
    Column("currency", String(3), nullable=False),
    Column("invited_ms", BigInteger, nullable=False),
    Column("amount_nanos", BigInteger, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
)
Index("uq_cost_adjustments_line_id", cost_adjustments.c.line_id, unique=True)
Index("ix_cost_adjustments_invited", cost_adjustments.c.invited_ms)
