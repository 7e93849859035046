"""From an INVITE's facts to a plan or a refusal, in the order of admission.

Identify, states of customer and client, call rates, channels, number, ingress route, sell rate,
destination, vendors with their buy rates, margin, order. Each step can refuse, with one cause. The
number and the route are worked out before call rates are asked, since the route's own rate is one
of them, and tokens are taken from all limits or from none.
"""

from __future__ import annotations

from rating.numbers import normalise_e164, strip_digits, strip_separators
from rating.quotes import Quote
from switch.policy.callers import Account, Caller, LoadedRoute
from switch.policy.causes import Cause
from switch.policy.live import INSTANCE_KEY, Live, describe_key
from switch.policy.options import Offer, weigh
from switch.policy.order import put_in_order
from switch.policy.states import client_state, state_cause
from switch.policy.tables import Tables
from switch.policy.vendors import choose_gateway, follows, number_for
from switch.policy.verdicts import Facts, Option, Plan, Reject, Skip
from switch.wire.sdp import codec_names, keep_codecs

__all__ = [
    "Facts",
    "Option",
    "Plan",
    "Reject",
    "Skip",
    "choose_gateway",
    "client_state",
    "decide",
    "follows",
    "number_for",
]


def decide(tables: Tables, live: Live, facts: Facts, is_simulated: bool = False) -> Plan | Reject:
    """The whole decision but the hold.

    Args:
        is_simulated: consume no token, turn no rotation, and say each step in words.
    """
    decision = _Decision(tables, live, facts, is_simulated)
    return decision.run()


