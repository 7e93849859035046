"""What a stored call costs under another rule, by the very code that priced it when it ended.

A CDR names its card, revision and prefix, and not the tax, the card's roundings and its limits,
which may have been changed since. They are read from the audit trail and are believed only if they
bring the CDR's own charge back to the nano-unit; a call that cannot be brought back is not priced
anew, and says so, since a guess is no ground to move money on.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final, Literal, NamedTuple

import msgspec
from sqlalchemy import select
from sqlalchemy.engine import RowMapping

from control.services.records import rate_card_record
from control.services.row_history import Versions, read_versions
from control.store import tables
from control.store.engine import Tx
from rating.decks import Deck
from rating.money import PPM, STEPS, parse_amount, percent_to_ppm
from rating.quotes import Charge, Quote, Tariff, price
from rating.rows import RateRow
from switch.policy.cards import tariff_of
from switch.policy.causes import Cause
from switch.records import Attempt

TIMER_CAUSES: Final = frozenset(
    str(cause)
    for cause in (
        Cause.MAX_DURATION,
        Cause.CREDIT_EXHAUSTED,
        Cause.LOST_IN_RESTART,
        Cause.SESSION_EXPIRED,
        Cause.KEEPALIVE_FAILED,
        Cause.NO_ACK,
    )
)
"""Ends that no peer asked for: how long such calls were really talked on, nobody said."""

DECKS_MAX: Final = 64
"""Decks that are open at a time; a long run over many revisions opens some again."""

_attempts: Final = msgspec.json.Decoder(list[Attempt])


class Price(msgspec.Struct, frozen=True, array_like=True):
    """One side of a call, priced. Of the buy side net and gross are what the vendor is paid."""

    duration_ms: int
    billed_s: int
    net_nanos: int
    tax_nanos: int
    gross_nanos: int
    card_id: int | None
    revision_id: int | None
    prefix: str
    rate_nanos: int

    def is_same_money(self, other: Price) -> bool:
        return (self.net_nanos, self.tax_nanos) == (other.net_nanos, other.tax_nanos)


class PricingRule(msgspec.Struct, frozen=True, kw_only=True):
    """How calls are priced anew. Without a cap or a card the CDR's own counts."""

    cap_ms: int | None = None
    """Calls that a timer ended count as this long at most …"""
    caps_all: bool = False
    """… or whatever ended them."""
    card_id: int | None = None
    revision_id: int | None = None
    """None: the one that the card had in force when the call came in."""


class CannotPrice(Exception):
    """`str()` is the problem in one word, as lines show it."""


def own_price(cdr: RowMapping, side: Literal["sell", "buy"]) -> tuple[Price, int | None] | None:
    """What the CDR itself says of a side, and which vendor is paid; None where no vendor has answered."""
    if side == "sell":
        names = ("net_nanos", "tax_nanos", "gross_nanos", "card_id", "revision_id", "prefix", "rate_nanos")
        return Price(cdr["duration_ms"], cdr["billed_s"], *(cdr[name] for name in names)), None
    for attempt in reversed(_attempts.decode(cdr["attempts"])):
        if attempt.answered_ms is not None:
            paid = Price(
                cdr["duration_ms"],
                attempt.billed_s,
                attempt.cost_nanos,
                0,
                attempt.cost_nanos,
                attempt.card_id,
                attempt.revision_id,
                attempt.prefix,
                attempt.rate_nanos,
            )
            return paid, attempt.provider_id
    return None


class _Card(NamedTuple):
    currency: str
    provider_id: int | None
    tariff: Tariff
    activations: list[tuple[int, int]]
    """(active_from_ms, revision_id), in the order in which they count."""


