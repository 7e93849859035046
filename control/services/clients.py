"""Clients: who rents in the building. What a client is stands beside what its account may do.

`control.services.client_rules` has the statuses and the dates. Becoming inactive is final, and takes
along what the client had: rooms, and, as they are built upon it, its purchases, numbers and networks.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta
from sqlalchemy import func, select
from sqlalchemy.engine import RowMapping

from control.services import client_endings, occupancies, telephone_services
from control.services.client_rules import MOVES, OWN_DATES, Status, Wanted, check_management, check_move, resolve
from control.services.context import Change, Context
from control.services.currencies import check_currency
from control.services.days import day_of
from control.services.errors import Conflict, Reference, invalid
from control.services.fields import (
    Currency,
    Id,
    Label,
    Moment,
    Name,
    Notes,
    Percent,
    check_time_zone,
    moment_or_none,
    name_key,
)
from control.services.nouns import Noun
from control.services.one_by_one import work_through
from control.services.outbox import emit
from control.services.pages import ListQuery, Page, read_page
from control.services.periods import day_at
from control.services.purchases import PURCHASES
from control.services.records import client_record
from control.services.telephone_services import Prefix
from control.store import tables
from control.store.client_tables import occupancies as stays
from control.store.client_tables import offices, sites
from control.store.engine import Tx
from switch.snapshot import Record

__all__ = ["CLIENTS", "MOVES", "Client", "ClientNew", "ClientQuery", "ClientShown", "Status", "run_due"]

Kind = Literal["residential", "virtual"]
CountryCode = Annotated[str, Meta(max_length=3, pattern=r"^([1-9][0-9]*)?$(?!\n)")]
Day = Annotated[str, Meta(min_length=10, max_length=40, examples=["2026-11-22", "2026-11-22T08:00:00Z"])]


class ExternalId(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    system: Name
    id: Name
    site: Label = ""


class ClientNew(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: Name
    type: Kind = "residential"
    status: Status = "new"
    offices: Annotated[tuple[Name, ...], Meta(max_length=1_000)] = ()
    """Rooms by name alone, for buildings whose offices are not on record; a virtual client has none."""
    start_date: Day | None = None
    """When services start; in the future with status `scheduled`."""
    end_date: Day | None = None
    """End of the rooms' allocation, never of a service; a year after the start where it is left out."""
    contract_end: Day | None = None
    """When services end: the client is inactive after it."""
    suspend_at: Moment | None = None
    """When an active client is suspended by itself."""
    reactivate_at: Moment | None = None
    """When a suspended client is active again by itself."""
    decommission_at: Moment | None = None
    """When the client becomes inactive by itself, whatever its contract says; null takes it back until then."""
    billing_ref: Label = ""
    """Unique; made where it is left blank."""
    external_ids: Annotated[tuple[ExternalId, ...], Meta(max_length=100)] = ()
    time_zone: Label = "UTC"
    """Where its days and months are those of the calendar."""
    currency: Currency = "USD"
    """Of its products, services and bills."""
    tax_percent: Percent = "0"
    """On top of its bills."""
    address: Notes = ""
    """For correspondence: of a virtual client that of the building, which it has no office in."""
    country_code: CountryCode = ""
    """What its telephone services take for national numbers, as in 44."""
    premium_prefixes: Annotated[tuple[Prefix, ...], Meta(max_length=500)] = ()
    """Beginnings of numbers, in E.164 digits, that they take for premium rate."""


class Client(ClientNew, frozen=True, kw_only=True):
    id: int
    row_version: int
    created_at: Moment
    updated_at: Moment
    is_management: bool
    activated_at: Moment | None
    """When it was active first: what it has is billed from that day on …"""
    ended_at: Moment | None
    """… through the day that it became inactive."""
    wizard_steps: tuple[str, ...] | None
    """Steps of the wizard that are done; null: it is not in the wizard."""


class OfficeHeld(msgspec.Struct, frozen=True, kw_only=True):
    office_id: int
    site: str
    room: str
    since: str


