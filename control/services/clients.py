"""Clients: who rents in the building. What a client is stands beside what its account may do.

Days may be given as days or as times; a contract that ends on a day ends when that day is over.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta
from sqlalchemy import func, select
from sqlalchemy.engine import RowMapping

from control.services.context import Change, Context
from control.services.errors import Conflict, FieldError, Reference, invalid
from control.services.fields import Label, Moment, Name, day_or_moment_ms, ms_moment, name_key
from control.services.nouns import Noun
from control.services.pages import ListQuery, Page
from control.services.records import client_record
from control.store import tables
from control.store.engine import Tx
from switch.snapshot import Record

Status = Literal["new", "scheduled", "active", "suspended", "inactive"]
Kind = Literal["residential", "virtual"]
Day = Annotated[str, Meta(min_length=10, max_length=40, examples=["2026-11-22", "2026-11-22T08:00:00Z"])]

MOVES: Final[dict[Status, tuple[Status, ...]]] = {
    "new": ("scheduled", "active", "inactive"),
    "scheduled": ("new", "active", "inactive"),
    "active": ("suspended", "inactive"),
    "suspended": ("active", "inactive"),
    "inactive": (),
}
"""From each status to where. Inactive is final: numbers have gone by then."""


class ExternalId(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    system: Name
    id: Name
    site: Label = ""


class ClientNew(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: Name
    type: Kind = "residential"
    status: Status = "new"
    offices: Annotated[tuple[Name, ...], Meta(max_length=1_000)] = ()
    """Of a residential client; a virtual one has none."""
    start_date: Day | None = None
    """When services start; in the future with status `scheduled`."""
    end_date: Day | None = None
    """End of the rooms' allocation, never of a service; a year after the start where it is left out."""
    contract_end: Day | None = None
    """When services end: the client is inactive after it."""
    suspend_at: Moment | None = None
    """When an active client is suspended by itself."""
    billing_ref: Label = ""
    """Unique; made where it is left blank."""
    external_ids: Annotated[tuple[ExternalId, ...], Meta(max_length=100)] = ()


class Client(ClientNew, frozen=True, kw_only=True):
    id: int
    row_version: int
    created_at: Moment
    updated_at: Moment
    is_management: bool


class ClientQuery(ListQuery, frozen=True, kw_only=True):
    status: Status | None = None
    type: Kind | None = None
    billing_ref: Label | None = None
    include: Literal["", "inactive"] = ""
    """`inactive`: inactive clients too."""


