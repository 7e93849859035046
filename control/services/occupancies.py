"""Who sits in which office, by days: one occupant at a time.

An occupancy begins on `start_date` and ends before `until`: the day on which the office is handed back,
when the next one may move in. Without an `end_date` of its own it ends with the client's `end_date`, and
moves with it. Nothing here starts or stops a service.
"""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta
from sqlalchemy import Select, and_, select
from sqlalchemy.engine import RowMapping

from control.services.context import Change, Context
from control.services.days import DayText, day_of, parse_day
from control.services.errors import Conflict, FieldError, Reference, invalid
from control.services.fields import Id, Moment, Notes
from control.services.nouns import Noun
from control.services.owners import require
from control.services.pages import ListQuery, Page
from control.services.periods import day_at
from control.store import tables
from control.store.client_tables import ENDLESS, occupancies, offices, sites
from control.store.engine import Tx


class OccupancyNew(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    client_id: Id
    office_id: Id
    start_date: DayText | None = None
    """The client's own start date where it is left out; today where there is none."""
    end_date: DayText | None = None
    """When the office is handed back; the client's `end_date` where it is left out, whatever that becomes."""
    notes: Notes = ""


class Occupancy(OccupancyNew, frozen=True, kw_only=True):
    id: int
    row_version: int
    created_at: Moment
    updated_at: Moment
    until: DayText | None
    """The day that the office is free again; null: it has no end."""


class OccupancyShown(Occupancy, frozen=True, kw_only=True):
    client: str
    site_id: int
    site: str
    room: str


class OccupancyQuery(ListQuery, frozen=True, kw_only=True):
    client_id: Id | None = None
    office_id: Id | None = None
    site_id: Id | None = None
    on: DayText | None = None
    """Who sits where on that day."""


class FreeQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    on: DayText | None = None
    """Free on this day; today, on the site's calendar, where it is left out."""
    until: DayText | None = None
    """… and on every day before this one."""
    site_id: Id | None = None
    capacity: Annotated[int, Meta(ge=0, le=10_000)] = 0
    """For so many people at least."""


class FreeOffice(msgspec.Struct, frozen=True, kw_only=True):
    office_id: int
    site_id: int
    site: str
    room: str
    capacity: int
    free_until: DayText | None
    """When the next occupant moves in; null: nobody is to."""


class Occupancies(Noun[OccupancyNew, Occupancy]):
    name = "occupancy"
    table = occupancies
    new = OccupancyNew
    out = Occupancy
    fixed = ("client_id", "office_id")
    sorts = ("id", "start_date", "until", "client_id", "office_id", "created_at", "updated_at")
    search = ("notes",)

    async def check(self, ctx: Context, change: Change, new: OccupancyNew, before: RowMapping | None) -> dict[str, Any]:
        client = await require(change.tx, tables.clients, "client_id", "client", new.client_id)
        office = await require(change.tx, offices, "office_id", "office", new.office_id)
        if before is None and client["status"] == "inactive":
            raise Conflict("An inactive client rents nothing.", errors=[FieldError("client_id", "is inactive")])
        if before is None and client["type"] != "residential":
            detail = "A virtual client has no offices; convert it to residential first."
            raise Conflict(detail, errors=[FieldError("client_id", detail)])
        start = _start_of(new, client, change.now_ms)
        until = _until_of(new.end_date, client)
        if until <= start:
            raise invalid("end_date", f"the occupancy would end on {until}, not after its start on {start}")
        await self._check_free(change.tx, office, start, until, None if before is None else before["id"])
        return {"start_date": start, "until": until}

    async def archive_in(self, change: Change, row_id: int, expected: int | None = None) -> None:
        """Only of what has not begun: what was is history, and ends by an `end_date`."""
        row = await self.row(change.tx, row_id)
        client = await require(change.tx, tables.clients, "client_id", "client", row["client_id"])
        has_begun = row["start_date"] <= day_at(change.now_ms, client["time_zone"]).isoformat()
        if has_begun and client["status"] not in ("new", "scheduled"):
            detail = "The occupancy has begun: set an end_date to hand the office back."
            raise Conflict(detail, errors=[FieldError("end_date", detail)])
        await super().archive_in(change, row_id, expected)

    def shown(self, row: RowMapping) -> dict[str, Any]:
        return {"until": None if row["until"] == ENDLESS else row["until"]}

    @property
    def answer(self) -> Any:
        return OccupancyShown

    async def answers(self, ctx: Context, rows: list[Occupancy]) -> list[Any]:
        """With the names of client, site and room."""
        clients = tables.clients
        query = (
            select(occupancies.c.id, clients.c.name, offices.c.site_id, sites.c.name.label("site"), offices.c.room)
            .join(clients, clients.c.id == occupancies.c.client_id)
            .join(offices, offices.c.id == occupancies.c.office_id)
            .join(sites, sites.c.id == offices.c.site_id)
            .where(occupancies.c.id.in_([row.id for row in rows]))
        )
        async with ctx.store.read() as tx:
            named = {found["id"]: found for found in (await tx.execute(query)).mappings()}
        return [
            OccupancyShown(
                **msgspec.structs.asdict(row),
                client=named[row.id]["name"],
                site_id=named[row.id]["site_id"],
                site=named[row.id]["site"],
                room=named[row.id]["room"],
            )
            for row in rows
        ]

    def filtered(self, query: ListQuery) -> Any:
        statement = super().filtered(query)
        assert isinstance(query, OccupancyQuery)
        if query.on is not None:
            day = parse_day("on", query.on).isoformat()
            statement = statement.where(occupancies.c.start_date <= day, occupancies.c.until > day)
        if query.site_id is not None:
            at_site = select(offices.c.id).where(offices.c.site_id == query.site_id)
            statement = statement.where(occupancies.c.office_id.in_(at_site))
        return statement

    async def _check_free(self, tx: Tx, office: RowMapping, start: str, until: str, but_id: int | None) -> None:
        """One occupant at a time: 409 names the other."""
        clients = tables.clients
        query = (
            select(occupancies, clients.c.name.label("client"))
            .join(clients, clients.c.id == occupancies.c.client_id)
            .where(
                occupancies.c.office_id == office["id"],
                occupancies.c.archived_ms.is_(None),
                occupancies.c.start_date < until,
                occupancies.c.until > start,
            )
            .order_by(occupancies.c.start_date)
        )
        if but_id is not None:
            query = query.where(occupancies.c.id != but_id)
        other = (await tx.execute(query.limit(1))).mappings().first()
        if other is None:
            return
        ends = "with no end" if other["until"] == ENDLESS else f"until {other['until']}"
        detail = f"Room {office['room']} is taken by {other['client']} from {other['start_date']} {ends}."
        raise Conflict(
            detail,
            errors=[FieldError("start_date", detail)],
            references=[
                Reference("occupancy", str(other["id"]), other["client"]),
                Reference("client", str(other["client_id"]), other["client"]),
            ],
        )


OCCUPANCIES: Final = Occupancies()


async def free(ctx: Context, query: FreeQuery) -> Page[FreeOffice]:
    """Offices that nobody has on a day, or on a run of days; by site and room."""
    async with ctx.store.read() as tx:
        rooms: Select[Any] = select(offices, sites.c.name.label("site"), sites.c.time_zone).join(
            sites, sites.c.id == offices.c.site_id
        )
        rooms = rooms.where(offices.c.archived_ms.is_(None), offices.c.capacity >= query.capacity)
        if query.site_id is not None:
            rooms = rooms.where(offices.c.site_id == query.site_id)
        found = list((await tx.execute(rooms.order_by(sites.c.name_key, offices.c.room_key))).mappings())
        taken: dict[int, list[tuple[str, str]]] = {}
        each = select(occupancies.c.office_id, occupancies.c.start_date, occupancies.c.until)
        for office_id, start, until in await tx.execute(each.where(occupancies.c.archived_ms.is_(None))):
            taken.setdefault(office_id, []).append((start, until))
    items = []
    for room in found:
        today = day_at(ctx.now_ms(), room["time_zone"]).isoformat()
        first = today if query.on is None else parse_day("on", query.on).isoformat()
        last = first if query.until is None else parse_day("until", query.until).isoformat()
        if query.until is not None and last <= first:
            raise invalid("until", "not after `on`")
        stays = taken.get(room["id"], ())
        # A run of days ends before `until`; of one day alone it is that day which must be free.
        if any(until > first and (start <= first or start < last) for start, until in stays):
            continue
        items.append(
            FreeOffice(
                office_id=room["id"],
                site_id=room["site_id"],
                site=room["site"],
                room=room["room"],
                capacity=room["capacity"],
                free_until=min((start for start, _ in stays if start > first), default=None),
            )
        )
    return Page(items=items, next_cursor=None)


async def follow_client(ctx: Context, change: Change, client: RowMapping) -> None:
    """Bring what ends with the client's `end_date` to its new one; 409 where somebody else has the room then."""
    for row in await OCCUPANCIES.rows_of(change.tx, "client_id", client["id"]):
        if row["end_date"] is None and row["until"] != _until_of(None, client):
            await OCCUPANCIES.update_in(ctx, change, row["id"], {"start_date": row["start_date"]})


async def follow_start(ctx: Context, change: Change, client_id: int, was: str, day: str) -> None:
    """Bring what was to begin on the client's first day to its new one; 409 where somebody else has the room then."""
    for row in await OCCUPANCIES.rows_of(change.tx, "client_id", client_id):
        if row["start_date"] == was:
            await OCCUPANCIES.update_in(ctx, change, row["id"], {"start_date": day})


async def still_held(tx: Tx, client_id: int, day: date) -> list[RowMapping]:
    """Occupancies of a client that last beyond a day, with the rooms' names; the earliest first."""
    c = occupancies.c
    query = (
        select(occupancies, offices.c.room)
        .join(offices, offices.c.id == c.office_id)
        .where(and_(c.client_id == client_id, c.archived_ms.is_(None), c.until > day.isoformat()))
        .order_by(c.start_date, c.id)
    )
    return list((await tx.execute(query)).mappings())


async def held_at(tx: Tx, site_id: int, now_ms: int) -> Select[Any]:
    """Ids of clients that have an office at a site, today on its calendar or later; to be asked `in`."""
    zone = (await tx.execute(select(sites.c.time_zone).where(sites.c.id == site_id))).scalar_one_or_none()
    today = day_at(now_ms, zone or "UTC").isoformat()
    query = select(occupancies.c.client_id).join(offices, offices.c.id == occupancies.c.office_id)
    return query.where(offices.c.site_id == site_id, occupancies.c.archived_ms.is_(None), occupancies.c.until > today)


async def release(change: Change, client_id: int, day: date) -> None:
    """Hand back on a day whatever the client has beyond it; what would begin later does not."""
    for row in await still_held(change.tx, client_id, day):
        plain = await OCCUPANCIES.row(change.tx, row["id"])
        text = day.isoformat()
        if row["start_date"] >= text:
            # It never was: nothing of it is history.
            written = await OCCUPANCIES.write(change, plain, {"archived_ms": change.now_ms})
            await change.audit("archive", "occupancy", row["id"], before=OCCUPANCIES.struct(written))
            continue
        written = await OCCUPANCIES.write(change, plain, {"end_date": text, "until": text})
        await change.audit(
            "release", "occupancy", row["id"], before=OCCUPANCIES.struct(plain), after=OCCUPANCIES.struct(written)
        )


def _start_of(new: OccupancyNew, client: RowMapping, now_ms: int) -> str:
    if new.start_date is not None:
        return parse_day("start_date", new.start_date).isoformat()
    if client["start_date"] is not None:
        return day_of("start_date", client["start_date"], client["time_zone"]).isoformat()
    return day_at(now_ms, client["time_zone"]).isoformat()


def _until_of(end_date: str | None, client: RowMapping) -> str:
    if end_date is not None:
        return parse_day("end_date", end_date).isoformat()
    if client["end_date"] is None:
        return ENDLESS
    return day_of("end_date", client["end_date"], client["time_zone"]).isoformat()
