"""Stored calls whose charges are right: priced by real decks through the very rule, as the switch does it."""

from __future__ import annotations

from typing import Any

from sqlalchemy import select

from control.services.call_entries import insert_entries, last_numbers
from control.services.cdr_rows import insert_batch
from control.services.ledger import balance_of
from control.services.records import rate_card_record
from control.services.rollups import add_batch
from control.store import tables
from rating.decks import Deck
from rating.quotes import Quote, price
from switch.policy.cards import tariff_of
from switch.records import CallEnded
from tests.fakes.cdrs import make_attempt, make_cdr
from tests.fakes.control import START_MS, ControlPlane


class Exchange:
    """A customer, a sell card and a vendor's card, and calls between them."""

    def __init__(self, plane: ControlPlane) -> None:
        self.plane = plane
        self.customer = 0
        self.sell = 0
        self.buy = 0
        self.provider = 0
        self._calls = 0
        self._active: dict[int, int] = {}

    async def open(self, *, tax_percent: str = "20", **card: Any) -> Exchange:
        plane = self.plane
        self.customer = await plane.make_customer(tax_percent=tax_percent, time_zone="Europe/London")
        self.provider = await plane.make_provider()
        self.buy = await plane.make_buy_card(self.provider)
        self.sell = await plane.make_sell_card(vendor_card_ids=[self.buy], **card)
        await self.load(self.sell, b"prefix,name,rate,increment\n44,UK,0.02,60/1\n4420,London,0.015,1/1\n")
        await self.load(self.buy, b"prefix,name,rate,increment\n44,UK,0.01,1/1\n")
        return self

    async def load(self, card: int, deck: bytes, *, activate: bool = True) -> int:
        """A new revision of a card; its id."""
        query = "activate=true" if activate else ""
        answer = await self.plane.request("POST", f"/rate-cards/{card}/revisions?{query}", content=deck, status=201)
        revision = int(answer.json()["revision"]["id"])
        if activate:
            self._active[card] = revision
        return revision

    async def call(self, duration_ms: int = 61_000, **fields: Any) -> str:
        """One more answered call, stored and booked like the switch's; its id."""
        self._calls += 1
        number = self._calls
        invited_ms = fields.pop("invited_ms", START_MS + number * 1_000)
        dialled = fields.get("dialled_out", "442071838750")
        customer = fields.get("customer_id", self.customer)
        answered_ms = invited_ms + 2_000
        sell = await self._quote(self.sell, dialled, invited_ms, customer)
        buy = await self._quote(self.buy, dialled, invited_ms, None)
        charge, cost = price(sell, duration_ms, answered_ms), price(buy, duration_ms, answered_ms)
        attempt = make_attempt(
            provider_id=self.provider,
            card_id=self.buy,
            revision_id=buy.revision_id,
            prefix=buy.row.prefix,
            rate_nanos=buy.rate_nanos,
            dialled_out=dialled,
            started_ms=invited_ms + 20,
            progress_ms=invited_ms + 900,
            answered_ms=answered_ms,
            ended_ms=answered_ms + duration_ms,
            billed_s=cost.billed_s,
            cost_nanos=cost.net_nanos,
        )
        values: dict[str, Any] = {
            "customer_id": customer,
            "endpoint_id": 2,
            "route_id": 7,
            "dialled_in": f"1234{dialled}",
            "dialled_out": dialled,
            "invited_ms": invited_ms,
            "progress_ms": invited_ms + 900,
            "answered_ms": answered_ms,
            "ended_ms": answered_ms + duration_ms,
            "pdd_ms": 900,
            "duration_ms": duration_ms,
            "billed_s": charge.billed_s,
            "card_id": self.sell,
            "revision_id": sell.revision_id,
            "prefix": sell.row.prefix,
            "destination": sell.row.name,
            "rate_nanos": sell.rate_nanos,
            "net_nanos": charge.net_nanos,
            "tax_nanos": charge.tax_nanos,
            "gross_nanos": charge.gross_nanos,
            "cost_nanos": cost.net_nanos,
            "margin_nanos": charge.net_nanos - cost.net_nanos,
            "attempts": (attempt,),
        }
        ended = CallEnded(make_cdr(number, **{**values, **fields}))
        async with self.plane.store.begin() as tx:
            last = await last_numbers(tx)
            await insert_batch(tx, [(number, ended)])
            await insert_entries(tx, *last)
            await add_batch(tx, last[0], [ended.cdr])
        return ended.cdr.id

    async def balance(self, customer: int | None = None) -> int:
        """Nano-units, as the sum of what the ledger has."""
        entries = tables.ledger_entries.c
        wanted = self.customer if customer is None else customer
        async with self.plane.store.read() as tx:
            rows = await tx.execute(select(entries.amount_nanos).where(entries.customer_id == wanted))
            found: int = sum(rows.scalars())
            assert await balance_of(tx, wanted) == found, "the running balance is the sum of its entries"
            return found

    async def charged(self, cdr_id: str) -> int:
        """What the ledger has taken for one call, all its corrections in."""
        entries, cdrs = tables.ledger_entries.c, tables.cdrs.c
        number = select(cdrs.number).where(cdrs.id == cdr_id).scalar_subquery()
        async with self.plane.store.read() as tx:
            rows = await tx.execute(select(entries.amount_nanos).where(entries.cdr_number == number))
            taken: int = -sum(rows.scalars())
            return taken

    async def _quote(self, card_id: int, dialled: str, at_ms: int, customer: int | None) -> Quote:
        cards, revisions, customers = tables.rate_cards, tables.revisions, tables.customers
        revision = self._active[card_id]
        async with self.plane.store.read() as tx:
            card = (await tx.execute(select(cards).where(cards.c.id == card_id))).mappings().one()
            path = (await tx.execute(select(revisions.c.path).where(revisions.c.id == revision))).scalar_one()
            tax = select(customers.c.tax_ppm).where(customers.c.id == customer)
            tax_ppm = (await tx.execute(tax)).scalar_one_or_none() or 0
        row = Deck.open(self.plane.folder / path).lookup(dialled, at_ms)
        assert row is not None, "the decks price what is dialled"
        return Quote(row, tariff_of(rate_card_record(card, ())), tax_ppm, card_id, revision, at_ms)
