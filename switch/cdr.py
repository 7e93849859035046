"""Calls to CDRs: every time, price and reason of a call in one record, made when it ends."""

from __future__ import annotations

from typing import Final, Literal

from rating.quotes import Charge, Quote, price
from switch.call.call import Call
from switch.outputs import Flow
from switch.policy.decide import Option, Plan, Reject
from switch.records import Attempt as AttemptRecord
from switch.records import Candidate, Cdr
from switch.snapshot import Gateway
from switch.wire.message import Request

STATIC_CODECS: Final = {
    b"0": "PCMU",
    b"3": "GSM",
    b"4": "G723",
    b"8": "PCMA",
    b"9": "G722",
    b"13": "CN",
    b"15": "G728",
    b"18": "G729",
    b"34": "H263",
}
"""RFC 3551 table 4, the payload types that need no rtpmap."""

NOTHING: Final = Charge(0, 0, 0)


class Try:
    """What policy chose for one attempt, beside the attempt itself."""

    def __init__(self, option: Option, gateway: Gateway, dialled_out: str) -> None:
        self.option: Option = option
        self.gateway: Gateway = gateway
        self.dialled_out: str = dialled_out


def build_cdr(
    call: Call,
    plan: Plan,
    tries: list[Try],
    *,
    source: str,
    transport: str,
    dialled_in: str,
    cli_in: str,
    user_agent: str,
    codecs: str,
    wall_offset_s: float,
) -> Cdr:
    """The record of a call that was let in and is over.

    Args:
        tries: one for each of `call.attempts`.
    """
    answered_ms = _wall_ms(call.answered_at, wall_offset_s)
    duration_ms = round((call.ended_at - call.answered_at) * 1000.0) if call.answered_at else 0
    sell = plan.sell
    charge = price(sell, duration_ms, answered_ms or 0)
    attempts: list[AttemptRecord] = []
    cost_nanos = 0
    for index in range(len(tries)):
        record = _attempt_record(call, index, tries[index], duration_ms, wall_offset_s)
        cost_nanos += record.cost_nanos
        attempts.append(record)
    if call.progress_at:
        pdd_ms: int | None = round((call.progress_at - call.invited_at) * 1000.0)
    elif call.answered_at:
        pdd_ms = round((call.answered_at - call.invited_at) * 1000.0)
    else:
        pdd_ms = round((call.ended_at - call.invited_at) * 1000.0)
    return Cdr(
        id=call.id,
        customer_id=plan.customer.id,
        client_id=plan.customer.client_id,
        endpoint_id=None if plan.endpoint is None else plan.endpoint.id,
        sip_user_id=None if plan.user is None else plan.user.id,
        route_id=plan.route.id,
        direction="outbound",
        source=source,
        transport=transport,
        call_id=call.ingress.call_id.decode("utf-8", "backslashreplace"),
        cli_in=cli_in,
        cli_out=plan.cli_out,
        dialled_in=dialled_in,
        dialled_out=plan.dialled_out,
        invited_ms=int((call.invited_at + wall_offset_s) * 1000.0),
        progress_ms=_wall_ms(call.progress_at, wall_offset_s),
        answered_ms=answered_ms,
        ended_ms=int((call.ended_at + wall_offset_s) * 1000.0),
        pdd_ms=pdd_ms,
        duration_ms=duration_ms,
        billed_s=charge.billed_s,
        release=call.release,  # type: ignore[arg-type]
        cause=call.cause,
        status=call.status,
        currency=plan.sell_card.record.currency,
        card_id=sell.card_id,
        revision_id=sell.revision_id,
        prefix=sell.row.prefix,
        destination=sell.row.name,
        rate_nanos=sell.rate_nanos,
        net_nanos=charge.net_nanos,
        tax_nanos=charge.tax_nanos,
        gross_nanos=charge.gross_nanos,
        cost_nanos=cost_nanos,
        margin_nanos=charge.net_nanos - cost_nanos,
        user_agent=user_agent,
        codecs=codecs,
        recording="off",
        attempts=tuple(attempts),
        explanation=tuple(plan.explanation),
    )


def _attempt_record(call: Call, index: int, chosen: Try, duration_ms: int, wall_offset_s: float) -> AttemptRecord:
    attempt = call.attempts[index]
    option = chosen.option
    quote = option.quote
    cost = NOTHING
    if attempt.answered_at:
        cost = price(quote, duration_ms, int((attempt.answered_at + wall_offset_s) * 1000.0))
    return AttemptRecord(
        provider_id=option.provider.id,
        provider_name=option.provider.name,
        gateway_id=chosen.gateway.id,
        card_id=quote.card_id,
        revision_id=quote.revision_id,
        prefix=quote.row.prefix,
        rate_nanos=option.rate_nanos,
        dialled_out=chosen.dialled_out,
        started_ms=int((attempt.started_at + wall_offset_s) * 1000.0),
        progress_ms=_wall_ms(attempt.progress_at, wall_offset_s),
        answered_ms=_wall_ms(attempt.answered_at, wall_offset_s),
        ended_ms=int(((attempt.ended_at or call.ended_at) + wall_offset_s) * 1000.0),
        status=attempt.status,
        cause=attempt.cause,
        billed_s=cost.billed_s,
        cost_nanos=cost.net_nanos,
    )


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
        direction="outbound",
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
        card_id=None if sell is None else sell.card_id,
        revision_id=None if sell is None else sell.revision_id,
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
    )


def _wall_ms(at: float, wall_offset_s: float) -> int | None:
    return int((at + wall_offset_s) * 1000.0) if at else None


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
        return name
    mapped = sdp.find(b"a=rtpmap:" + payload + b" ", start)
    if mapped < 0:
        return ""
    return sdp[mapped + 10 + len(payload) : mapped + 42 + len(payload)].split(b"/", 1)[0].decode("ascii", "replace")
