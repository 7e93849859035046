"""Rate cards: what sold calls cost, and what vendors ask. Their prices are in revisions."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta
from sqlalchemy import select
from sqlalchemy.engine import RowMapping

from control.services.context import Change, Context
from control.services.currencies import check_currency
from control.services.did_references import dids_with
from control.services.errors import Conflict, FieldError, Reference, invalid
from control.services.fields import Amount, Currency, Id, Label, Moment, Name, Notes, amount_nanos, check_time_zone
from control.services.ingress_routes import CardIds, Priority, check_buy_card
from control.services.nouns import Noun
from control.services.owners import require
from control.services.pages import ListQuery
from control.services.records import card_revisions, rate_card_record
from control.store import tables
from control.store.engine import Tx
from switch.snapshot import Record

Direction = Literal["sell", "buy"]
Rounding = Literal["up", "half_up", "down"]
Seconds = Annotated[int, Meta(ge=0, le=86_400)]


class RateCardNew(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: Name
    direction: Direction
    currency: Currency = "USD"
    decimals: Annotated[int, Meta(ge=0, le=9)] = 4
    rounding: Rounding = "up"
    duration_rounding: Rounding = "up"
    grace_s: Seconds = 0
    minimum_s: Seconds = 0
    max_cost: Amount | None = None
    time_zone: Label = "UTC"
    """Where the time-of-week windows of its rows are read."""
    provider_id: Id | None = None
    """Of a buy card: whose prices these are."""
    vendor_card_ids: CardIds = ()
    """Of a sell card: the buy cards that its calls may leave through."""
    priority: Priority = 0
    weight: Annotated[int, Meta(ge=0, le=65_535)] = 1
    enabled: bool = True
    notes: Notes = ""


class RateCard(RateCardNew, frozen=True, kw_only=True):
    id: int
    row_version: int
    created_at: Moment
    updated_at: Moment


class RateCardQuery(ListQuery, frozen=True, kw_only=True):
    direction: Direction | None = None
    currency: Label | None = None
    provider_id: Id | None = None
    enabled: bool | None = None


class RateCards(Noun[RateCardNew, RateCard]):
    name = "rate_card"
    table = tables.rate_cards
    new = RateCardNew
    out = RateCard
    amounts = ("max_cost",)
    fixed = ("direction", "currency")
    sorts = ("name", "id", "priority", "created_at", "updated_at")
    search = ("name_key", "notes")

    async def check(self, ctx: Context, change: Change, new: RateCardNew, before: RowMapping | None) -> dict[str, Any]:
        key = self.columns(new)["name_key"]
        await self.check_unique(change.tx, before, "name", "Another rate card has this name.", name_key=key)
        check_currency("currency", new.currency)
        check_time_zone("time_zone", new.time_zone)
        if new.max_cost is not None and amount_nanos("max_cost", new.max_cost) < 0:
            raise invalid("max_cost", "below 0")
        if new.direction == "buy":
            await self._check_buy(change.tx, new)
            if before is not None and before["provider_id"] != new.provider_id:
                bought = await dids_with(change.tx, "provider_card_id", before["id"])
                if bought:
                    detail = "DIDs of its provider are priced by this card."
                    raise Conflict(detail, errors=[FieldError("provider_id", detail)], references=bought)
        elif new.provider_id is not None:
            raise invalid("provider_id", "a sell card is nobody's price list")
        for place, card_id in enumerate(new.vendor_card_ids):
            path = f"vendor_card_ids[{place}]"
            card = await check_buy_card(change.tx, path, card_id)
            if card["currency"] != new.currency:
                raise invalid(path, f"priced in {card['currency']}, this card in {new.currency}")
        return {}

    async def references(self, tx: Tx, row: RowMapping) -> list[Reference]:
        routes, cards = tables.ingress_routes, tables.rate_cards
        found: list[Reference] = []
        # Lists of ids are JSON, which SQLite and PostgreSQL search in different words: there are few enough to look.
        for route in (await tx.execute(select(routes).where(routes.c.archived_ms.is_(None)))).mappings():
            if row["id"] in (route["rate_card_id"], *route["lock_cards"], *route["exclude_cards"]):
                found.append(Reference("ingress_route", str(route["id"]), route["name"]))
        for card in (await tx.execute(select(cards).where(cards.c.archived_ms.is_(None)))).mappings():
            if row["id"] in card["vendor_card_ids"]:
                found.append(Reference("rate_card", str(card["id"]), card["name"]))
        for column in ("provider_card_id", "customer_card_id"):
            found += await dids_with(tx, column, row["id"])
        return found

    async def record(self, tx: Tx, row: RowMapping) -> Record:
        now_ms = row["updated_ms"]
        revisions = await card_revisions(tx, now_ms, row["id"])
        return rate_card_record(row, revisions.get(row["id"], ()))

    async def _check_buy(self, tx: Tx, new: RateCardNew) -> None:
        if new.provider_id is None:
            raise invalid("provider_id", "needed: a buy card is somebody's price list")
        provider = await require(tx, tables.providers, "provider_id", "provider", new.provider_id)
        if provider["currency"] != new.currency:
            raise invalid("currency", f"the provider is paid in {provider['currency']}")
        if new.vendor_card_ids:
            raise invalid("vendor_card_ids", "only of a sell card")


RATE_CARDS: Final = RateCards()
