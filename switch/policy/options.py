"""Vendor cards tied to a sell card: which of them can take a call, and what each would earn.

Every card that is looked at leaves a `Candidate`: taken into the options, or skipped with why.
Profit modes: `off` sells at any loss; `rate` compares the price of a minute; `worst_case` the
charges over every billable length up to the call's limit; `expected` their mean over the lengths
that the route's calls had of late, and is `worst_case` while a route has too few of them.

What is skipped here is tried by no attempt: a call that hunts goes through `options` alone.
"""

from __future__ import annotations

from typing import Final

from rating.quotes import Quote
from switch.policy.callers import LoadedRoute
from switch.policy.cards import LoadedCard
from switch.policy.tables import Tables
from switch.policy.verdicts import Option
from switch.records import Candidate

NOT_REACHED: Final = "not_reached"
MARGIN_NANOS_MAX: Final = 10**18
"""Margins are written down up to this, above or below zero: of calls of hours at a price that somebody
mistyped they would not fit into a record."""


class Offer:
    """A call that has a sell price, and what vendors say to it.

    Args:
        limit_s: longest call, where the route sets no shorter one.
    """

    def __init__(
        self,
        route: LoadedRoute,
        sell_card: LoadedCard,
        sell: Quote,
        number: str,
        now_ms: int,
        limit_s: int,
    ) -> None:
        self.route: LoadedRoute = route
        self.sell_card: LoadedCard = sell_card
        self.sell: Quote = sell
        self.number: str = number
        self.now_ms: int = now_ms
        route_limit_s = route.max_duration_s
        self.max_s: int = limit_s if route_limit_s is None else min(limit_s, route_limit_s)
        self.options: list[Option] = []
        self.skipped: list[Candidate] = []
        self.is_margin_short: bool = False
        """Some vendor was skipped for its margin alone."""

    def skip(
        self, card_id: int, provider_id: int, outcome: str, rate_nanos: int, margin_nanos: int, detail: str
    ) -> None:
        self.skipped.append(Candidate(card_id, provider_id, outcome, rate_nanos, margin_nanos, detail))

    def explain(self) -> list[Candidate]:
        """Options in their order as not reached yet, then those that were skipped."""
        taken = [
            Candidate(option.card.id, option.card.provider_id, NOT_REACHED, option.rate_nanos, option.margin_nanos)
            for option in self.options
        ]
        return taken + self.skipped if self.skipped else taken


def weigh(tables: Tables, offer: Offer) -> None:
    """Fill an offer's options and skipped candidates, in the order of the sell card's list."""
    for card_id in offer.sell_card.vendor_card_ids:
        card = tables.cards.get(card_id)
        if card is None:
            offer.skip(card_id, 0, "disabled", 0, 0, "no such card")
        else:
            _weigh_card(tables, offer, card)


def _weigh_card(tables: Tables, offer: Offer, card: LoadedCard) -> None:
    route = offer.route
    provider = card.provider
    provider_id = card.provider_id
    if provider is None or not card.buys or not provider.enabled:
        offer.skip(card.id, provider_id, "disabled", 0, 0, "")
        return
    if route.locked and card.id not in route.locked:
        offer.skip(card.id, provider_id, "locked_out", 0, 0, "")
        return
    if card.id in route.excluded:
        offer.skip(card.id, provider_id, "excluded", 0, 0, "")
        return
    if card.currency != offer.sell_card.currency:
        offer.skip(card.id, provider_id, "currency", 0, 0, f"{card.currency}, sold in another")
        return
    revision = card.revision_at(offer.now_ms)
    row = None if revision is None or revision.deck is None else revision.deck.lookup(offer.number, offer.now_ms)
    if row is None or revision is None:
        offer.skip(card.id, provider_id, "no_rate", 0, 0, card.error)
        return
    quote = Quote(row, card.tariff, 0, card.id, revision.revision_id, offer.now_ms)
    rate_nanos = quote.rate_nanos
    margin_nanos = offer.sell.rate_nanos - rate_nanos
    if row.is_blocked:
        offer.skip(card.id, provider_id, "blocked", rate_nanos, margin_nanos, f"prefix {row.prefix}")
        return
    if route.vendor_capped_rate_nanos is not None and rate_nanos > route.vendor_capped_rate_nanos:
        offer.skip(card.id, provider_id, "capped", rate_nanos, margin_nanos, "")
        return
    if route.blocks_connect_fee and row.connect_fee_nanos > 0:
        offer.skip(card.id, provider_id, "connect_fee", rate_nanos, margin_nanos, "")
        return
    mode = route.profit_mode
    if mode != "off":
        at_s = 60
        is_mean = mode == "expected" and len(route.durations) > 0
        if is_mean:
            margin_nanos = tables.margins.expected(offer.sell, quote, route.durations, offer.max_s)
        elif mode != "rate":
            margin_nanos, at_s = tables.margins.worst(offer.sell, quote, offer.max_s)
        margin_nanos = max(-MARGIN_NANOS_MAX, min(margin_nanos, MARGIN_NANOS_MAX))
        if margin_nanos < 0:
            offer.is_margin_short = True
            detail = "mean of the route's calls" if is_mean else f"at {at_s} s"
            offer.skip(card.id, provider_id, "margin", rate_nanos, margin_nanos, detail)
            return
    offer.options.append(Option(card, provider, quote, rate_nanos, margin_nanos))
