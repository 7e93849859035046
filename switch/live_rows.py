"""Live calls as the control plane lists them."""

from __future__ import annotations

from switch.billed import BilledCall
from switch.call.call import STATE_NAMES
from switch.cdr import length_ms, source_text, wall_ms, wall_ms_if
from switch.frames import CallDecision, LiveCall, Load
from switch.inbound import InboundCall
from switch.policy.live import CUSTOMER, PROVIDER, Live
from switch.quote_facts import restored_quote
from switch.records import Attempt, Candidate
from switch.routed import RoutedCall
from switch.waiting import Waiting


def live_call(call: BilledCall, now: float) -> LiveCall:
    admitted = call.admitted
    assert admitted is not None, "live calls only"
    provider_id: int | None = None
    gateway_id: int | None = None
    if call.answered is not None:
        provider_id, gateway_id = call.answered.provider_id, call.answered.gateway_id
    elif isinstance(call, RoutedCall) and call.tries:
        chosen = call.tries[len(call.tries) - 1]
        provider_id, gateway_id = chosen.option.provider.id, chosen.gateway.id
    elif admitted.did is not None:
        provider_id, gateway_id = admitted.did.provider_id, admitted.did.gateway_id
    return LiveCall(
        cdr_id=call.id,
        customer_id=admitted.customer_id,
        route_id=admitted.route_id,
        endpoint_id=admitted.endpoint_id,
        sip_user_id=admitted.sip_user_id,
        provider_id=provider_id,
        gateway_id=gateway_id,
        call_id=admitted.call_id,
        cli=admitted.cli_out,
        dialled=admitted.dialled_out,
        source=source_text(call.source),
        state=STATE_NAMES[call.state],
        invited_ms=wall_ms(call.invited_at, admitted.wall_offset_s),
        answered_ms=wall_ms_if(call.answered_at, admitted.wall_offset_s),
        direction="outbound" if admitted.did is None else "inbound",
        duration_ms=length_ms(call.answered_at, now) if call.answered_at else 0,
        held_nanos=call.held_nanos,
        spent_nanos=call.spent_nanos(now),
    )


def call_decision(call: BilledCall, now: float) -> CallDecision:
    """What policy chose for a live call, and its attempts; the present one ends now, as far as is known."""
    admitted = call.admitted
    assert admitted is not None, "live calls only"
    sell = restored_quote(admitted.sell)
    candidates: tuple[Candidate, ...] = call.explanation
    attempts: list[Attempt] = list(call.failed)
    if call.answered is not None:
        attempts.append(call.answered)
    elif isinstance(call, RoutedCall):
        candidates = tuple(call.plan.explanation)
        attempts = list(call.failed_but(-1, now))
    elif isinstance(call, InboundCall):
        candidates = tuple(call.plan.explanation)
        attempts = list(call.failed_but(-1, now))
    return CallDecision(
        call=live_call(call, now),
        client_id=admitted.client_id,
        decision=admitted.decision,
        did_id=None if admitted.did is None else admitted.did.id,
        cli_in=admitted.cli_in,
        cli_out=admitted.cli_out,
        dialled_in=admitted.dialled_in,
        dialled_out=admitted.dialled_out,
        transport=admitted.transport,
        currency=admitted.currency,
        card_id=sell.card_id,
        revision_id=sell.revision_id,
        prefix=sell.row.prefix,
        destination=sell.row.name,
        rate_nanos=sell.rate_nanos,
        candidates=candidates,
        attempts=tuple(attempts),
    )


def waiting_call(waiting: Waiting, invited_ms: int) -> LiveCall:
    """An INVITE that waits for its route's call rate, as if it were a call; it holds nothing and occupies nothing."""
    reject, facts = waiting.reject, waiting.facts
    customer = reject.customer
    assert customer is not None, "strangers do not wait"
    return LiveCall(
        cdr_id=waiting.cdr_id,
        customer_id=customer.id,
        route_id=reject.route_id,
        endpoint_id=reject.endpoint_id,
        sip_user_id=reject.user_id,
        provider_id=None,
        gateway_id=None,
        call_id=waiting.request.call_id.decode("utf-8", "backslashreplace"),
        cli=reject.cli_out or facts.cli,
        dialled=reject.dialled_out or facts.dialled,
        source=source_text(waiting.flow),
        state="waiting",
        invited_ms=invited_ms,
        answered_ms=None,
        duration_ms=0,
    )


def waiting_decision(waiting: Waiting, transport: str, invited_ms: int) -> CallDecision:
    """What it waits for; nothing is priced yet."""
    reject, facts = waiting.reject, waiting.facts
    customer = reject.customer
    assert customer is not None, "strangers do not wait"
    return CallDecision(
        call=waiting_call(waiting, invited_ms),
        client_id=reject.client_id,
        decision=f"waits for a call rate: {reject.detail}",
        cli_in=facts.cli,
        cli_out=reject.cli_out or facts.cli,
        dialled_in=facts.dialled,
        dialled_out=reject.dialled_out,
        transport=transport,
        currency=customer.currency,
        card_id=None,
        revision_id=None,
        prefix="",
        destination="",
        rate_nanos=0,
        candidates=(),
        attempts=(),
    )


def load_of(live: Live, since_s: float) -> Load:
    """Calls up and begun by customer and by provider; those with neither are left out."""
    customers = _counts(live, CUSTOMER)
    providers = _counts(live, PROVIDER)
    begun = live.take_begun()
    for key, count in begun.items():
        counts = customers if (key & 15) == CUSTOMER else providers
        record_id = key >> 4
        counts[record_id] = (counts.get(record_id, (0, 0))[0], count)
    up = sum([pair[0] for pair in customers.values()])
    total = (up, sum([pair[1] for pair in customers.values()]))
    return Load(since_s=since_s, total=total, customers=customers, providers=providers)


def _counts(live: Live, layer: int) -> dict[int, tuple[int, int]]:
    return {key >> 4: (len(calls), 0) for key, calls in live.calls.items() if (key & 15) == layer}
