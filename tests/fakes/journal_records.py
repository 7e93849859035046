"""Records of calls as the switch would journal them, with nothing in them that a replay does not ask for."""

from __future__ import annotations

from switch.flow import Flow
from switch.records import Admitted, Answered, Attempt, CallEnded, LegState, QuoteFacts
from tests.fakes.cdrs import make_attempt, make_cdr

WALL_OFFSET_S = 1_700_000_000.0
SOURCE = Flow(0, ("192.0.2.1", 5060))
SELL = QuoteFacts(
    row=("44", "UK", 10, 0, 1, 1, 0, 0, False, 0, 0, 0, (), ()),
    tariff=(4, "up", "up", 0, 0, None, "UTC"),
    tax_ppm=0,
    card_id=1,
    revision_id=1,
    at_ms=0,
)
LEG = LegState(b"id", b"", b"r", b"", b"l", SOURCE, b"sip:192.0.2.1", [], 1, 0)


def admitted(call_id: str, *, customer_id: int = 1, held_nanos: int = 100, at: float = 10.0) -> Admitted:
    return Admitted(
        id=call_id, customer_id=customer_id, client_id=None, endpoint_id=None, sip_user_id=None, route_id=1,
        source=SOURCE, transport="udp", call_id=call_id, cli_in="", cli_out="", dialled_in="", dialled_out="",
        invited_at=at, wall_offset_s=WALL_OFFSET_S, currency="EUR", sell=SELL, user_agent="", is_challenged=False,
        max_duration_s=60, held_nanos=held_nanos, invite=b"",
    )  # fmt: skip


def answered(call_id: str, *, at: float = 11.0) -> Answered:
    return Answered(
        id=call_id, progress_at=0.0, answered_at=at, status=200, ingress=LEG, egress=LEG, invite_cseq=1,
        reply_flow=SOURCE, swap=None, codecs="", attempts=(), attempt=attempt(), buy=SELL, explanation=(),
    )  # fmt: skip


def attempt() -> Attempt:
    return make_attempt(provider_name="V", revision_id=2, rate_nanos=5, dialled_out="44")


def ended(call_id: str, *, customer_id: int = 1, gross_nanos: int = 0, ended_ms: int = 1_700_000_012_000) -> CallEnded:
    names = {"id": call_id, "call_id": call_id, "customer_id": customer_id, "currency": "EUR"}
    priced = {"card_id": 1, "revision_id": 1, "prefix": "44", "destination": "UK", "rate_nanos": 10}
    return CallEnded(
        make_cdr(
            0,
            **names,
            **priced,
            invited_ms=ended_ms,
            ended_ms=ended_ms,
            net_nanos=gross_nanos,
            gross_nanos=gross_nanos,
        )
    )