class ClientShown(Client, frozen=True, kw_only=True):
    office: str
    """`Virtual`, or its rooms of today in one line."""
    offices_held: tuple[OfficeHeld, ...]
    """Offices on record that it occupies today."""


class ClientQuery(ListQuery, frozen=True, kw_only=True):
    status: Status | None = None
    type: Kind | None = None
    billing_ref: Label | None = None
    include: Literal["", "inactive"] = ""
    """`inactive`: inactive clients too."""
    site_id: Id | None = None
    """Those that have an office there now, or are to have one."""


class Clients(Noun[ClientNew, Client]):
    name = "client"
    table = tables.clients
    new = ClientNew
    out = Client
    moments = OWN_DATES
    sorts = ("name", "id", "status", "created_at", "updated_at")
    search = ("name_key", "billing_ref_key", "external_ids", "offices", "address")

    async def check(self, ctx: Context, change: Change, new: ClientNew, before: RowMapping | None) -> dict[str, Any]:
        columns = self.columns(new)
        detail = "Another client has this name."
        await self.check_unique(change.tx, before, "name", detail, name_key=columns["name_key"])
        check_time_zone("time_zone", new.time_zone)
        check_currency("currency", new.currency)
        if before is not None and before["currency"] != new.currency:
            await client_endings.check_currency_free(change.tx, before["id"])
        if before is not None and before["country_code"] and not new.country_code:
            await telephone_services.check_country_free(change.tx, before["id"])
        if new.type == "virtual" and new.offices:
            raise invalid("offices", "a virtual client has no offices")
        if before is not None:
            if before["is_management"]:
                dates = {name: getattr(new, name) for name in OWN_DATES}
                check_management(new.status, new.contract_end, dates)
            check_move(before["status"], new.status)
            if new.type == "virtual" and before["type"] == "residential":
                await self._check_released(change, before)
        wanted = msgspec.convert({**columns, "status": new.status}, Wanted)
        values = resolve(wanted, before, change.now_ms)
        if before is not None and new.status != "new":
            values["wizard"] = None
        if before is not None and before["is_management"]:
            # It is the house itself, and is not billed.
            values |= {"activated_ms": None, "bill_month": None, "bill_due_ms": None}
        return {**values, **await self._billing_ref(change.tx, new, before)}

    async def update_in(
        self, ctx: Context, change: Change, row_id: int, sent: dict[str, Any], expected: int | None = None
    ) -> Client:
        before = await self.row(change.tx, row_id)
        changed = await super().update_in(ctx, change, row_id, sent, expected)
        row = await self.row(change.tx, row_id)
        if before["status"] in ("new", "scheduled") and row["status"] != "inactive":
            await _follow_start(ctx, change, before, row)
        if row["end_date"] != before["end_date"] and row["status"] != "inactive":
            await occupancies.follow_client(ctx, change, row)
        if any(row[name] != before[name] for name in ("country_code", "premium_prefixes")):
            await telephone_services.apply_permissions(change, row_id)
        if row["status"] != before["status"]:
            if row["status"] == "inactive":
                await client_endings.end_owned(ctx, change, row)
            await _tell(change, row, before["status"])
        return changed

    async def create_in(self, ctx: Context, change: Change, new: ClientNew, **more: Any) -> Client:
        made = await super().create_in(ctx, change, new, **more)
        await _tell(change, await self.row(change.tx, made.id), None)
        return made

    async def references(self, tx: Tx, row: RowMapping) -> list[Reference]:
        if row["is_management"]:
            raise Conflict("The management client cannot be deleted.")
        if row["status"] in ("active", "suspended"):
            raise Conflict(f"The client is {row['status']}: decommission it first.")
        customers = tables.customers
        query = select(customers.c.id, customers.c.name).where(
            customers.c.client_id == row["id"], customers.c.archived_ms.is_(None)
        )
        found = [Reference("customer", str(row_id), name) for row_id, name in await tx.execute(query)]
        return found + await client_endings.kept_for(tx, row["id"])

    async def archive_owned(self, change: Change, row: RowMapping) -> None:
        await client_endings.archive_owned(change, row)

    async def record(self, tx: Tx, row: RowMapping) -> Record:
        return client_record(row)

    def shown(self, row: RowMapping) -> dict[str, Any]:
        return {
            "is_management": row["is_management"],
            "activated_at": moment_or_none(row["activated_ms"]),
            "ended_at": moment_or_none(row["ended_ms"]),
            "wizard_steps": row["wizard"],
        }

    @property
    def answer(self) -> Any:
        return ClientShown

    async def answers(self, ctx: Context, rows: list[Client]) -> list[Any]:
        """With the offices of today, as each site's calendar says it."""
        held: dict[int, list[OfficeHeld]] = {}
        query = (
            select(stays, offices.c.room, sites.c.name.label("site"), sites.c.time_zone)
            .join(offices, offices.c.id == stays.c.office_id)
            .join(sites, sites.c.id == offices.c.site_id)
            .where(stays.c.client_id.in_([row.id for row in rows]), stays.c.archived_ms.is_(None))
            .order_by(sites.c.name_key, offices.c.room_key)
        )
        async with ctx.store.read() as tx:
            for row in (await tx.execute(query)).mappings():
                today = day_at(ctx.now_ms(), row["time_zone"]).isoformat()
                if row["start_date"] <= today < row["until"]:
                    office = OfficeHeld(
                        office_id=row["office_id"], site=row["site"], room=row["room"], since=row["start_date"]
                    )
                    held.setdefault(row["client_id"], []).append(office)
        return [_shown(client, held.get(client.id, [])) for client in rows]

    def filtered(self, query: ListQuery) -> Any:
        statement = super().filtered(query).where(self.table.c.is_management.is_(False))
        if isinstance(query, ClientQuery) and not query.include and query.status != "inactive":
            statement = statement.where(self.table.c.status != "inactive")
        return statement

    async def page(self, ctx: Context, query: ListQuery) -> Page[Client]:
        """The management client stands first on the first page, whatever the order."""
        first = super().filtered(query).where(self.table.c.is_management.is_(True))
        async with ctx.store.read() as tx:
            statement = self.filtered(query)
            site_id = getattr(query, "site_id", None)
            if site_id is not None:
                statement = statement.where(self.table.c.id.in_(await occupancies.held_at(tx, site_id, ctx.now_ms())))
            rows, next_cursor = await read_page(tx, self.table, statement, query, self.sorts)
            if not query.cursor:
                rows = [*(await tx.execute(first)).mappings(), *rows]
        return Page(items=[self.struct(row) for row in rows], next_cursor=next_cursor)

    async def _check_released(self, change: Change, before: RowMapping) -> None:
        """A client that becomes virtual has handed back its rooms, or has said when it will (`convert`)."""
        day = day_at(change.now_ms, before["time_zone"])
        held = await occupancies.still_held(change.tx, before["id"], day)
        open_ended = [row for row in held if row["end_date"] is None]
        if open_ended:
            references = [Reference("occupancy", str(row["id"]), row["room"]) for row in open_ended]
            raise Conflict("The client has offices: say when they are handed back.", references=references)

    async def _billing_ref(self, tx: Tx, new: ClientNew, before: RowMapping | None) -> dict[str, str]:
        reference = new.billing_ref.strip()
        if not reference:
            reference = before["billing_ref"] if before is not None else await self._free_billing_ref(tx)
        detail = "Another client has this billing reference."
        key = name_key(reference)
        await self.check_unique(tx, before, "billing_ref", detail, billing_ref_key=key)
        return {"billing_ref": reference, "billing_ref_key": key}

    async def _free_billing_ref(self, tx: Tx) -> str:
        """The next of C000001, C000002, …: after the highest id ever given, past any that is taken by hand."""
        clients = self.table
        number = ((await tx.execute(select(func.max(clients.c.id)))).scalar() or 0) + 1
        while True:
            reference = f"C{number:06d}"
            taken = select(clients.c.id).where(clients.c.billing_ref_key == name_key(reference)).limit(1)
            if (await tx.execute(taken)).scalar_one_or_none() is None:
                return reference
            number += 1


