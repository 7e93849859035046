"""Answer `Simulate`: the decision that a call would meet, in words, with nothing consumed."""

from __future__ import annotations

from random import Random
from typing import Final

from rating.money import format_amount
from switch.accounts import SPEND_REACHED, Accounts
from switch.frames import Simulate, Simulated, SimulatedCandidate
from switch.policy.causes import STATUS, Cause
from switch.policy.decide import decide
from switch.policy.live import Live
from switch.policy.presentation import present, presentation_words
from switch.policy.tables import Tables
from switch.policy.vendors import choose_gateway, number_for
from switch.policy.verdicts import Facts, Option, Plan, Reject, Skip
from switch.records import Candidate
from switch.snapshot import Gateway, SipUser
from switch.wire.sdp import codec_list, keep_codecs, offer_of

HOLD_S: Final = 60
"""Talk that a simulated call would hold for; the setting only moves how much of the credit it shows."""


def simulated(
    tables: Tables, live: Live, request: Simulate, now_ms: int, now_s: float, accounts: Accounts | None = None
) -> Simulated:
    """Decide as `decide` would for an INVITE at `request.at_ms`, or now.

    Prices, dates and revisions are those of that time; usage, rates and health those of now.

    Args:
        accounts: whose money the call would hold; None, or another time than now, leaves that out.
    """
    user: SipUser | None = None
    at_ms = now_ms if request.at_ms is None else request.at_ms
    if request.username:
        user = tables.find_user(request.username)
        if user is None:
            return Simulated(
                is_admitted=False,
                status=STATUS[Cause.CREDENTIALS_WRONG][0],
                cause=Cause.CREDENTIALS_WRONG.value,
                steps=[f"refused: no user {request.username}, or one in several realms (name it user@realm)"],
            )
    facts = Facts(request.source_ip, request.transport, request.dialled, request.cli, at_ms, now_s, user)
    facts.asserted = request.pai
    facts.sdp = offer_of(request.codecs)
    verdict = decide(tables, live, facts, is_simulated=True)
    if isinstance(verdict, Reject):
        return _refusal(tables, verdict)
    return _admission(tables, live, verdict, request, at_ms, now_s, None if at_ms != now_ms else accounts)


def _refusal(tables: Tables, reject: Reject) -> Simulated:
    sell = reject.sell
    return Simulated(
        is_admitted=False,
        status=STATUS[reject.cause][0],
        cause=reject.cause.value,
        steps=reject.steps,
        customer_id=reject.customer_id,
        endpoint_id=reject.endpoint_id,
        sip_user_id=reject.user_id,
        route_id=reject.route_id,
        dialled_out=reject.dialled_out,
        cli_out=reject.cli_out,
        sell_card_id=None if sell is None else sell.card_id,
        sell_revision_id=None if sell is None else sell.revision_id,
        sell_prefix="" if sell is None else sell.row.prefix,
        sell_rate_nanos=0 if sell is None else sell.rate_nanos,
        destination="" if sell is None else sell.row.name,
        candidates=[_skipped(tables, candidate) for candidate in reject.explanation],
    )


def _admission(
    tables: Tables, live: Live, plan: Plan, request: Simulate, at_ms: int, now_s: float, accounts: Accounts | None
) -> Simulated:
    candidates: list[SimulatedCandidate] = []
    is_taken = False
    for option in plan.options:
        candidate = _weighed(tables, live, plan, option, request, at_ms, now_s, is_taken)
        if candidate.outcome == "taken":
            is_taken = True
            plan.steps.append(f"first try: {candidate.provider_name}, gateway {candidate.gateway_id}")
            plan.steps.append(_shown(plan, option, request))
        candidates.append(candidate)
    candidates += [_skipped(tables, candidate) for candidate in plan.explanation[len(plan.options) :]]
    cause = Cause.NO_VENDOR if not is_taken else _money_cause(plan, at_ms, accounts)
    if not is_taken:
        plan.steps.append("refused: no gateway of these vendors can take a call now")
    return Simulated(
        is_admitted=cause is None,
        status=0 if cause is None else STATUS[cause][0],
        cause="" if cause is None else cause.value,
        steps=plan.steps,
        customer_id=plan.customer.id,
        endpoint_id=None if plan.endpoint is None else plan.endpoint.id,
        sip_user_id=None if plan.user is None else plan.user.id,
        route_id=plan.route.id,
        dialled_out=plan.dialled_out,
        cli_out=plan.cli_out,
        sell_card_id=plan.sell.card_id,
        sell_revision_id=plan.sell.revision_id,
        sell_prefix=plan.sell.row.prefix,
        sell_rate_nanos=plan.sell.rate_nanos,
        destination=plan.sell.row.name,
        candidates=candidates,
    )


