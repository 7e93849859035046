"""What a sell card earns over a buy card: for one destination in full, for whole price lists where it loses.

A card is compared with the cards that it is tied to: a sell card with the buy cards that its calls
may leave through, a buy card with the sell cards that name it. Which of them a call takes, and
whether its route lets it lose, is the route's business; here is what would be lost.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Final

import msgspec
from msgspec import Meta
from sqlalchemy import select
from sqlalchemy.engine import RowMapping

from control.own_process import own_process
from control.services.context import Context
from control.services.errors import Conflict, NotFound, invalid
from control.services.fields import Id, Moment, moment_ms, ms_moment
from control.services.loss_report import LengthRange, Losses, RouteMargin
from control.services.losses import (
    NICENESS,
    RANGES_MAX,
    Pair,
    RouteLengths,
    Side,
    find_losses,
    route_margins,
)
from control.services.pricing import PricedSide, priced_fields
from control.services.rate_cards import RATE_CARDS
from control.services.records import rate_card_record
from control.services.revision_history import revisions_between
from control.store import tables
from control.store.engine import Tx
from rating.decks import Deck, DeckError
from rating.margin import losing_durations, worst_margin
from rating.money import format_amount
from rating.quotes import Quote
from rating.rows import RateRow
from switch.policy.cards import tariff_of
from switch.policy.verdicts import MAX_DURATION_S
from switch.snapshot import RateCard

OWN_PROCESS_ROWS: Final = 20_000
"""More rows than this are compared in a process of their own: a thread would hold up the API meanwhile."""
LARGE_MAX: Final = 2
"""Such processes at a time: each takes a processor for up to a minute."""
_large: Final[set[object]] = set()
"""One thing for each that runs."""

Seconds = Annotated[int, Meta(ge=1, le=604_800)]
Prefix = Annotated[str, Meta(min_length=1, max_length=20, pattern=r"^[0-9]+$(?!\n)")]


class MarginQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    sell_card: Id
    """What the customer is charged by …"""
    buy_card: Id
    """… and what the vendor charges by."""
    prefix: Prefix
    """A prefix or a whole number."""
    sell_revision: Id | None = None
    """Left out, here and below: the one in force at that time."""
    buy_revision: Id | None = None
    """Left out: the one in force at that time."""
    at: Moment | None = None
    """When the call comes in; left out: now."""
    max_duration_s: Seconds = MAX_DURATION_S
    """The longest call that is looked at."""


class LossQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    at: Moment | None = None
    """Whose prices count of all other cards, and of rows with dates; left out: now."""
    max_duration_s: Seconds = MAX_DURATION_S
    """The longest call that is looked at."""
    with_card: Id | None = None
    """Only this card on the other side; left out: all that the card is tied to."""
    only_new: bool = False
    """Leave out destinations that lose by what is in force already."""
    limit: Annotated[int, Meta(ge=1, le=1_000)] = 100


class PairMargin(msgspec.Struct, frozen=True, kw_only=True):
    """What calls to a destination earn, sold by one card and bought by another; tax is nobody's margin."""

    currency: str
    at: Moment
    max_duration_s: int
    sell: PricedSide
    buy: PricedSide
    worst_margin: str
    worst_at_s: int
    """A length that has it, in seconds rounded up."""
    losing: list[LengthRange]
    """The first of them …"""
    losing_ranges: int
    """… and how many there are."""
    losing_lengths: int
    """Seconds in all of them."""
    expected: list[RouteMargin]
    """Of the routes that sell by the card and have calls enough to know."""


