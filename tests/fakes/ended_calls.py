"""Calls that are over, as the switch's journal brings them to the store."""

from __future__ import annotations

from typing import Any

from switch.records import CallEnded
from tests.fakes.cdrs import make_cdr
from tests.fakes.control import START_MS


def ended_call(number: int, *, gross_nanos: int = 4_900_000, tax_nanos: int = 0, **fields: Any) -> CallEnded:
    """An answered call of customer 1 that cost `gross_nanos`; further fields are the CDR's own."""
    priced: dict[str, Any] = {
        "call_id": f"{number}@test",
        "invited_ms": START_MS,
        "answered_ms": START_MS + 500,
        "ended_ms": START_MS + 30_500,
        "pdd_ms": 500,
        "duration_ms": 30_000,
        "billed_s": 30,
        "card_id": 1,
        "revision_id": 1,
        "prefix": "4420",
        "destination": "United Kingdom, London",
        "rate_nanos": 9_800_000,
        "net_nanos": gross_nanos - tax_nanos,
        "tax_nanos": tax_nanos,
        "gross_nanos": gross_nanos,
        "margin_nanos": gross_nanos - tax_nanos,
    }
    return CallEnded(make_cdr(number, **{**priced, **fields}))