class Clients(Noun[ClientNew, Client]):
    name = "client"
    table = tables.clients
    new = ClientNew
    out = Client
    moments = ("suspend_at",)
    sorts = ("name", "id", "status", "created_at", "updated_at")
    search = ("name_key", "billing_ref_key", "external_ids", "offices")

    async def check(self, ctx: Context, change: Change, new: ClientNew, before: RowMapping | None) -> dict[str, Any]:
        columns = self.columns(new)
        detail = "Another client has this name."
        await self.check_unique(change.tx, before, "name", detail, name_key=columns["name_key"])
        if new.type == "virtual" and new.offices:
            raise invalid("offices", "a virtual client has no offices")
        starts_at_ms = day_or_moment_ms("start_date", new.start_date, is_end=False)
        ends_at_ms = day_or_moment_ms("contract_end", new.contract_end, is_end=True)
        if starts_at_ms is not None and ends_at_ms is not None and ends_at_ms <= starts_at_ms:
            raise invalid("contract_end", "not after start_date")
        end_date = new.end_date
        day_or_moment_ms("end_date", end_date, is_end=True)
        if end_date is None and starts_at_ms is not None and before is None:
            end_date = _year_after(starts_at_ms)
        self._check_status(new, before, starts_at_ms, ends_at_ms, change.now_ms)
        more = await self._billing_ref(change.tx, new, before)
        return {**more, "end_date": end_date, "starts_at_ms": starts_at_ms, "ends_at_ms": ends_at_ms}

    async def references(self, tx: Tx, row: RowMapping) -> list[Reference]:
        if row["is_management"]:
            raise Conflict("The management client cannot be deleted.")
        customers = tables.customers
        query = select(customers.c.id, customers.c.name).where(
            customers.c.client_id == row["id"], customers.c.archived_ms.is_(None)
        )
        return [Reference("customer", str(row_id), name) for row_id, name in await tx.execute(query)]

    async def record(self, tx: Tx, row: RowMapping) -> Record:
        return client_record(row)

    def shown(self, row: RowMapping) -> dict[str, Any]:
        return {"is_management": row["is_management"]}

    def filtered(self, query: ListQuery) -> Any:
        statement = super().filtered(query).where(self.table.c.is_management.is_(False))
        if isinstance(query, ClientQuery) and not query.include and query.status != "inactive":
            statement = statement.where(self.table.c.status != "inactive")
        return statement

    async def page(self, ctx: Context, query: ListQuery) -> Page[Client]:
        """The management client stands first on the first page, whatever the order."""
        page = await super().page(ctx, query)
        if query.cursor:
            return page
        async with ctx.store.read() as tx:
            first = super().filtered(query).where(self.table.c.is_management.is_(True))
            rows = (await tx.execute(first)).mappings()
            return Page(items=[*(self.struct(row) for row in rows), *page.items], next_cursor=page.next_cursor)

    def _check_status(
        self, new: ClientNew, before: RowMapping | None, starts_at_ms: int | None, ends_at_ms: int | None, now_ms: int
    ) -> None:
        was = None if before is None else before["status"]
        if before is not None and before["is_management"] and new.status != "active":
            detail = "The management client is always active."
            raise Conflict(detail, errors=[FieldError("status", detail)])
        if before is not None and before["is_management"] and (ends_at_ms is not None or new.suspend_at is not None):
            path = "contract_end" if ends_at_ms is not None else "suspend_at"
            raise invalid(path, "the management client does not end")
        if was is not None and was != new.status and new.status not in MOVES[was]:
            detail = f"A client cannot go from {was} to {new.status}."
            raise Conflict(detail, errors=[FieldError("status", detail)])
        is_waiting = starts_at_ms is not None and starts_at_ms > now_ms
        is_dated_anew = before is None or before["starts_at_ms"] != starts_at_ms
        if new.status == "scheduled" and (was != "scheduled" or is_dated_anew):
            if starts_at_ms is None:
                raise invalid("start_date", "needed with status scheduled")
            if not is_waiting:
                raise invalid("start_date", "not in the future, as status scheduled wants it")
        if new.status == "active" and was != "active" and is_waiting:
            raise invalid("status", "start_date is in the future: scheduled becomes active by itself")

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


async def run_due(ctx: Context) -> int:
    """Bring every client to the status that its dates ask for by now; how many changed.

    The switch knows start and end by itself from the record; a scheduled suspension it learns here.
    """
    clients = tables.clients
    async with ctx.store.read() as tx:
        now_ms = ctx.now_ms()
        due = select(clients.c.id).where(clients.c.archived_ms.is_(None), _is_due(now_ms)).limit(1)
        if (await tx.execute(due)).first() is None:
            return 0
    async with ctx.change() as change:
        query = select(clients).where(clients.c.archived_ms.is_(None), _is_due(change.now_ms)).order_by(clients.c.id)
        rows = list((await change.tx.execute(query)).mappings())
        for row in rows:
            await CLIENTS.update_in(ctx, change, row["id"], _what_is_due(row, change.now_ms))
    return len(rows)


def _is_due(now_ms: int) -> Any:
    c = tables.clients.c
    is_over = c.status.in_(("scheduled", "active", "suspended")) & (c.ends_at_ms <= now_ms)
    begins = (c.status == "scheduled") & (c.starts_at_ms <= now_ms)
    stops = (c.status == "active") & (c.suspend_at_ms <= now_ms)
    return is_over | begins | stops


def _what_is_due(row: RowMapping, now_ms: int) -> dict[str, Any]:
    if row["ends_at_ms"] is not None and row["ends_at_ms"] <= now_ms:
        return {"status": "inactive"}
    if row["status"] == "scheduled":
        return {"status": "active"}
    # The date is used up: left in place it would suspend the client again as soon as staff lift it.
    return {"status": "suspended", "suspend_at": None}


def _year_after(ms: int) -> str:
    start = ms_moment(ms).date()
    try:
        return start.replace(year=start.year + 1).isoformat()
    except ValueError:  # 29 February
        return start.replace(year=start.year + 1, day=28).isoformat()
