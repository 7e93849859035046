"""What a revision says: its rows by prefix, and how two revisions differ."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from itertools import islice
from typing import Annotated

import msgspec
from msgspec import Meta

from control.services.context import Context
from control.services.deck_import import DeckDiff, diff_decks
from control.services.errors import Conflict, invalid
from control.services.fields import Digits, Id, Moment, ms_moment
from control.services.pages import PAGE_ROWS, PAGE_ROWS_MAX, Page, make_cursor, read_cursor
from control.services.revisions import active_revision, open_deck
from rating.decks import Deck, DeckError
from rating.money import format_amount
from rating.rows import UNSET, RateRow


class Tier(msgspec.Struct, frozen=True):
    from_s: int
    rate: str


class Window(msgspec.Struct, frozen=True):
    """Minutes since Monday 00:00 in the card's time zone, half-open."""

    from_minute: int
    to_minute: int
    rate: str


class RowShown(msgspec.Struct, frozen=True, kw_only=True):
    prefix: str
    name: str
    rate: str
    first_s: int
    next_s: int
    connect_fee: str
    valid_from: Moment | None
    valid_to: Moment | None
    blocked: bool
    minimum_s: int | None
    """Null here and below: the card's own."""
    grace_s: int | None
    max_cost: str | None
    tiers: list[Tier]
    windows: list[Window]


class RowQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    prefix: Digits = ""
    """Rows whose prefix begins with it."""
    number: Digits = ""
    """Instead: the rows that could price this number, the longest prefix first."""
    limit: Annotated[int, Meta(ge=1, le=PAGE_ROWS_MAX)] = PAGE_ROWS
    cursor: Annotated[str, Meta(max_length=500)] = ""


class DiffQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    against: Id | None = None
    """The other revision; the active one where it is left out."""


async def page(ctx: Context, card_id: int, revision_id: int, query: RowQuery) -> Page[RowShown]:
    """Rows by prefix, as text: `1`, `1201`, `1202`, `44`."""
    if query.prefix and query.number:
        raise invalid("number", "prefix or number, not both")
    after, skip = "", 0
    if query.cursor:
        cursor, skip = read_cursor(query.cursor, "prefix", str)
        after = str(cursor)
        if not after.isdecimal() or not after.startswith(query.prefix) or skip < 0:
            raise invalid("cursor", "not a cursor of this list")
    async with ctx.store.read() as tx:
        deck = await open_deck(ctx, tx, card_id, revision_id)
    try:
        rows = await asyncio.to_thread(_read, deck, query, after, skip)
    except DeckError as error:
        raise Conflict(f"The deck of revision {revision_id} is damaged: {error}") from error
    next_cursor = None
    if len(rows) > query.limit and not query.number:
        rows = rows[: query.limit]
        last = rows[-1].prefix
        shown = sum(row.prefix == last for row in rows) + (skip if last == after else 0)
        next_cursor = make_cursor("prefix", last, shown)
    return Page(items=[_shown(row) for row in rows], next_cursor=next_cursor)


async def diff(ctx: Context, card_id: int, revision_id: int, query: DiffQuery) -> DeckDiff:
    """What activating a revision changes."""
    async with ctx.store.read() as tx:
        new = await open_deck(ctx, tx, card_id, revision_id)
        against = query.against or await active_revision(tx, card_id, ctx.now_ms())
        old = None if against is None else await open_deck(ctx, tx, card_id, against)
    try:
        return await asyncio.to_thread(diff_decks, old, new, ctx.now_ms())
    except DeckError as error:
        raise Conflict(f"A deck is damaged: {error}") from error


def _read(deck: Deck, query: RowQuery, after: str, skip: int) -> list[RateRow]:
    if query.number:
        prefixes = (query.number[:length] for length in range(len(query.number), 0, -1))
        return [row for prefix in prefixes for row in deck.find(prefix)]
    return list(islice(rows_from(deck, query.prefix, after, skip), query.limit + 1))


def rows_from(deck: Deck, under: str, after: str, skip: int) -> Iterator[RateRow]:
    """Rows under a prefix that follow the first `skip` rows of the prefix `after`, in order of text.

    What follows a prefix is what extends it, then what extends each shorter part of it by a higher
    digit: so any place in a deck of a million rows is reached without walking there.
    """
    if not after:
        yield from deck.rows(under)
        return
    yield from deck.find(after)[skip:]
    for digit in "0123456789":
        yield from deck.rows(after + digit)
    for length in range(len(after) - 1, len(under) - 1, -1):
        for higher in range(int(after[length]) + 1, 10):
            yield from deck.rows(f"{after[:length]}{higher}")


def _shown(row: RateRow) -> RowShown:
    return RowShown(
        prefix=row.prefix,
        name=row.name,
        rate=format_amount(row.rate_nanos),
        first_s=row.first_s,
        next_s=row.next_s,
        connect_fee=format_amount(row.connect_fee_nanos),
        valid_from=ms_moment(row.valid_from_ms) if row.valid_from_ms else None,
        valid_to=ms_moment(row.valid_to_ms) if row.valid_to_ms else None,
        blocked=row.is_blocked,
        minimum_s=None if row.minimum_s == UNSET else row.minimum_s,
        grace_s=None if row.grace_s == UNSET else row.grace_s,
        max_cost=None if row.max_cost_nanos == UNSET else format_amount(row.max_cost_nanos),
        tiers=[Tier(from_s, format_amount(rate)) for from_s, rate in row.tiers],
        windows=[Window(start, end, format_amount(rate)) for start, end, rate in row.windows],
    )
