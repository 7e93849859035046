"""Calls to CDRs: every time, price and reason of a call in one record, made when it ends."""

from __future__ import annotations

from typing import Final, Literal

from msgspec.structs import replace

from rating.quotes import Charge, Quote, price
from switch.call.attempt import Attempt
from switch.outputs import Flow
from switch.policy.decide import Option, Reject
from switch.quote_facts import restored_quote
from switch.records import Admitted, Candidate, Cdr
from switch.records import Attempt as AttemptRecord
from switch.snapshot import Gateway
from switch.wire.message import Request
from switch.wire.sdp import STATIC_CODECS

COST_NANOS_MAX: Final = 10**18
"""The highest cost that is written down, far above any call's and far below what 64 bits hold: a price list
with its columns mixed up must not make calls that nobody can record."""

DECISION_MAX: Final = 500
"""Characters of words about a call; what a peer dialled may stand in them."""


NUMBER_START: Final = "number "
"""How an attempt's `destination` begins where an inbound call went out again."""


class Try:
    """What policy chose for one attempt, beside the attempt itself."""

    def __init__(self, option: Option, gateway: Gateway, dialled_out: str) -> None:
        self.option: Option = option
        self.gateway: Gateway = gateway
        self.gateway_id: int = gateway.id
        self.dialled_out: str = dialled_out


def build_cdr(
    admitted: Admitted,
    sell: Quote,
    charge: Charge,
    *,
    progress_at: float,
    answered_at: float,
    ended_at: float,
    release: str,
    cause: str,
    status: int,
    duration_ms: int,
    codecs: str,
    attempts: tuple[AttemptRecord, ...],
    explanation: tuple[Candidate, ...],
) -> Cdr:
    """The record of a call that was let in and is over; moments that never came are 0."""
    wall_offset_s = admitted.wall_offset_s
    invited_at = admitted.invited_at
    cost_nanos = 0
    for attempt in attempts:
        cost_nanos += attempt.cost_nanos
    # To the first 18x, or to whatever came instead of one.
    pdd_ms = length_ms(invited_at, progress_at or answered_at or ended_at)
    return Cdr(
        id=admitted.id,
        customer_id=admitted.customer_id,
        client_id=admitted.client_id,
        endpoint_id=admitted.endpoint_id,
        sip_user_id=admitted.sip_user_id,
        route_id=admitted.route_id,
        direction="outbound" if admitted.did is None else "inbound",
        source=source_text(admitted.source),
        transport=admitted.transport,
        call_id=admitted.call_id,
        cli_in=admitted.cli_in,
        cli_out=admitted.cli_out,
        dialled_in=admitted.dialled_in,
        dialled_out=admitted.dialled_out,
        invited_ms=wall_ms(invited_at, wall_offset_s),
        progress_ms=wall_ms_if(progress_at, wall_offset_s),
        answered_ms=wall_ms_if(answered_at, wall_offset_s),
        ended_ms=wall_ms(ended_at, wall_offset_s),
        pdd_ms=pdd_ms,
        duration_ms=duration_ms,
        billed_s=charge.billed_s,
        release=release,  # type: ignore[arg-type]
        cause=cause,
        status=status,
        currency=admitted.currency,
        card_id=sell.card_id or None,
        revision_id=sell.revision_id or None,
        prefix=sell.row.prefix,
        destination=sell.row.name,
        rate_nanos=sell.rate_nanos,
        net_nanos=charge.net_nanos,
        tax_nanos=charge.tax_nanos,
        gross_nanos=charge.gross_nanos,
        cost_nanos=cost_nanos,
        margin_nanos=charge.net_nanos - cost_nanos,
        user_agent=admitted.user_agent,
        codecs=codecs,
        recording="off",
        attempts=attempts,
        explanation=explanation,
        decision=admitted.decision,
        did_id=None if admitted.did is None else admitted.did.id,
    )


def delivery_attempt(
    admitted: Admitted, answered: AttemptRecord, ended_ms: int, duration_ms: int, answered_ms: int
) -> AttemptRecord | None:
    """What an inbound call cost us that went out again to a number: both providers are paid. None for others."""
    did = admitted.did
    if did is None or not answered.destination.startswith(NUMBER_START):
        return None
    buy = restored_quote(did.buy)
    cost = price(buy, duration_ms, answered_ms)
    return AttemptRecord(
        provider_id=did.provider_id,
        provider_name=did.provider_name,
        gateway_id=did.gateway_id,
        card_id=buy.card_id,
        revision_id=buy.revision_id,
        prefix=buy.row.prefix,
        rate_nanos=buy.rate_nanos,
        dialled_out=did.number,
        started_ms=wall_ms(admitted.invited_at, admitted.wall_offset_s),
        ended_ms=ended_ms,
        status=answered.status,
        cause="delivered",
        billed_s=cost.billed_s,
        cost_nanos=min(cost.net_nanos, COST_NANOS_MAX),
        destination=f"DID {did.number}",
    )