async def pair_margin(ctx: Context, query: MarginQuery) -> PairMargin:
    """One destination, sold by one card and bought by another.

    Raises:
        NotFound: no such card or revision.
        Invalid: a card of the other direction or currency, or no row for the prefix.
        Conflict: a card without a revision at that time, or a deck that cannot be read.
    """
    at_ms = ctx.now_ms() if query.at is None else moment_ms("at", query.at)
    async with ctx.store.read() as tx:
        sell_card = await _card(tx, "sell_card", query.sell_card, "sell")
        buy_card = await _card(tx, "buy_card", query.buy_card, "buy")
        if sell_card.currency != buy_card.currency:
            raise invalid("buy_card", f"priced in {buy_card.currency}, the sell card in {sell_card.currency}")
        sell_side = await _side(ctx, tx, sell_card, query.sell_revision, at_ms)
        buy_side = await _side(ctx, tx, buy_card, query.buy_revision, at_ms)
        routes = await _routes(tx, sell_card.id, buy_card.id)
    sell, buy = _quote(sell_side, query.prefix, at_ms), _quote(buy_side, query.prefix, at_ms)
    worst_nanos, worst_at_s = worst_margin(sell, buy, query.max_duration_s)
    losing = await asyncio.to_thread(losing_durations, sell, buy, query.max_duration_s)
    return PairMargin(
        currency=sell_card.currency,
        at=ms_moment(at_ms),
        max_duration_s=query.max_duration_s,
        sell=PricedSide(**priced_fields(sell, sell_side.card.name)),
        buy=PricedSide(**priced_fields(buy, buy_side.card.name)),
        worst_margin=format_amount(worst_nanos),
        worst_at_s=worst_at_s,
        losing=[LengthRange(start, end) for start, end in losing[:RANGES_MAX]],
        losing_ranges=len(losing),
        losing_lengths=sum(end - start + 1 for start, end in losing),
        expected=route_margins(routes, sell, buy, query.max_duration_s),
    )


async def losses(ctx: Context, card_id: int, revision_id: int, query: LossQuery) -> Losses:
    """Where a revision would lose money with the cards that it is tied to, were it in force."""
    at_ms = ctx.now_ms() if query.at is None else moment_ms("at", query.at)
    async with ctx.store.read() as tx:
        card = await _card(tx, "card_id", card_id)
        side = await _side(ctx, tx, card, revision_id, at_ms)
        tied = await tied_pairs(ctx, tx, side, at_ms)
    if query.with_card is not None:
        tied = tuple(pair for pair in tied if query.with_card in (pair.sell.card.id, pair.buy.card.id))
    return await compare(tied, at_ms, query)


async def losses_of_deck(ctx: Context, card_id: int, path: str, at: Moment | None = None) -> Losses:
    """The same of a deck that no revision has yet; `path` is where it was compiled to."""
    at_ms = ctx.now_ms() if at is None else moment_ms("losses_at", at)
    async with ctx.store.read() as tx:
        card = await _card(tx, "card_id", card_id)
        tied = await tied_pairs(ctx, tx, Side(card=card, revision_id=0, path=path), at_ms)
    return await compare(tied, at_ms, LossQuery())


async def compare(tied: tuple[Pair, ...], at_ms: int, query: LossQuery) -> Losses:
    """Walk through the decks beside the event loop.

    Raises:
        Conflict: one of them cannot be read, or too many large ones are being compared already.
    """
    try:
        if await asyncio.to_thread(_count_rows, tied) <= OWN_PROCESS_ROWS:
            return await asyncio.to_thread(_find, tied, at_ms, query, 0)
        return await _in_own_process(tied, at_ms, query)
    except (DeckError, OSError) as error:
        raise Conflict(f"A deck cannot be read: {error}.") from error


async def _in_own_process(tied: tuple[Pair, ...], at_ms: int, query: LossQuery) -> Losses:
    if len(_large) >= LARGE_MAX:
        raise Conflict(f"{LARGE_MAX} large price lists are being compared; ask again when one is done.")
    ours = object()
    _large.add(ours)
    pool = own_process()
    try:
        return await asyncio.get_running_loop().run_in_executor(pool, _find, tied, at_ms, query, NICENESS)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        _large.discard(ours)


def _find(tied: tuple[Pair, ...], at_ms: int, query: LossQuery, niceness: int) -> Losses:
    return find_losses(tied, at_ms, query.max_duration_s, query.limit, query.only_new, niceness)