CLIENTS: Final = Clients()


async def _follow_start(ctx: Context, change: Change, before: RowMapping, row: RowMapping) -> None:
    """Let what was to begin with the client begin on its new first day; what has a day of its own does not move."""
    if before["start_date"] is None or row["start_date"] is None:
        return
    was, day = (day_of("start_date", each["start_date"], each["time_zone"]).isoformat() for each in (before, row))
    if was != day:
        await occupancies.follow_start(ctx, change, row["id"], was, day)
        await PURCHASES.follow_start(change, row["id"], was, day)


async def run_due(ctx: Context) -> int:
    """Bring every client to the status that its dates ask for by now; how many changed.

    The switch knows start and end by itself from the record; a scheduled suspension it learns here.
    """
    clients = tables.clients
    async with ctx.store.read() as tx:
        due = select(clients.c.id).where(clients.c.archived_ms.is_(None), _is_due(ctx.now_ms()))
        ids = list((await tx.execute(due.order_by(clients.c.id))).scalars())

    async def follow_dates(change: Change, client_id: int) -> int:
        query = select(clients).where(clients.c.id == client_id, clients.c.archived_ms.is_(None))
        row = (await change.tx.execute(query)).mappings().first()
        is_changed = False
        # After downtime a suspension and its end may both lie behind.
        while row is not None and (step := _what_is_due(row, change.now_ms)):
            await CLIENTS.update_in(ctx, change, client_id, step)
            row = await CLIENTS.row(change.tx, client_id)
            is_changed = True
        return is_changed

    return await work_through(ctx, "client", ids, follow_dates)