def _shown(plan: Plan, option: Option, request: Simulate) -> str:
    is_changed = plan.cli_out != request.cli
    shown = present(plan.customer, option.provider, plan.cli_out, is_changed, request.pai, request.is_private)
    return presentation_words(shown, plan.cli_out)


def _money_cause(plan: Plan, now_ms: int, accounts: Accounts | None) -> Cause | None:
    """Why the hold would be refused; None: it would not."""
    if accounts is None:
        return None
    held = accounts.would_hold(plan.customer, plan.sell, HOLD_S, now_ms)
    if held >= 0:
        plan.steps.append(f"hold: {format_amount(held)} {plan.customer.currency}")
        return None
    cause = Cause.DAILY_SPEND_REACHED if held == SPEND_REACHED else Cause.BALANCE_INSUFFICIENT
    plan.steps.append(f"refused: {cause.value} (customer {plan.customer.name})")
    return cause


def _weighed(
    tables: Tables,
    live: Live,
    plan: Plan,
    option: Option,
    request: Simulate,
    at_ms: int,
    now_s: float,
    is_taken: bool,
) -> SimulatedCandidate:
    """An option with the gateway that its first try would go to; the first that has one is taken."""
    # A simulation draws nothing; the generator only fills the argument.
    found = choose_gateway(tables, live, option, now_s, at_ms, Random(0), set(), is_simulated=True)
    if isinstance(found, Gateway) and not _takes_codecs(plan, found, request):
        found = Skip("codecs", f"gateway {found.id} takes none of those offered")
    row = option.quote.row
    is_open = not isinstance(found, Skip)
    return SimulatedCandidate(
        card_id=option.card.id,
        card_name=option.card.record.name,
        provider_id=option.provider.id,
        provider_name=option.provider.name,
        outcome=found.reason if isinstance(found, Skip) else "not_reached" if is_taken else "taken",
        detail=found.detail if isinstance(found, Skip) else "",
        prefix=row.prefix,
        rate_nanos=option.rate_nanos,
        connect_fee_nanos=row.connect_fee_nanos,
        first_s=row.first_s,
        next_s=row.next_s,
        margin_nanos=option.margin_nanos,
        dialled_out=number_for(option.provider, plan.dialled_out) if is_open else "",
        gateway_id=None if isinstance(found, Skip) else found.id,
    )


def _takes_codecs(plan: Plan, gateway: Gateway, request: Simulate) -> bool:
    offer = offer_of(request.codecs)
    allowed = codec_list(gateway.codecs)
    if not offer or allowed is None:
        return True
    if plan.codecs is not None:
        offer = keep_codecs(offer, plan.codecs).body
    return keep_codecs(offer, allowed).has_codec


def _skipped(tables: Tables, candidate: Candidate) -> SimulatedCandidate:
    card = tables.cards.get(candidate.card_id)
    provider = tables.providers.get(candidate.provider_id)
    return SimulatedCandidate(
        card_id=candidate.card_id,
        card_name="" if card is None else card.record.name,
        provider_id=candidate.provider_id,
        provider_name="" if provider is None else provider.name,
        outcome=candidate.outcome,
        detail=candidate.detail,
        rate_nanos=candidate.rate_nanos,
        margin_nanos=candidate.margin_nanos,
    )