class Repricer:
    """Prices calls by a rule; keeps the decks and the history that it has read."""

    def __init__(self, data_folder: Path, rule: PricingRule) -> None:
        self._folder = data_folder
        self._rule = rule
        self._decks: dict[int, Deck | None] = {}
        self._cards: dict[int, _Card] = {}
        self._tariffs: dict[int, Versions] = {}
        self._taxes: dict[int, tuple[Versions, int]] = {}

    async def price(self, tx: Tx, cdr: RowMapping, own: Price, *, is_sell: bool) -> Price:
        """This side of an answered call, by the rule.

        Args:
            own: what its CDR says.

        Raises:
            CannotPrice: why not.
        """
        rule = self._rule
        duration_ms = own.duration_ms
        if rule.cap_ms is not None and (rule.caps_all or cdr["cause"] in TIMER_CAUSES):
            duration_ms = min(duration_ms, rule.cap_ms)
        if duration_ms == own.duration_ms and rule.card_id is None:
            return own
        found = await self._own_quote(tx, cdr, own, is_sell=is_sell)
        if rule.card_id is None:
            if found is None:
                raise CannotPrice("not_reproduced")
            quote = found
        else:
            tax_ppm = 0
            if is_sell:
                tax_ppm = found.tax_ppm if found is not None else await self._likely_tax(tx, cdr, own)
            quote = await self._rule_quote(tx, cdr, tax_ppm)
        charge = price(quote, duration_ms, cdr["answered_ms"])
        row = quote.row
        return Price(
            duration_ms,
            charge.billed_s,
            charge.net_nanos,
            charge.tax_nanos,
            charge.gross_nanos,
            quote.card_id,
            quote.revision_id,
            row.prefix,
            quote.rate_nanos,
        )

    async def provider_of(self, tx: Tx, card_id: int) -> int | None:
        """Whose prices a buy card has."""
        return (await self._card(tx, card_id)).provider_id

    async def _own_quote(self, tx: Tx, cdr: RowMapping, own: Price, *, is_sell: bool) -> Quote | None:
        """The price as the call had it, proven by its charge; None where nothing brings that back."""
        if own.card_id is None or own.revision_id is None:
            return None
        row = await self._row(tx, own.revision_id, cdr)
        if row is None or row.prefix != own.prefix:
            return None
        at_ms = cdr["invited_ms"]
        taxes = await self._tax_candidates(tx, cdr["customer_id"], at_ms) if is_sell else [0]
        for tariff in await self._tariff_candidates(tx, own.card_id, at_ms):
            for tax_ppm in taxes:
                quote = Quote(row, tariff, tax_ppm, own.card_id, own.revision_id, at_ms)
                if _brings_back(price(quote, own.duration_ms, cdr["answered_ms"]), own):
                    return quote
        return None

    async def _rule_quote(self, tx: Tx, cdr: RowMapping, tax_ppm: int) -> Quote:
        """The price by the rule's card, as it is now, and the rows that were valid at the INVITE."""
        card_id = self._rule.card_id
        assert card_id is not None, "asked of rules with a card only"
        card = await self._card(tx, card_id)
        if card.currency != cdr["currency"]:
            raise CannotPrice("currency")
        at_ms = cdr["invited_ms"]
        revision_id = self._rule.revision_id
        if revision_id is None:
            begun = [each for from_ms, each in card.activations if from_ms <= at_ms]
            if not begun:
                raise CannotPrice("no_revision")
            revision_id = begun[-1]
        if await self._deck(tx, revision_id) is None:
            raise CannotPrice("deck_missing")
        row = await self._row(tx, revision_id, cdr)
        if row is None:
            raise CannotPrice("no_rate")
        if row.is_blocked:
            raise CannotPrice("blocked")
        return Quote(row, card.tariff, tax_ppm, card_id, revision_id, at_ms)

    async def _likely_tax(self, tx: Tx, cdr: RowMapping, own: Price) -> int:
        """The customer's tax at the INVITE, where the CDR's tax is that share of its net but for a rounding."""
        step_nanos = STEPS[4]
        if own.card_id is not None:
            step_nanos = max(each.step_nanos for each in await self._tariff_candidates(tx, own.card_id, 0))
        for tax_ppm in await self._tax_candidates(tx, cdr["customer_id"], cdr["invited_ms"]):
            if abs(own.net_nanos * tax_ppm - own.tax_nanos * PPM) < step_nanos * PPM:
                return tax_ppm
        raise CannotPrice("tax_unknown")

    async def _row(self, tx: Tx, revision_id: int, cdr: RowMapping) -> RateRow | None:
        deck = await self._deck(tx, revision_id)
        return None if deck is None else deck.lookup(cdr["dialled_out"], cdr["invited_ms"])

    async def _deck(self, tx: Tx, revision_id: int) -> Deck | None:
        if revision_id not in self._decks:
            if len(self._decks) >= DECKS_MAX:
                self._decks.clear()
            path = select(tables.revisions.c.path).where(tables.revisions.c.id == revision_id)
            found = (await tx.execute(path)).scalar_one_or_none()
            deck = None
            if found is not None:
                try:
                    deck = Deck.open(self._folder / found)
                except (OSError, ValueError, RuntimeError):
                    deck = None
            self._decks[revision_id] = deck
        return self._decks[revision_id]

    async def _card(self, tx: Tx, card_id: int) -> _Card:
        """A card, archived or not, as it is now; of what came into force, what was taken back is left out."""
        if card_id not in self._cards:
            cards, activations = tables.rate_cards, tables.activations
            row = (await tx.execute(select(cards).where(cards.c.id == card_id))).mappings().one()
            query = (
                select(activations.c.active_from_ms, activations.c.revision_id)
                .where(activations.c.card_id == card_id, activations.c.cancelled_ms.is_(None))
                .order_by(activations.c.active_from_ms, activations.c.id)
            )
            begun = [(from_ms, revision_id) for from_ms, revision_id in await tx.execute(query)]
            self._cards[card_id] = _Card(
                row["currency"], row["provider_id"], tariff_of(rate_card_record(row, ())), begun
            )
        return self._cards[card_id]

    async def _tariff_candidates(self, tx: Tx, card_id: int, at_ms: int) -> list[Tariff]:
        """Roundings and limits of a card: at a time, near it, and as they are now."""
        if card_id not in self._tariffs:
            self._tariffs[card_id] = await read_versions(tx, "rate_card", card_id, "decimals")
        return [*map(_tariff, self._tariffs[card_id].at(at_ms)), (await self._card(tx, card_id)).tariff]

    async def _tax_candidates(self, tx: Tx, customer_id: int, at_ms: int) -> list[int]:
        if customer_id not in self._taxes:
            customers = tables.customers
            query = select(customers.c.tax_ppm).where(customers.c.id == customer_id)
            now = (await tx.execute(query)).scalar_one_or_none() or 0
            self._taxes[customer_id] = (await read_versions(tx, "customer", customer_id, "tax_percent"), now)
        versions, now = self._taxes[customer_id]
        return list(dict.fromkeys([*(percent_to_ppm(each["tax_percent"]) for each in versions.at(at_ms)), now]))


def _brings_back(charge: Charge, own: Price) -> bool:
    return (charge.billed_s, charge.net_nanos, charge.tax_nanos) == (own.billed_s, own.net_nanos, own.tax_nanos)


def _tariff(version: dict[str, Any]) -> Tariff:
    max_cost = version["max_cost"]
    return Tariff(
        decimals=version["decimals"],
        rounding=version["rounding"],
        duration_rounding=version["duration_rounding"],
        grace_s=version["grace_s"],
        minimum_s=version["minimum_s"],
        max_cost_nanos=None if max_cost is None else parse_amount(max_cost),
        time_zone=version["time_zone"],
    )
