"""Destinations at which one price list loses money to another: found in one walk along both decks.

Two cards divide the numbers differently, so what is compared are the prefixes of either deck, each
with the row that prices it on either side. A deck of a million rows is walked, never loaded; prices
that were compared once are not compared again, and only the largest losses are kept.

Rows with time-of-week windows are compared at each hour of the week at which either rate changes.
"""

from __future__ import annotations

import heapq
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec

from control.services.deck_diff import pairs
from control.services.fields import ms_moment
from control.services.loss_report import LengthRange, Loss, Losses, RouteMargin
from rating.decks import Deck
from rating.margin import expected_margin, losing_durations, worst_margin
from rating.money import format_amount
from rating.quotes import Quote, Tariff
from rating.rows import WEEK_MINUTES, RateRow
from switch.policy.cards import tariff_of
from switch.snapshot import RateCard

DATES_MAX: Final = 20
"""Later dates that are named."""
RANGES_MAX: Final = 20
"""Ranges of lengths that are listed of one destination; the lengths in all are counted."""
KNOWN_MAX: Final = 65_536
COMPARED_MAX: Final = 3_000_000
"""Destinations after which no further pair of cards is begun: about a minute, and someone waits for the answer."""
NICENESS: Final = 10

_MINUTE_MS: Final = 60_000

Known = dict[tuple[object, ...], tuple[int, int, int]]
"""Worst margin, its length and when, by what both sides charge."""


class Side(msgspec.Struct, frozen=True, kw_only=True):
    """One revision of a card; `path` is where its deck lies."""

    card: RateCard
    revision_id: int
    path: str


class RouteLengths(msgspec.Struct, frozen=True, kw_only=True):
    """A route that sells by the card, and how long its calls are."""

    route_id: int
    name: str
    durations: tuple[tuple[int, int], ...]
    max_duration_s: int | None


class Pair(msgspec.Struct, frozen=True, kw_only=True):
    """What would be sold and bought; `…_before` is what is in force instead where the side is proposed."""

    sell: Side
    buy: Side
    sell_before: Side | None
    buy_before: Side | None
    routes: tuple[RouteLengths, ...]


class _Found:
    """A loss that is kept while the walk goes on."""

    def __init__(self, pair: Pair, prefix: str, sell: Quote, buy: Quote, worst: tuple[int, int], was: int | None):
        self.pair = pair
        self.prefix = prefix
        self.sell = sell
        self.buy = buy
        self.worst = worst
        self.was = was


def find_losses(
    of_pairs: tuple[Pair, ...], at_ms: int, max_s: int, limit: int, only_new: bool = False, niceness: int = 0
) -> Losses:
    """Compare each pair of decks.

    Args:
        at_ms: rows in force then are compared.
        max_s: the longest call.
        limit: losses that are listed; all are counted.
        niceness: added to this process's own, where it has one to itself.
    Raises:
        DeckError, OSError: a deck is missing or damaged.
    """
    if niceness:
        os.nice(niceness)
    compared = losing = newly_losing = listed = number = 0
    largest: list[tuple[int, int, _Found]] = []
    not_compared: list[str] = []
    dates: set[int] = set()
    for pair in of_pairs:
        if compared >= COMPARED_MAX:
            not_compared.append(f"{pair.sell.card.name} / {pair.buy.card.name}")
            continue
        walk = _Walk(pair, at_ms, max_s)
        for prefix, sell_row, buy_row in priced_pairs(walk.sell, walk.buy, at_ms, dates):
            compared += 1
            worst_nanos, worst_at_s, when_ms = walk.worst(sell_row, buy_row)
            if worst_nanos >= 0:
                continue
            was = walk.worst_before(prefix, sell_row, buy_row)
            is_new = was is None or was >= 0
            losing += 1
            newly_losing += is_new
            if only_new and not is_new:
                continue
            listed += 1
            # The running number keeps what is found from comparison, and earlier prefixes before later ones.
            number -= 1
            if len(largest) < limit or (largest and -worst_nanos > largest[0][0]):
                found = _Found(
                    pair,
                    prefix,
                    walk.sell_quote(sell_row, when_ms),
                    walk.buy_quote(buy_row, when_ms),
                    (worst_nanos, worst_at_s),
                    was,
                )
                push = heapq.heappush if len(largest) < limit else heapq.heapreplace
                push(largest, (-worst_nanos, number, found))
    ranges: dict[tuple[object, ...], list[tuple[int, int]]] = {}
    items = [_loss(found, max_s, ranges) for _, _, found in sorted(largest, reverse=True)]
    return Losses(
        compared=compared,
        losing=losing,
        newly_losing=newly_losing,
        items=items,
        more=listed - len(items),
        prices_change=[ms_moment(each) for each in sorted(dates)],
        not_compared=not_compared,
    )


