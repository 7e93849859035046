"""How a call was decided, in words: each step with what it was decided on, from the record of the call alone.

The configuration may have changed since; nothing here is decided again. Names are those of now.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from control.services.call_texts import inert
from control.services.fields import ms_moment
from rating.money import format_amount
from switch.policy.causes import Cause
from switch.records import Attempt, Candidate


class Decided(msgspec.Struct, frozen=True, kw_only=True):
    """A call's record, live or ended, as far as its decision is told by it."""

    id: str
    customer_id: int
    client_id: int | None
    endpoint_id: int | None
    sip_user_id: int | None
    route_id: int | None
    did_id: int | None
    direction: str
    source: str
    transport: str
    call_id: str
    cli_in: str
    cli_out: str
    dialled_in: str
    dialled_out: str
    invited_ms: int
    answered_ms: int | None
    ended_ms: int | None
    """None: it is up."""
    release: str
    cause: str
    status: int
    currency: str
    card_id: int | None
    revision_id: int | None
    prefix: str
    destination: str
    rate_nanos: int
    attempts: tuple[Attempt, ...]
    candidates: tuple[Candidate, ...]
    decision: str
    """What a rule said, in the switch's own words."""


class Names(msgspec.Struct, frozen=True):
    """What ids are called now."""

    customer: str
    providers: dict[int, str]
    cards: dict[int, str]


def decision_lines(call: Decided, names: Names) -> list[str]:
    """One line a step, in the order of admission."""
    who = _who(call)
    cli = "as it came" if call.cli_out == call.cli_in else f"becomes {call.cli_out or 'none'}"
    lines = [
        f"INVITE from {call.source} over {call.transport} at {_clock(call.invited_ms)}",
        f"customer {call.customer_id} {names.customer}, known by {who}",
        f"dialled {call.dialled_in or 'nothing'}" + (f", becomes {call.dialled_out}" if call.dialled_out else ""),
        f"CLI {call.cli_in or 'none'}, {cli}",
    ]
    if call.decision:
        lines.append(call.decision)
    if call.route_id is not None:
        lines.append(f"ingress route {call.route_id}")
    if call.card_id is not None:
        lines.append(
            f"sell rate: card {call.card_id} {names.cards.get(call.card_id, '')}, revision {call.revision_id}, "
            f"prefix {call.prefix} {call.destination}: {format_amount(call.rate_nanos)} {call.currency} a minute"
        )
    lines += [_candidate_line(candidate, names) for candidate in call.candidates]
    lines += [_attempt_line(number, attempt) for number, attempt in enumerate(call.attempts, 1)]
    lines.append(_end_line(call))
    return [inert(" ".join(line.split())) for line in lines]


def _who(call: Decided) -> str:
    if call.did_id is not None:
        return f"its number {call.did_id}"
    if call.sip_user_id is not None:
        return f"the password of SIP user {call.sip_user_id}"
    return "its address" if call.endpoint_id is None else f"the address of endpoint {call.endpoint_id}"


def _candidate_line(candidate: Candidate, names: Names) -> str:
    vendor = names.providers.get(candidate.provider_id, "")
    money = f"rate {format_amount(candidate.rate_nanos)}, margin {format_amount(candidate.margin_nanos)}"
    detail = f" ({candidate.detail})" if candidate.detail else ""
    card = f"card {candidate.card_id} {names.cards.get(candidate.card_id, '')}"
    return f"vendor {candidate.provider_id} {vendor}, {card}: {candidate.outcome}{detail}; {money}"


def _attempt_line(number: int, attempt: Attempt) -> str:
    took_s = (attempt.ended_ms - attempt.started_ms) / 1000
    heard = f"status {attempt.status}" if attempt.status else "no final response"
    where = f"to {attempt.destination}" if attempt.destination else f"number {attempt.dialled_out}"
    return (
        f"attempt {number}: {attempt.provider_name}, gateway {attempt.gateway_id}, {where}: "
        f"{attempt.cause or 'under way'}, {heard}, {took_s:.3f} s"
    )


def _end_line(call: Decided) -> str:
    if call.ended_ms is None:
        return "up" if call.answered_ms is not None else "being set up"
    if call.answered_ms is None:
        refused = "refused" if _is_policy(call) else "failed"
        return f"{refused} after {(call.ended_ms - call.invited_ms) / 1000:.3f} s: {call.cause}, status {call.status}"
    return f"ended by the {call.release} after {(call.ended_ms - call.answered_ms) / 1000:.3f} s of talk: {call.cause}"


def _is_policy(call: Decided) -> bool:
    return call.release == "switch" and not call.attempts and call.cause in {cause.value for cause in Cause}


def vendors_of(call: Decided) -> Sequence[int]:
    """Providers whose names the lines want."""
    return sorted({each.provider_id for each in call.candidates} | {each.provider_id for each in call.attempts})


def cards_of(call: Decided) -> Sequence[int]:
    found = {each.card_id for each in call.candidates}
    return sorted(found if call.card_id is None else found | {call.card_id})


def _clock(ms: int) -> str:
    return ms_moment(ms).isoformat(timespec="milliseconds").replace("+00:00", "Z")
