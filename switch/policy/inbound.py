"""Calls to our numbers: from a provider's INVITE to a customer's destinations, or to a refusal.

The order is that of admission: number, states, call rates, channels, price. The hold, as for every
call, comes last and is the engine's. What a destination itself limits is asked when it is tried,
like a vendor's gateway. Source addresses are the packet's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from rating.numbers import normalise_e164
from rating.quotes import Quote, Tariff
from rating.rows import RateRow
from switch.policy.callers import Account, Caller
from switch.policy.causes import Cause
from switch.policy.decide import decide
from switch.policy.live import DID, INSTANCE_KEY, Live, describe_key, layer_key
from switch.policy.places import DESTINATIONS_MAX
from switch.policy.states import inbound_cause
from switch.policy.tables import Tables
from switch.policy.verdicts import Facts, Plan, Reject
from switch.records import Candidate
from switch.snapshot import Client, Customer, Did, DidDestination, Endpoint, Gateway, Provider

NOT_REACHED: Final = "not_reached"
_FREE: Final = RateRow("", "", 0)
_PLAIN: Final = Tariff()


class Called:
    """A number of ours, and the gateway that the call to it came by."""

    def __init__(self, did: Did, gateway: Gateway, provider: Provider) -> None:
        self.did: Did = did
        self.gateway: Gateway = gateway
        self.provider: Provider = provider


class Ring:
    """One destination of a call; what it leads to is looked up when it is tried."""

    def __init__(self, kind: str, name: str, caller: Caller | None, place: Gateway | None, value: str) -> None:
        self.kind: str = kind
        self.name: str = name
        """As CDRs show it."""
        self.caller: Caller | None = caller
        """Of an endpoint or a SIP user."""
        self.place: Gateway | None = place
        """Where an endpoint or a URI is."""
        self.value: str = value
        """The URI, or the number in E.164 digits."""


class InboundPlan:
    """The call is let in, if the money is there."""

    def __init__(
        self,
        customer: Customer,
        client: Client | None,
        account: Account,
        called: Called,
        sell: Quote,
        buy: Quote,
        currency: str,
        rings: list[Ring],
        explanation: list[Candidate],
        keys: list[int],
        steps: list[str],
    ) -> None:
        self.customer: Customer = customer
        self.client: Client | None = client
        self.account: Account = account
        self.called: Called = called
        self.sell: Quote = sell
        self.buy: Quote = buy
        self.currency: str = currency
        self.rings: list[Ring] = rings
        self.explanation: list[Candidate] = explanation
        """`explanation[i]` is about `rings[i]`; behind them stand those that cannot be rung at all."""
        self.keys: list[int] = keys
        self.steps: list[str] = steps
        """In words; filled for simulations only."""


def called_number(tables: Tables, gateway_ids: Sequence[int], dialled: str) -> Called | None:
    """The DID that a call from one of these gateways is for; None: it is for none of ours.

    A DID that names a provider takes calls from that provider's gateways only.
    """
    number = normalise_e164(dialled)
    did = None if number is None else tables.dids_by_number.get(number)
    if did is None:
        return None
    for gateway_id in gateway_ids:
        gateway = tables.gateways.get(gateway_id)
        if gateway is None or not gateway.enabled:
            continue
        provider = tables.providers.get(gateway.provider_id)
        if provider is None or not provider.enabled:
            continue
        if did.provider_id is None or did.provider_id == provider.id:
            return Called(did, gateway, provider)
    return None


def decide_inbound(
    tables: Tables, live: Live, facts: Facts, called: Called, is_simulated: bool = False
) -> InboundPlan | Reject:
    """The whole decision but the hold.

    Args:
        is_simulated: consume no token, and say each step in words.
    """
    return _Inbound(tables, live, facts, called, is_simulated).run()


def decide_forward(
    tables: Tables, live: Live, facts: Facts, account: Account, number: str, is_simulated: bool = False
) -> Plan | Reject:
    """How a customer's inbound call goes out again to a number: by its own ingress route and sell card.

    States are those of calls out: a suspended client's DID rings its phones and pays for no trip abroad. The call
    has the customer's channel already; the route's limits count.
    """
    onward = Account(account.customer_id)
    onward.customer = account.customer
    onward.client = account.client
    onward.cli_rules = account.cli_rules
    nobody = Endpoint(id=0, customer_id=account.customer_id, direction="egress", host="")
    onward_facts = Facts(
        facts.source_ip,
        facts.transport,
        number,
        facts.cli,
        facts.now_ms,
        facts.now_s,
        None,
        0,
        facts.max_duration_s,
        facts.invite,
    )
    onward_facts.asserted = facts.asserted
    onward_facts.caller = Caller(nobody, None, onward, None, None)
    return decide(tables, live, onward_facts, is_simulated)


class _Inbound:
    """One run of `decide_inbound`."""

    def __init__(self, tables: Tables, live: Live, facts: Facts, called: Called, is_simulated: bool) -> None:
        self.tables: Tables = tables
        self.live: Live = live
        self.facts: Facts = facts
        self.called: Called = called
        self.is_simulated: bool = is_simulated
        self.steps: list[str] = []
        self.account: Account | None = None

    def run(self) -> InboundPlan | Reject:
        called = self.called
        did = called.did
        if self.is_simulated:
            self.steps.append(f"called: DID {did.number} through {called.provider.name}, gateway {called.gateway.id}")
        account = None if did.customer_id is None else self.tables.account_of(did.customer_id)
        if account is None:
            return self._refuse(Cause.NUMBER_UNASSIGNED, f"DID {did.number} is nobody's")
        self.account = account
        customer = account.customer
        assert customer is not None, "account_of gives none without"
        if self.is_simulated:
            self.steps.append(f"customer: {customer.name}")
        cause = inbound_cause(customer, account.client, self.facts.now_ms)
        if cause is not None:
            return self._refuse(cause, f"customer {customer.name}")
        if not did.enabled:
            return self._refuse(Cause.NUMBER_UNASSIGNED, f"DID {did.number} is switched off")
        refused = self._check_limits(account)
        if refused is not None:
            return refused
        if self.is_simulated:
            self.steps.append("call rates and channels: within limits")
        return self._price(account, customer)

    def _check_limits(self, account: Account) -> Reject | None:
        live = self.live
        did = self.called.did
        key = layer_key(DID, did.id)
        rates = list(account.rates)
        caps = list(account.caps)
        if did.channels is not None:
            caps.append((key, did.channels))
        if live.cps_max is not None:
            rates.append((INSTANCE_KEY, live.cps_max))
        if live.calls_max is not None:
            caps.append((INSTANCE_KEY, live.calls_max))
        if rates:
            now_s = self.facts.now_s
            empty = (
                live.buckets.first_empty(rates, now_s) if self.is_simulated else live.buckets.admit_rates(rates, now_s)
            )
            if empty is not None:
                return self._refuse(Cause.CPS_EXCEEDED, describe_key(empty))
        for limited, channels in caps:
            if live.channels(limited) >= channels:
                return self._refuse(Cause.CHANNELS_EXCEEDED, f"{describe_key(limited)}: {channels}")
        return None

    def _price(self, account: Account, customer: Customer) -> InboundPlan | Reject:
        did = self.called.did
        sell = self._quote(did.customer_card_id, "sell", customer.currency, customer.tax_ppm)
        if sell is None:
            return self._refuse(Cause.NO_SELL_RATE, f"card {did.customer_card_id} has no price for {did.number}")
        if sell.row.is_blocked:
            return self._refuse(Cause.DESTINATION_BLOCKED, f"prefix {sell.row.prefix} is blocked")
        # What a call costs us must not keep it from its customer: without a price it counts as nothing, and says so.
        buy = self._quote(did.provider_card_id, "buy", customer.currency, 0)
        if self.is_simulated:
            self.steps.append(f"sell rate: {_rate_words(did.customer_card_id, sell)}")
            words = "no price found" if buy is None else _rate_words(did.provider_card_id, buy)
            self.steps.append(f"buy rate: {words}")
        rings, explanation = self._rings(account.customer_id)
        if not rings:
            reject = self._refuse(Cause.NO_DESTINATION, f"DID {did.number} has no destination")
            reject.sell = sell
            reject.explanation = explanation
            return reject
        return InboundPlan(
            customer,
            account.client,
            account,
            self.called,
            sell,
            buy or _free(self.facts.now_ms),
            customer.currency,
            rings,
            explanation,
            [account.key, layer_key(DID, did.id), INSTANCE_KEY],
            self.steps,
        )

    def _quote(self, card_id: int | None, direction: str, currency: str, tax_ppm: int) -> Quote | None:
        """The price by a card, free without one; None where the card has none for this number."""
        now_ms = self.facts.now_ms
        if card_id is None:
            return _free(now_ms)
        card = self.tables.cards.get(card_id)
        if card is None or not card.record.enabled or card.record.direction != direction:
            return None
        if card.currency != currency:
            return None
        revision = card.revision_at(now_ms)
        if revision is None or revision.deck is None:
            return None
        row = revision.deck.lookup(self.called.did.number, now_ms)
        return None if row is None else Quote(row, card.tariff, tax_ppm, card.id, revision.revision_id, now_ms)

    def _rings(self, customer_id: int) -> tuple[list[Ring], list[Candidate]]:
        did = self.called.did
        rings: list[Ring] = []
        left_out: list[Candidate] = []
        places = self.tables.did_places.get(did.id, [])
        for index, destination in enumerate(did.destinations[:DESTINATIONS_MAX]):
            ring = self._ring(destination, customer_id, places[index] if index < len(places) else None)
            if ring is None:
                left_out.append(candidate(self.called, "disabled", _name(destination)))
            else:
                rings.append(ring)
        return rings, [candidate(self.called, NOT_REACHED, ring.name) for ring in rings] + left_out

    def _ring(self, destination: DidDestination, customer_id: int, place: Gateway | None) -> Ring | None:
        """None for what is not there, is switched off, or is another customer's."""
        kind = destination.kind
        name = _name(destination)
        tables = self.tables
        if kind == "endpoint":
            endpoint_id = destination.id or 0
            caller = tables.endpoint_callers.get(endpoint_id)
            place = tables.endpoint_places.get(endpoint_id)
            if caller is None or place is None or not caller.is_enabled or caller.customer_id != customer_id:
                return None
            return Ring(kind, name, caller, place, "")
        if kind == "sip_user":
            caller = tables.user_callers.get(destination.id or 0)
            if caller is None or not caller.is_enabled or caller.customer_id != customer_id:
                return None
            return Ring(kind, name, caller, None, "")
        if kind == "uri":
            return None if place is None else Ring(kind, name, None, place, destination.value)
        number = normalise_e164(destination.value)
        # A number of ours would come back to us, and around again.
        if number is None or number in tables.dids_by_number:
            return None
        return Ring(kind, name, None, None, number)

    def _refuse(self, cause: Cause, detail: str) -> Reject:
        if self.is_simulated:
            self.steps.append(f"refused: {cause.value} ({detail})")
        reject = Reject(cause, detail, self.steps)
        reject.did_id = self.called.did.id
        reject.dialled_out = self.called.did.number
        reject.cli_out = self.facts.cli
        account = self.account
        if account is not None and account.customer is not None:
            reject.customer = account.customer
            reject.customer_id = account.customer.id
            reject.client_id = account.customer.client_id
        return reject


def candidate(called: Called, outcome: str, name: str, detail: str = "") -> Candidate:
    """A destination in a call's explanation."""
    return Candidate(
        called.did.provider_card_id or 0,
        called.provider.id,
        outcome,
        0,
        0,
        f"{name}: {detail}" if detail else name,
    )


def _name(destination: DidDestination) -> str:
    kind = destination.kind
    if kind == "endpoint" or kind == "sip_user":
        return f"{kind} {destination.id}"
    return destination.value if kind == "uri" else f"number {destination.value}"


def _free(now_ms: int) -> Quote:
    return Quote(_FREE, _PLAIN, 0, 0, 0, now_ms)


def _rate_words(card_id: int | None, quote: Quote) -> str:
    return (
        "free, no card" if card_id is None else f"card {card_id}, prefix {quote.row.prefix} {quote.row.name}".rstrip()
    )