def priced_pairs(
    sell: Deck, buy: Deck, at_ms: int, dates: set[int] | None = None
) -> Iterator[tuple[str, RateRow, RateRow]]:
    """Every prefix of either deck with the row that prices its numbers on each side, where both have one.

    Args:
        dates: takes the times after `at_ms` at which rows begin or end.
    """
    later: set[int] = set() if dates is None else dates
    sells: list[RateRow] = []
    buys: list[RateRow] = []
    for sell_rows, buy_rows in pairs(sell.prefix_rows(), buy.prefix_rows()):
        prefix = (sell_rows or buy_rows)[0].prefix
        is_sell_new = _step(sells, prefix, sell_rows, at_ms, later)
        is_buy_new = _step(buys, prefix, buy_rows, at_ms, later)
        if (is_sell_new or is_buy_new) and sells and buys:
            yield prefix, sells[-1], buys[-1]


def _step(stack: list[RateRow], prefix: str, rows: tuple[RateRow, ...], at_ms: int, later: set[int]) -> bool:
    """Keep the rows whose prefixes `prefix` begins with, its own on top; whether it has one in force."""
    while stack and not prefix.startswith(stack[-1].prefix):
        stack.pop()
    in_force: RateRow | None = None
    for row in rows:
        if in_force is None and row.is_valid_at(at_ms):
            in_force = row
        # A deck may give every row a date of its own: only the next ones are of use.
        for date_ms in (row.valid_from_ms, row.valid_to_ms):
            if date_ms > at_ms and (len(later) < DATES_MAX or date_ms in later or date_ms < max(later)):
                later.add(date_ms)
                if len(later) > DATES_MAX:
                    later.discard(max(later))
    if in_force is not None:
        stack.append(in_force)
    return in_force is not None


class _Walk:
    """One pair of cards with its decks open, and what it has compared already."""

    def __init__(self, pair: Pair, at_ms: int, max_s: int) -> None:
        self.pair = pair
        self.sell = Deck.open(Path(pair.sell.path))
        self.buy = Deck.open(Path(pair.buy.path))
        self._sell_before = None if pair.sell_before is None else Deck.open(Path(pair.sell_before.path))
        self._buy_before = None if pair.buy_before is None else Deck.open(Path(pair.buy_before.path))
        self._sell_tariff = tariff_of(pair.sell.card)
        self._buy_tariff = tariff_of(pair.buy.card)
        self._at_ms = at_ms
        self._max_s = max_s
        self._known: Known = {}

    def sell_quote(self, row: RateRow, at_ms: int) -> Quote:
        return Quote(row, self._sell_tariff, 0, self.pair.sell.card.id, self.pair.sell.revision_id, at_ms)

    def buy_quote(self, row: RateRow, at_ms: int) -> Quote:
        return Quote(row, self._buy_tariff, 0, self.pair.buy.card.id, self.pair.buy.revision_id, at_ms)

    def worst(self, sell_row: RateRow, buy_row: RateRow) -> tuple[int, int, int]:
        """The worst margin, its length, and when; of a blocked destination none, for nothing is sold there."""
        if sell_row.is_blocked or buy_row.is_blocked:
            return 0, 1, self._at_ms
        key = (*_charges(sell_row), *_charges(buy_row))
        known = self._known.get(key)
        if known is None:
            if len(self._known) >= KNOWN_MAX:
                self._known.clear()
            known = self._known[key] = min(
                (*worst_margin(self.sell_quote(sell_row, when), self.buy_quote(buy_row, when), self._max_s), when)
                for when in instants(self._at_ms, (sell_row, self._sell_tariff), (buy_row, self._buy_tariff))
            )
        return known

    def worst_before(self, prefix: str, sell_row: RateRow, buy_row: RateRow) -> int | None:
        """The worst margin by what is in force; None where one side has no price or lets nothing through."""
        if self._sell_before is None and self._buy_before is None:
            return None
        was_sold: RateRow | None = sell_row
        was_bought: RateRow | None = buy_row
        if self._sell_before is not None:
            was_sold = self._sell_before.lookup(prefix, self._at_ms)
        if self._buy_before is not None:
            was_bought = self._buy_before.lookup(prefix, self._at_ms)
        if was_sold is None or was_bought is None or was_sold.is_blocked or was_bought.is_blocked:
            return None
        return self.worst(was_sold, was_bought)[0]


