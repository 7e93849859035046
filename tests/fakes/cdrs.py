"""CDRs and their attempts, whole: a test gives the fields that it is about."""

from __future__ import annotations

from typing import Any, Final

from switch.records import Attempt, Cdr

_CDR: Final[dict[str, Any]] = {
    "customer_id": 1,
    "client_id": None,
    "endpoint_id": 1,
    "sip_user_id": None,
    "route_id": 1,
    "direction": "outbound",
    "source": "192.0.2.10:5060",
    "transport": "udp",
    "cli_in": "15551230001",
    "cli_out": "15551230001",
    "dialled_in": "442079460000",
    "dialled_out": "442079460000",
    "invited_ms": 0,
    "progress_ms": None,
    "answered_ms": None,
    "ended_ms": 0,
    "pdd_ms": None,
    "duration_ms": 0,
    "billed_s": 0,
    "release": "caller",
    "cause": "normal",
    "status": 200,
    "currency": "USD",
    "card_id": None,
    "revision_id": None,
    "prefix": "",
    "destination": "",
    "rate_nanos": 0,
    "net_nanos": 0,
    "tax_nanos": 0,
    "gross_nanos": 0,
    "cost_nanos": 0,
    "margin_nanos": 0,
    "user_agent": "sipp",
    "codecs": "PCMA",
    "recording": "off",
    "attempts": (),
    "explanation": (),
}
_ATTEMPT: Final[dict[str, Any]] = {
    "provider_id": 1,
    "provider_name": "Vendor One",
    "gateway_id": 1,
    "card_id": 2,
    "revision_id": 1,
    "prefix": "44",
    "rate_nanos": 0,
    "dialled_out": "442079460000",
    "started_ms": 0,
    "ended_ms": 0,
    "status": 200,
    "cause": "answered",
}


def make_cdr(number: int, **fields: Any) -> Cdr:
    """The `number`-th call of customer 1, without a price; its id and Call-ID are made of the number."""
    return Cdr(**{"id": f"{number:032x}", "call_id": f"call-{number}@192.0.2.10", **_CDR, **fields})


def make_attempt(**fields: Any) -> Attempt:
    """An answered one at the first vendor's gateway, free of charge."""
    return Attempt(**{**_ATTEMPT, **fields})