def _is_due(now_ms: int) -> Any:
    c = tables.clients.c
    is_over = c.status.in_(("scheduled", "active", "suspended")) & (c.ends_at_ms <= now_ms)
    is_given_up = (c.status == "new") & (c.decommission_at_ms <= now_ms)
    begins = (c.status == "scheduled") & (c.starts_at_ms <= now_ms)
    stops = (c.status == "active") & (c.suspend_at_ms <= now_ms)
    returns = (c.status == "suspended") & (c.reactivate_at_ms <= now_ms)
    return is_over | is_given_up | begins | stops | returns


def _what_is_due(row: RowMapping, now_ms: int) -> dict[str, Any]:
    """The next step of one client; empty: nothing is due."""

    def is_over(column: str) -> bool:
        return row[column] is not None and row[column] <= now_ms

    status = row["status"]
    if status in ("scheduled", "active", "suspended") and is_over("ends_at_ms"):
        return {"status": "inactive"}
    if status == "new" and is_over("decommission_at_ms"):
        return {"status": "inactive"}
    if status == "scheduled" and is_over("starts_at_ms"):
        return {"status": "active"}
    # The date is used up: left in place it would suspend the client again as soon as staff lift it.
    if status == "active" and is_over("suspend_at_ms"):
        return {"status": "suspended", "suspend_at": None}
    if status == "suspended" and is_over("reactivate_at_ms"):
        return {"status": "active", "reactivate_at": None}
    return {}


async def _tell(change: Change, row: RowMapping, was: str | None) -> None:
    customers = tables.customers
    query = select(customers.c.id).where(customers.c.client_id == row["id"], customers.c.archived_ms.is_(None))
    customer_id = (await change.tx.execute(query)).scalar_one_or_none()
    payload = {"client_id": row["id"], "name": row["name"], "status": row["status"], "status_before": was}
    await emit(change, "client.changed", payload, customer_id=customer_id)


def _shown(client: Client, held: list[OfficeHeld]) -> ClientShown:
    named = () if client.status == "inactive" else client.offices
    rooms = [*(f"{office.site} {office.room}" for office in held), *named]
    office = "Virtual" if client.type == "virtual" else ", ".join(rooms)
    return ClientShown(**msgspec.structs.asdict(client), office=office, offices_held=tuple(held))