def instants(at_ms: int, *sides: tuple[RateRow, Tariff]) -> list[int]:
    """`at_ms`, and the times of the week after it at which a rate of these rows changes."""
    found = {at_ms}
    for row, tariff in sides:
        if row.windows:
            start_ms = at_ms - at_ms % _MINUTE_MS
            minute = tariff.week_minute(start_ms)
            for start, end, _ in row.windows:
                for change in (start, end):
                    found.add(start_ms + (change - minute) % WEEK_MINUTES * _MINUTE_MS)
    return sorted(each for each in found if each >= at_ms)


def _charges(row: RateRow) -> tuple[object, ...]:
    """All of a row that its charge depends on."""
    _, _, rate, first, step, fee, _, _, _, *rest = row.facts()
    return rate, first, step, fee, *rest


def _loss(found: _Found, max_s: int, ranges: dict[tuple[object, ...], list[tuple[int, int]]]) -> Loss:
    sell, buy, pair = found.sell, found.buy, found.pair
    worst_nanos, worst_at_s = found.worst
    key = (sell.card_id, buy.card_id, sell.rate_nanos, buy.rate_nanos, *_charges(sell.row), *_charges(buy.row))
    losing = ranges.get(key)
    if losing is None:
        losing = ranges[key] = losing_durations(sell, buy, max_s)
    return Loss(
        prefix=found.prefix,
        destination=sell.row.name or buy.row.name,
        currency=pair.sell.card.currency,
        sell_card_id=pair.sell.card.id,
        sell_card=pair.sell.card.name,
        sell_revision_id=pair.sell.revision_id,
        sell_prefix=sell.row.prefix,
        sell_rate=format_amount(sell.rate_nanos),
        buy_card_id=pair.buy.card.id,
        buy_card=pair.buy.card.name,
        buy_revision_id=pair.buy.revision_id,
        buy_prefix=buy.row.prefix,
        buy_rate=format_amount(buy.rate_nanos),
        worst_margin=format_amount(worst_nanos),
        worst_at_s=worst_at_s,
        was_worst_margin=None if found.was is None else format_amount(found.was),
        is_new=found.was is None or found.was >= 0,
        at=ms_moment(sell.at_ms),
        losing=[LengthRange(start, end) for start, end in losing[:RANGES_MAX]],
        losing_lengths=sum(end - start + 1 for start, end in losing),
        expected=route_margins(pair.routes, sell, buy, max_s),
    )


def route_margins(routes: tuple[RouteLengths, ...], sell: Quote, buy: Quote, max_s: int) -> list[RouteMargin]:
    """What each route with a distribution would earn a call, the least first."""
    found: list[tuple[int, RouteMargin]] = []
    for route in routes:
        if route.durations:
            limit_s = max_s if route.max_duration_s is None else min(max_s, route.max_duration_s)
            margin_nanos = expected_margin(sell, buy, route.durations, limit_s)
            shown = RouteMargin(
                route_id=route.route_id,
                name=route.name,
                calls=sum(calls for _, calls in route.durations),
                margin=format_amount(margin_nanos),
            )
            found.append((margin_nanos, shown))
    return [shown for _, shown in sorted(found, key=lambda each: (each[0], each[1].route_id))]