class _Decision:
    """One run of `decide`: what is known so far, so that a refusal can say it."""

    def __init__(self, tables: Tables, live: Live, facts: Facts, is_simulated: bool) -> None:
        self.tables: Tables = tables
        self.live: Live = live
        self.facts: Facts = facts
        self.is_simulated: bool = is_simulated
        self.steps: list[str] = []
        self.caller: Caller | None = None
        self.route: LoadedRoute | None = None
        self.number: str = ""
        self.cli_out: str = ""
        self.decision: str = ""
        self.kbps: int = 0

    def run(self) -> Plan | Reject:
        facts = self.facts
        dialled = _bare(facts.dialled)
        caller = self._find_caller(dialled)
        if caller is None:
            return self._refuse(Cause.SOURCE_UNKNOWN, f"{facts.source_ip} over {facts.transport}")
        self.caller = caller
        account = caller.account
        customer = account.customer
        if customer is None:
            return self._refuse(Cause.SOURCE_UNKNOWN, "the customer is not there")
        if self.is_simulated:
            self._say_caller(caller)

        cause = state_cause(customer, account.client, facts.now_ms)
        if cause is not None:
            return self._refuse(cause, f"customer {customer.name}")

        self._find_route(caller, dialled)
        route = self.route
        refused = self._check_limits(caller, account, route)
        if refused is not None:
            return refused
        if self.is_simulated:
            self.steps.append("call rates and channels: within limits")

        if not self.number:
            return self._refuse(Cause.NUMBER_INVALID, f"{facts.dialled!r} after its prefix is no number we take")
        self.cli_out = caller.cli_out(facts.cli)
        if self.is_simulated:
            self.steps.append(
                f"number: {facts.dialled} becomes {self.number}; caller {facts.cli} shows as {self.cli_out}"
            )
        if route is None:
            return self._refuse(Cause.NO_INGRESS_ROUTE, f"none takes {self.number}")
        if self.is_simulated:
            self.steps.append(f"ingress route: {route.record.id} {route.record.name}".rstrip())
        if caller.permissions is not None and not caller.permissions.allow(self.number):
            return self._refuse(Cause.DESTINATION_BLOCKED, "the telephone service may not call it")
        return self._price(caller, account, route)

    def _find_caller(self, dialled: str) -> Caller | None:
        facts = self.facts
        if facts.caller is not None:
            return facts.caller
        user = facts.user
        if user is None:
            return self.tables.sources.find(facts.source_ip, facts.transport, dialled)
        caller = self.tables.user_callers.get(user.id)
        if caller is None or not caller.is_enabled:
            return None
        if caller.transport is not None and caller.transport != facts.transport:
            return None
        if caller.allowed is not None and facts.source_ip not in caller.allowed:
            return None
        return caller

    def _find_route(self, caller: Caller, dialled: str) -> None:
        """Set `number` and `route` as far as they can be.

        A route's tech prefix is looked for after the endpoint's; where both are the same it is
        already taken off. What is left has to be a number before a dial string is asked.
        """
        rest = strip_digits(dialled[len(caller.tech_prefix) :], caller.strip_digits)
        plain: str | None = None
        is_plain_known = False
        for route in self.tables.routes_by_customer.get(caller.customer_id, ()):
            prefix = route.tech_prefix
            if not prefix or prefix == caller.tech_prefix:
                if not is_plain_known:
                    plain = _number(caller, rest)
                    is_plain_known = True
                number = plain
            elif rest.startswith(prefix):
                number = _number(caller, rest[len(prefix) :])
            else:
                continue
            if number is None:
                continue
            self.number = number
            if route.dial.matches(number):
                self.route = route
                return
        if not self.number or is_plain_known:
            # A number that no route takes is shown as it would have gone without a route's prefix.
            if not is_plain_known:
                plain = _number(caller, rest)
            if plain is not None:
                self.number = plain

    def _check_limits(self, caller: Caller, account: Account, route: LoadedRoute | None) -> Reject | None:
        live = self.live
        facts = self.facts
        rates = caller.rates
        # The usual call stands under few limits, and lists are only joined where there are some.
        if account.rates:
            rates = rates + account.rates
        if route is not None and route.rates:
            rates = rates + route.rates
        if live.cps_max is not None:
            rates = [*rates, (INSTANCE_KEY, live.cps_max)]

        if rates:
            buckets = live.buckets
            if self.is_simulated:
                empty = buckets.first_empty(rates, facts.now_s)
            else:
                empty = buckets.admit_rates(rates, facts.now_s)
            if empty is not None:
                reject = self._refuse(Cause.CPS_EXCEEDED, describe_key(empty))
                if route is not None and empty == route.key and route.record.cps_buffer_s > 0:
                    wait_s = buckets.wait_s(empty, route.record.flow_speed_cps or 0.0, facts.now_s)
                    if wait_s <= route.record.cps_buffer_s:
                        reject.retry_in_s = wait_s
                        reject.patience_s = float(route.record.cps_buffer_s)
                return reject
        refused = self._check_channels(caller.caps) or self._check_channels(account.caps)
        if refused is None and route is not None:
            refused = self._check_channels(route.caps)
        if refused is not None:
            return refused
        calls_max = live.calls_max
        if calls_max is not None and live.channels(INSTANCE_KEY) >= calls_max:
            return self._refuse(Cause.CHANNELS_EXCEEDED, f"{describe_key(INSTANCE_KEY)}: {calls_max}")
        return self._check_media(caller) if caller.watches_media else None

    def _check_channels(self, caps: list[tuple[int, int]]) -> Reject | None:
        for key, channels in caps:
            if self.live.channels(key) >= channels:
                return self._refuse(Cause.CHANNELS_EXCEEDED, f"{describe_key(key)}: {channels}")
        return None

    def _check_media(self, caller: Caller) -> Reject | None:
        """Whether a codec is left that the caller may use, and what it takes."""
        codecs = caller.codecs
        offer = self.facts.offer()
        if codecs is not None and offer and not keep_codecs(offer, codecs).has_codec:
            return self._refuse(
                Cause.CODECS_REFUSED, f"{describe_key(caller.key)} may use none of {codec_names(offer)}"
            )
        if self.is_simulated and codecs is not None and offer:
            left = codec_names(keep_codecs(offer, codecs).body)
            self.steps.append(f"codecs: {left} of {codec_names(offer)}")
        limit = caller.kbps_max
        if limit is not None:
            kbps = self.kbps = self.facts.kbps_by(codecs)
            used = self.live.kbps(caller.key)
            if used + kbps > limit:
                detail = f"{describe_key(caller.key)}: {used} of {limit} kbit/s in use, {kbps} wanted"
                return self._refuse(Cause.BANDWIDTH_EXCEEDED, detail)
            if self.is_simulated:
                self.steps.append(f"bandwidth: {kbps} kbit/s of {limit}, {used} in use")
        return None

    def _price(self, caller: Caller, account: Account, route: LoadedRoute) -> Plan | Reject:
        facts = self.facts
        customer = account.customer
        assert customer is not None, "run() has refused it"
        card = self.tables.cards.get(route.rate_card_id)
        if card is None or not card.sells:
            return self._refuse(Cause.NO_SELL_RATE, f"card {route.rate_card_id} is no enabled sell card")
        if card.currency != customer.currency:
            # Without a rate of exchange one unit would be charged as one of the other.
            return self._refuse(
                Cause.NO_SELL_RATE, f"card {card.id} is in {card.currency}, the customer in {customer.currency}"
            )
        revision = card.revision_at(facts.now_ms)
        row = None if revision is None or revision.deck is None else revision.deck.lookup(self.number, facts.now_ms)
        if row is None or revision is None:
            return self._refuse(Cause.NO_SELL_RATE, f"card {card.id} {card.record.name}: {card.error or 'no row'}")
        sell = Quote(row, card.tariff, customer.tax_ppm, card.id, revision.revision_id, facts.now_ms)
        offer = Offer(route, card, sell, self.number, facts.now_ms, facts.max_duration_s)
        if self.is_simulated:
            self.steps.append(f"sell rate: card {card.record.name}, prefix {row.prefix} {row.name}".rstrip())
        if row.is_blocked:
            return self._refuse_priced(Cause.DESTINATION_BLOCKED, f"prefix {row.prefix} is blocked", offer)
        if route.capped_rate_nanos is not None and sell.rate_nanos > route.capped_rate_nanos:
            return self._refuse_priced(Cause.DESTINATION_BLOCKED, f"prefix {row.prefix} costs over the cap", offer)
        rules = account.cli_rules
        if rules is not None:
            verdict = rules.judge(self.cli_out, facts.pai() if rules.wants_pai else "", self.number)
            if verdict.cli is None:
                return self._refuse_priced(Cause.CLI_REFUSED, verdict.detail, offer)
            self.cli_out = verdict.cli
            self.decision = verdict.detail
            if self.is_simulated:
                self.steps.append(verdict.detail)

        weigh(self.tables, offer)
        if self.is_simulated:
            self.steps.append(f"vendors: {len(offer.options)} can take it, {len(offer.skipped)} skipped")
        if not offer.options:
            if offer.is_margin_short:
                return self._refuse_priced(Cause.NO_MARGIN, "every vendor left costs more than the call brings", offer)
            return self._refuse_priced(Cause.NO_VENDOR, f"card {card.id}: no vendor can take {self.number}", offer)
        put_in_order(offer, self.live, self.is_simulated)
        if self.is_simulated:
            names = ", ".join([option.provider.name for option in offer.options])
            self.steps.append(f"order by {route.strategy}: {names}")
        plan = Plan(
            customer,
            account.client,
            caller.endpoint,
            caller.user,
            route.record,
            sell,
            card,
            self.number,
            self.cli_out,
            offer.options,
            offer.explain(),
            [caller.key, account.key, route.key, INSTANCE_KEY],
            self.steps,
        )
        plan.decision = self.decision
        plan.codecs = caller.codecs
        plan.kbps_max = caller.kbps_max
        plan.kbps = self.kbps
        return plan

    def _refuse(self, cause: Cause, detail: str) -> Reject:
        if self.is_simulated:
            self.steps.append(f"refused: {cause.value} ({detail})")
        reject = Reject(cause, detail, self.steps)
        caller = self.caller
        if caller is not None and caller.account.customer is not None:
            customer = caller.account.customer
            reject.customer = customer
            reject.customer_id = customer.id
            reject.client_id = customer.client_id
            reject.endpoint_id = None if caller.endpoint is None else caller.endpoint.id
            reject.user_id = None if caller.user is None else caller.user.id
            reject.cli_out = self.cli_out or caller.cli_out(self.facts.cli)
        if self.route is not None:
            reject.route_id = self.route.id
        reject.dialled_out = self.number
        return reject

    def _refuse_priced(self, cause: Cause, detail: str, offer: Offer) -> Reject:
        reject = self._refuse(cause, detail)
        reject.sell = offer.sell
        reject.sell_card = offer.sell_card
        reject.explanation = offer.explain()
        return reject

    def _say_caller(self, caller: Caller) -> None:
        customer = caller.account.customer
        assert customer is not None, "said only of callers with one"
        if caller.endpoint is not None:
            how = f"endpoint {caller.record_id} ({caller.endpoint.host}"
            how += f", tech prefix {caller.tech_prefix})" if caller.tech_prefix else ")"
        else:
            how = f"user {caller.user.username}" if caller.user is not None else ""
        self.steps.append(f"caller: customer {customer.name} by {how}")


def _bare(dialled: str) -> str:
    """What was dialled without `tel:`, parameters and visual separators (RFC 3966 §5.1.1)."""
    return dialled if dialled.isdigit() else strip_separators(dialled)


def _number(caller: Caller, text: str) -> str | None:
    """The number in E.164 digits, or as dialled where the caller's own pattern takes such numbers.

    A pattern may describe the spelling (`00Z.`) or the number itself (`44X.`).
    """
    number = normalise_e164(text)
    pattern = caller.pattern
    if pattern is None:
        return number
    if pattern.matches(text) or (number is not None and pattern.matches(number)):
        return number or text.removeprefix("+") or None
    return None
