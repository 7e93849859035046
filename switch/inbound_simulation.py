"""Answer `Simulate` for a call to one of our numbers: the decision that it would meet, with nothing consumed."""

from __future__ import annotations

from rating.money import format_amount
from switch.accounts import SPEND_REACHED
from switch.board import Board
from switch.frames import Simulate, Simulated, SimulatedCandidate
from switch.policy.causes import STATUS, Cause
from switch.policy.inbound import Called, InboundPlan, Ring, called_number, decide_forward, decide_inbound
from switch.policy.simulate import HOLD_S
from switch.policy.verdicts import Facts, Reject
from switch.records import Candidate


def simulated_inbound(board: Board, request: Simulate, now_ms: int, now_s: float) -> Simulated | None:
    """None: it is no call from a provider's gateway to a number of ours."""
    gateway_ids = None if request.username else board.vendor_ips.get(request.source_ip)
    called = None if gateway_ids is None else called_number(board.tables, gateway_ids, request.dialled)
    if called is None:
        return None
    at_ms = now_ms if request.at_ms is None else request.at_ms
    facts = Facts(request.source_ip, request.transport, request.dialled, request.cli, at_ms, now_s)
    verdict = decide_inbound(board.tables, board.live, facts, called, is_simulated=True)
    if isinstance(verdict, Reject):
        return Simulated(
            is_admitted=False,
            status=STATUS[verdict.cause][0],
            cause=verdict.cause.value,
            steps=verdict.steps,
            customer_id=verdict.customer_id,
            dialled_out=verdict.dialled_out,
            cli_out=verdict.cli_out,
            candidates=[_left_out(called, told) for told in verdict.explanation],
        )
    candidates: list[SimulatedCandidate] = []
    is_taken = False
    for ring in verdict.rings:
        outcome, detail = _tried(board, verdict, facts, ring, now_s)
        if outcome == "taken" and is_taken:
            outcome = "not_reached"
        if outcome == "taken":
            is_taken = True
            verdict.steps.append(f"first try: {ring.name}")
        row = verdict.buy.row
        candidates.append(
            SimulatedCandidate(
                card_id=called.did.provider_card_id or 0,
                card_name="",
                provider_id=called.provider.id,
                provider_name=called.provider.name,
                outcome=outcome,
                detail=f"{ring.name}: {detail}" if detail else ring.name,
                prefix=row.prefix,
                rate_nanos=verdict.buy.rate_nanos,
                connect_fee_nanos=row.connect_fee_nanos,
                first_s=row.first_s,
                next_s=row.next_s,
                margin_nanos=verdict.sell.rate_nanos - verdict.buy.rate_nanos,
                dialled_out=called.did.number,
                gateway_id=called.gateway.id,
            )
        )
    candidates += [_left_out(called, told) for told in verdict.explanation[len(verdict.rings) :]]
    cause = None if at_ms != now_ms else _money_cause(board, verdict, at_ms)
    if cause is None and not is_taken:
        cause = Cause.NO_DESTINATION
        verdict.steps.append("refused: none of its destinations can take a call now")
    sell = verdict.sell
    return Simulated(
        is_admitted=cause is None,
        status=0 if cause is None else STATUS[cause][0],
        cause="" if cause is None else cause.value,
        steps=verdict.steps,
        customer_id=verdict.customer.id,
        dialled_out=called.did.number,
        cli_out=request.cli,
        sell_card_id=sell.card_id or None,
        sell_revision_id=sell.revision_id or None,
        sell_prefix=sell.row.prefix,
        sell_rate_nanos=sell.rate_nanos,
        destination=sell.row.name,
        candidates=candidates,
    )


def _tried(board: Board, plan: InboundPlan, facts: Facts, ring: Ring, now_s: float) -> tuple[str, str]:
    """What trying it would come to now, without its call rates."""
    caller = ring.caller
    if caller is not None:
        for key, channels in caller.caps:
            if board.live.channels(key) >= channels:
                return "channels", str(channels)
    if ring.kind == "sip_user":
        contacts = board.bindings.of(0 if caller is None else caller.record_id, now_s)
        if not contacts:
            return "unregistered", "no contact"
        return "taken", ", ".join([contact.uri.decode("utf-8", "backslashreplace") for contact in contacts])
    if ring.kind == "number":
        onward = decide_forward(board.tables, board.live, facts, plan.account, ring.value, is_simulated=True)
        if isinstance(onward, Reject):
            return onward.cause.value, onward.detail
        if board.accounts.is_spent(plan.customer, facts.now_ms):
            return Cause.DAILY_SPEND_REACHED.value, ""
        return "taken", ", ".join([option.provider.name for option in onward.options])
    place = ring.place
    if place is None or board.flow_to(place, now_s) is None:
        return "unhealthy", "not resolved"
    return "taken", ""


def _money_cause(board: Board, plan: InboundPlan, now_ms: int) -> Cause | None:
    customer = plan.customer
    held = board.accounts.would_hold_inbound(customer, plan.sell, HOLD_S, now_ms)
    if held >= 0:
        plan.steps.append(f"hold: {format_amount(held)} {customer.currency}")
        return None
    cause = Cause.DAILY_SPEND_REACHED if held == SPEND_REACHED else Cause.BALANCE_INSUFFICIENT
    if customer.allow_inbound_without_credit:
        plan.steps.append(f"rings without credit ({cause.value}): it costs the customer nothing")
        return None
    plan.steps.append(f"refused: {cause.value} (customer {customer.name})")
    return cause


def _left_out(called: Called, told: Candidate) -> SimulatedCandidate:
    return SimulatedCandidate(
        card_id=told.card_id,
        card_name="",
        provider_id=called.provider.id,
        provider_name=called.provider.name,
        outcome=told.outcome,
        detail=told.detail,
    )
