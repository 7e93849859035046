"""Sites and their offices: what there is to rent."""

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta
from sqlalchemy import select
from sqlalchemy.engine import RowMapping

from control.services.context import Change, Context
from control.services.errors import Conflict, Reference
from control.services.fields import Id, Label, Moment, Name, Notes, check_name, check_time_zone, name_key
from control.services.nouns import Noun
from control.services.owners import require
from control.services.pages import ListQuery
from control.services.periods import day_at
from control.store.client_tables import occupancies, offices, sites
from control.store.engine import Tx

Capacity = Annotated[int, Meta(ge=1, le=10_000, description="People who can work in it.")]


class SiteNew(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: Name
    address: Notes = ""
    time_zone: Label = "UTC"
    """Whose calendar says what day it is in its rooms."""
    notes: Notes = ""


class Site(SiteNew, frozen=True, kw_only=True):
    id: int
    row_version: int
    created_at: Moment
    updated_at: Moment


class SiteQuery(ListQuery, frozen=True, kw_only=True):
    time_zone: Label | None = None


class Sites(Noun[SiteNew, Site]):
    name = "site"
    table = sites
    new = SiteNew
    out = Site
    sorts = ("name", "id", "created_at", "updated_at")
    search = ("name_key", "address")

    async def check(self, ctx: Context, change: Change, new: SiteNew, before: RowMapping | None) -> dict[str, Any]:
        key = name_key(new.name)
        await self.check_unique(change.tx, before, "name", "Another site has this name.", name_key=key)
        check_time_zone("time_zone", new.time_zone)
        return {}

    async def references(self, tx: Tx, row: RowMapping) -> list[Reference]:
        query = select(offices.c.id, offices.c.room).where(
            offices.c.site_id == row["id"], offices.c.archived_ms.is_(None)
        )
        return [Reference("office", str(row_id), room) for row_id, room in await tx.execute(query.limit(100))]


SITES: Final = Sites()


class OfficeNew(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    site_id: Id
    room: Name
    """Its number or name, one of each at a site."""
    capacity: Capacity = 1
    notes: Notes = ""


class Office(OfficeNew, frozen=True, kw_only=True):
    id: int
    row_version: int
    created_at: Moment
    updated_at: Moment


class OfficeQuery(ListQuery, frozen=True, kw_only=True):
    site_id: Id | None = None
    room: Label | None = None


class Offices(Noun[OfficeNew, Office]):
    name = "office"
    table = offices
    new = OfficeNew
    out = Office
    fixed = ("site_id",)
    sorts = ("id", "room", "site_id", "capacity", "created_at", "updated_at")
    search = ("room", "notes")

    async def check(self, ctx: Context, change: Change, new: OfficeNew, before: RowMapping | None) -> dict[str, Any]:
        await require(change.tx, sites, "site_id", "site", new.site_id)
        check_name("room", new.room)
        key = name_key(new.room)
        detail = "The site has a room of this name."
        await self.check_unique(change.tx, before, "room", detail, site_id=new.site_id, room_key=key)
        return {"room_key": key}

    async def archive_in(self, change: Change, row_id: int, expected: int | None = None) -> None:
        """409 while somebody sits there or will; those who did are no reason to keep it."""
        row = await self.row(change.tx, row_id)
        site = (await change.tx.execute(select(sites.c.time_zone).where(sites.c.id == row["site_id"]))).scalar_one()
        query = select(occupancies.c.id, occupancies.c.client_id).where(
            occupancies.c.office_id == row_id,
            occupancies.c.archived_ms.is_(None),
            occupancies.c.until > day_at(change.now_ms, site).isoformat(),
        )
        taken = [
            Reference("occupancy", str(each), f"client {client}") for each, client in await change.tx.execute(query)
        ]
        if taken:
            raise Conflict("The office is in use.", references=taken)
        await super().archive_in(change, row_id, expected)


OFFICES: Final = Offices()
