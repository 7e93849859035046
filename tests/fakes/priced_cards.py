"""Cards with real decks in a test's control plane: a sell card, a buy card, revisions of both."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import insert

from control.services import revisions
from control.store import tables
from rating.decks import compile_deck
from rating.rows import RateRow
from tests.fakes.control import ControlPlane

CENT = 10_000_000


class Cards(NamedTuple):
    customer: int
    provider: int
    sell: int
    buy: int


async def make_revision(plane: ControlPlane, card_id: int, *rows: RateRow, is_active: bool = True) -> int:
    """A compiled revision of these rows, in force at once unless it is only proposed."""
    async with plane.store.begin() as tx:
        values = {"card_id": card_id, "path": "", "rows": len(rows), "created_ms": plane.clock.ms}
        made = insert(tables.revisions).values(**values).returning(tables.revisions.c.id)
        revision_id = int((await tx.execute(made)).scalar_one())
        path = f"decks/{card_id}/{revision_id}"
        compiled = plane.folder / path
        compiled.parent.mkdir(parents=True, exist_ok=True)
        compile_deck(rows, compiled)
        row = tables.revisions.c.id == revision_id
        await tx.execute(tables.revisions.update().where(row).values(path=path))
    if is_active:
        await revisions.activate(plane.ctx, card_id, revision_id)
    return revision_id


async def make_cards(plane: ControlPlane, sell: Sequence[RateRow] = (), buy: Sequence[RateRow] = ()) -> Cards:
    """A customer, a vendor, a sell card that leads to a buy card; their decks where rows are given."""
    customer = await plane.make_customer()
    provider = await plane.make_provider()
    buy_card = await plane.make_buy_card(provider)
    sell_card = await plane.make_sell_card(vendor_card_ids=[buy_card])
    if sell:
        await make_revision(plane, sell_card, *sell)
    if buy:
        await make_revision(plane, buy_card, *buy)
    return Cards(customer, provider, sell_card, buy_card)