def attempt_record(attempt: Attempt, chosen: Try, ended_at: float, wall_offset_s: float) -> AttemptRecord:
    """One try as it stands: what it costs is known when the call ends.

    Args:
        ended_at: of the call, for an attempt that ended with it.
    """
    option = chosen.option
    quote = option.quote
    return AttemptRecord(
        provider_id=option.card.provider_id,
        provider_name=option.provider.name,
        gateway_id=chosen.gateway_id,
        card_id=quote.card_id,
        revision_id=quote.revision_id,
        prefix=quote.row.prefix,
        rate_nanos=option.rate_nanos,
        dialled_out=chosen.dialled_out,
        started_ms=wall_ms(attempt.started_at, wall_offset_s),
        progress_ms=wall_ms_if(attempt.progress_at, wall_offset_s),
        answered_ms=wall_ms_if(attempt.answered_at, wall_offset_s),
        ended_ms=wall_ms(attempt.ended_at or ended_at, wall_offset_s),
        status=attempt.status,
        cause=attempt.cause,
    )


def closed_attempt(answered: AttemptRecord, ended_ms: int, cost: Charge) -> AttemptRecord:
    """The attempt that was answered, now that its call is over."""
    return replace(answered, ended_ms=ended_ms, billed_s=cost.billed_s, cost_nanos=min(cost.net_nanos, COST_NANOS_MAX))


def build_refusal(
    call_id: str,
    request: Request,
    reject: Reject,
    *,
    status: int,
    source: str,
    transport: str,
    dialled_in: str,
    cli_in: str,
    user_agent: str,
    invited_ms: int,
    ended_ms: int,
    release: Literal["caller", "switch"] = "switch",
) -> Cdr:
    """The record of a call of a known customer that was refused at admission."""
    sell: Quote | None = reject.sell
    customer = reject.customer
    assert customer is not None, "strangers get no CDR"
    explanation: tuple[Candidate, ...] = tuple(reject.explanation)
    return Cdr(
        id=call_id,
        customer_id=customer.id,
        client_id=customer.client_id,
        endpoint_id=reject.endpoint_id,
        sip_user_id=reject.user_id,
        route_id=reject.route_id,
        direction="outbound" if reject.did_id is None else "inbound",
        source=source,
        transport=transport,
        call_id=request.call_id.decode("utf-8", "backslashreplace"),
        cli_in=cli_in,
        cli_out=reject.cli_out,
        dialled_in=dialled_in,
        dialled_out=reject.dialled_out,
        invited_ms=invited_ms,
        progress_ms=None,
        answered_ms=None,
        ended_ms=ended_ms,
        pdd_ms=None,
        duration_ms=0,
        billed_s=0,
        release=release,
        cause=reject.cause.value,
        status=status,
        currency=customer.currency,
        card_id=None if sell is None else sell.card_id or None,
        revision_id=None if sell is None else sell.revision_id or None,
        prefix="" if sell is None else sell.row.prefix,
        destination="" if sell is None else sell.row.name,
        rate_nanos=0 if sell is None else sell.rate_nanos,
        net_nanos=0,
        tax_nanos=0,
        gross_nanos=0,
        cost_nanos=0,
        margin_nanos=0,
        user_agent=user_agent,
        codecs="",
        recording="off",
        attempts=(),
        explanation=explanation,
        decision=reject.detail[:DECISION_MAX],
        did_id=reject.did_id,
    )


def wall_ms(at: float, wall_offset_s: float) -> int:
    """A monotonic moment as milliseconds since the epoch."""
    return int((at + wall_offset_s) * 1000.0)


def wall_ms_if(at: float, wall_offset_s: float) -> int | None:
    """The same; None for what has not happened."""
    return int((at + wall_offset_s) * 1000.0) if at else None


def length_ms(begun_at: float, ended_at: float) -> int:
    """From one monotonic moment to a later one, to the nearest millisecond."""
    return int((ended_at - begun_at) * 1000.0 + 0.5)


def source_text(flow: Flow) -> str:
    """Address and port as a CDR shows them; IPv6 in brackets."""
    host = flow.address[0]
    return f"[{host}]:{flow.address[1]}" if ":" in host else f"{host}:{flow.address[1]}"


def first_codec(sdp: bytes) -> str:
    """The first audio codec of a session description, as its rtpmap or RFC 3551 names it."""
    start = sdp.find(b"m=audio ")
    if start < 0:
        return ""
    end = sdp.find(b"\n", start)
    words = sdp[start : end if end >= 0 else len(sdp)].split()
    if len(words) < 4:
        return ""
    payload = words[3]
    name = STATIC_CODECS.get(payload)
    if name is not None:
        return name.partition("/")[0]
    mapped = sdp.find(b"a=rtpmap:" + payload + b" ", start)
    if mapped < 0:
        return ""
    return sdp[mapped + 10 + len(payload) : mapped + 42 + len(payload)].split(b"/", 1)[0].decode("ascii", "replace")
