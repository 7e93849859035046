"""Sums of calls by time: what stats and summaries read instead of millions of CDRs.

A row is a minute, or a quarter of an hour once its minutes were folded (`control.services.rollups`).
They stand by customer or provider and then by time, since nearly every question is one owner's range.
0 stands for no route, as keys hold no NULL, and in `call_rollups` for all customers together.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import BigInteger, CheckConstraint, Column, Integer, String, Table, Text

from control.store.tables import METADATA

KEYS: Final = {
    "call_rollups": ("customer_id", "at_ms", "route_id", "currency", "status"),
    "prefix_rollups": ("customer_id", "at_ms", "prefix", "currency"),
    "provider_rollups": ("provider_id", "at_ms", "gateway_id", "currency", "status"),
}
COUNTS: Final = ("attempts", "answered", "effective", "duration_ms", "billed_s", "pdd_ms", "pdd_calls")
"""`effective` is what NER counts; `pdd_calls` those that `pdd_ms` is the sum of."""
SUMS: Final = {
    "call_rollups": (*COUNTS, "net_nanos", "tax_nanos", "gross_nanos", "cost_nanos"),
    "prefix_rollups": (*COUNTS, "net_nanos", "tax_nanos", "gross_nanos", "cost_nanos"),
    # `net_nanos`: what the calls that this provider answered were sold for.
    "provider_rollups": (*COUNTS, "net_nanos", "cost_nanos"),
}
_TYPES: Final[dict[str, Any]] = {"currency": String(3), "prefix": Text(), "status": Integer()}


def _rollup(name: str) -> Table:
    keys = [Column(key, _TYPES.get(key, BigInteger()), primary_key=True, autoincrement=False) for key in KEYS[name]]
    more = [Column("destination", Text, nullable=False)] if name == "prefix_rollups" else []
    sums = [Column(each, BigInteger, nullable=False) for each in SUMS[name]]
    return Table(name, METADATA, *keys, *more, *sums, sqlite_with_rowid=False)


call_rollups: Final = _rollup("call_rollups")
prefix_rollups: Final = _rollup("prefix_rollups")
provider_rollups: Final = _rollup("provider_rollups")

# The most that was seen at once within a minute, or a quarter of an hour, by looking every second.
# `owner` is `customer` or `provider`; id 0 is all of them together.
load_peaks: Final = Table(
    "load_peaks",
    METADATA,
    Column("owner", String(8), primary_key=True),
    Column("owner_id", BigInteger, primary_key=True, autoincrement=False),
    Column("at_ms", BigInteger, primary_key=True, autoincrement=False),
    Column("channels", Integer, nullable=False),
    Column("cps", Integer, nullable=False),
    sqlite_with_rowid=False,
)

# CDRs above `cursor_number` and up to `upto_number` are not in the sums yet: they were stored before
# there were any, or the sums are being made anew. Minutes before `folded_ms` are quarters of an hour.
rollup_state: Final = Table(
    "rollup_state",
    METADATA,
    Column("id", Integer, CheckConstraint("id = 1", name="one_row"), primary_key=True, autoincrement=False),
    Column("cursor_number", BigInteger, nullable=False),
    Column("upto_number", BigInteger, nullable=False),
    Column("folded_ms", BigInteger, nullable=False),
)
