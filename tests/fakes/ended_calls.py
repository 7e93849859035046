"""Calls that are over, as the switch's journal brings them to the store."""

from __future__ import annotations

from typing import Any

import msgspec

from switch.records import CallEnded, Cdr
from tests.fakes.control import START_MS


def ended_call(number: int, *, gross_nanos: int = 4_900_000, tax_nanos: int = 0, **fields: Any) -> CallEnded:
    """An answered call of customer 1 that cost `gross_nanos`; further fields are the CDR's own."""
    cdr = Cdr(
        id=f"{number:032x}",
        customer_id=1,
        client_id=None,
        endpoint_id=1,
        sip_user_id=None,
        route_id=1,
        direction="outbound",
        source="127.0.0.1:5070",
        transport="udp",
        call_id=f"{number}@test",
        cli_in="15551230001",
        cli_out="15551230001",
        dialled_in="1234442071234567",
        dialled_out="442071234567",
        invited_ms=START_MS,
        progress_ms=None,
        answered_ms=START_MS + 500,
        ended_ms=START_MS + 30_500,
        pdd_ms=500,
        duration_ms=30_000,
        billed_s=30,
        release="caller",
        cause="normal",
        status=200,
        currency="USD",
        card_id=1,
        revision_id=1,
        prefix="4420",
        destination="United Kingdom, London",
        rate_nanos=9_800_000,
        net_nanos=gross_nanos - tax_nanos,
        tax_nanos=tax_nanos,
        gross_nanos=gross_nanos,
        cost_nanos=0,
        margin_nanos=gross_nanos - tax_nanos,
        user_agent="",
        codecs="",
        recording="",
        attempts=(),
        explanation=(),
    )
    return CallEnded(msgspec.structs.replace(cdr, **fields))