async def tied_pairs(ctx: Context, tx: Tx, proposed: Side, at_ms: int) -> tuple[Pair, ...]:
    """A proposed revision with every enabled card that calls could be bought or sold by beside it.

    Cards without a revision at that time price nothing and are left out.
    """
    card = proposed.card
    before = await _side_in_force(ctx, tx, card, at_ms)
    found: list[Pair] = []
    for row in await _tied_rows(tx, card):
        other = rate_card_record(row, ())
        other_side = await _side_in_force(ctx, tx, other, at_ms)
        if other_side is None or other.currency != card.currency:
            continue
        if card.direction == "buy":
            routes = await _routes(tx, other.id, card.id)
            found.append(Pair(sell=other_side, buy=proposed, sell_before=None, buy_before=before, routes=routes))
        else:
            routes = await _routes(tx, card.id, other.id)
            found.append(Pair(sell=proposed, buy=other_side, sell_before=before, buy_before=None, routes=routes))
    return tuple(found)


async def _tied_rows(tx: Tx, card: RateCard) -> list[RowMapping]:
    cards = tables.rate_cards
    query = select(cards).where(cards.c.archived_ms.is_(None), cards.c.enabled, cards.c.direction != card.direction)
    rows = (await tx.execute(query.order_by(cards.c.id))).mappings()
    # Lists of ids are JSON, which SQLite and PostgreSQL search in different words: there are few enough to look.
    if card.direction == "buy":
        return [row for row in rows if card.id in row["vendor_card_ids"]]
    return [row for row in rows if row["id"] in card.vendor_card_ids]


async def _card(tx: Tx, path: str, card_id: int, direction: str = "") -> RateCard:
    card = rate_card_record(await RATE_CARDS.row(tx, card_id), ())
    if direction and card.direction != direction:
        raise invalid(path, f"rate card {card_id} is no {direction} card")
    return card


async def _side(ctx: Context, tx: Tx, card: RateCard, revision_id: int | None, at_ms: int) -> Side:
    if revision_id is None:
        side = await _side_in_force(ctx, tx, card, at_ms)
        if side is None:
            raise Conflict(f"The card {card.name} has no active revision at that time.")
        return side
    revisions = tables.revisions
    query = select(revisions.c.path).where(revisions.c.id == revision_id, revisions.c.card_id == card.id)
    path = (await tx.execute(query)).scalar_one_or_none()
    if path is None:
        raise NotFound("revision", revision_id)
    return Side(card=card, revision_id=revision_id, path=str(ctx.data_folder / path))


async def _side_in_force(ctx: Context, tx: Tx, card: RateCard, at_ms: int) -> Side | None:
    revisions = (await revisions_between(tx, at_ms, at_ms, card.id)).get(card.id)
    if not revisions:
        return None
    return Side(card=card, revision_id=revisions[-1].id, path=str(ctx.data_folder / revisions[-1].path))


async def _routes(tx: Tx, sell_card_id: int, buy_card_id: int) -> tuple[RouteLengths, ...]:
    """Enabled routes that may buy by this card what they sell by the other."""
    routes = tables.ingress_routes
    query = (
        select(routes)
        .where(routes.c.rate_card_id == sell_card_id, routes.c.archived_ms.is_(None), routes.c.enabled)
        .order_by(routes.c.id)
    )
    return tuple(
        RouteLengths(
            route_id=row["id"],
            name=row["name"],
            durations=tuple((length, calls) for length, calls in row["durations"]),
            max_duration_s=row["max_duration_s"],
        )
        for row in (await tx.execute(query)).mappings()
        if buy_card_id not in row["exclude_cards"] and (not row["lock_cards"] or buy_card_id in row["lock_cards"])
    )


def _count_rows(tied: tuple[Pair, ...]) -> int:
    return sum(len(Deck.open(Path(side.path))) for pair in tied for side in (pair.sell, pair.buy))


def _quote(side: Side, prefix: str, at_ms: int) -> Quote:
    try:
        row: RateRow | None = Deck.open(Path(side.path)).lookup(prefix, at_ms)
    except (OSError, ValueError) as error:
        raise Conflict(f"The deck of revision {side.revision_id} cannot be read: {error}.") from error
    if row is None:
        raise invalid("prefix", f"no row of {side.card.name} prices {prefix} at that time")
    return Quote(row, tariff_of(side.card), 0, side.card.id, side.revision_id, at_ms)
