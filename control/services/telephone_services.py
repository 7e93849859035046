"""Telephone services of a client: an extension with its number, its SIP user, and where it may call.

Number and SIP user are those of the client's customer account. Permissions act on calls: they become
beginnings of numbers in the SIP user's record, of which the longest that fits decides:

- `international`: everything that is none of the others;
- `national`: numbers of the client's `country_code`;
- `premium`: the client's `premium_prefixes`;
- `internal`: the numbers of the client's own telephone services;
- then `allowed_prefixes` and `barred_prefixes` of the service itself, whatever class they are in.

What is not allowed is refused with 403 and cause `destination_blocked`. A service that is not enabled calls
nowhere. A SIP user without a service may call whatever its customer may.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta
from sqlalchemy import select, update
from sqlalchemy.engine import RowMapping

from control.services.context import Change, Context
from control.services.errors import Conflict, FieldError, Reference, invalid
from control.services.fields import Id, Label, Moment, Notes
from control.services.nouns import Noun
from control.services.owners import require
from control.services.pages import ListQuery
from control.services.records import sip_user_record
from control.store import tables
from control.store.client_service_tables import client_users, telephone_services
from control.store.did_tables import dids
from control.store.engine import Tx

Permission = Literal["internal", "national", "international", "premium"]
Extension = Annotated[str, Meta(min_length=2, max_length=8, pattern=r"^[0-9]+$(?!\n)")]
Prefix = Annotated[str, Meta(min_length=1, max_length=15, pattern=r"^[0-9]+$(?!\n)")]
Prefixes = Annotated[tuple[Prefix, ...], Meta(max_length=200)]


class TelephoneServiceNew(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    client_id: Id
    extension: Extension
    """One of each in a client."""
    name: Label = ""
    did_id: Id | None = None
    """A number of the client's customer account that is this service's."""
    sip_user_id: Id | None = None
    """A SIP user of that account that calls, and is called, as this service."""
    permissions: Annotated[tuple[Permission, ...], Meta(max_length=4)] = ("internal", "national", "international")
    allowed_prefixes: Prefixes = ()
    """Beginnings of numbers in E.164 digits that it may call whatever their class …"""
    barred_prefixes: Prefixes = ()
    """… and may not; of two that fit a number the longer one counts."""
    enabled: bool = True
    notes: Notes = ""


class TelephoneService(TelephoneServiceNew, frozen=True, kw_only=True):
    id: int
    row_version: int
    created_at: Moment
    updated_at: Moment


class TelephoneServiceShown(TelephoneService, frozen=True, kw_only=True):
    number: str | None
    """Of its DID, in E.164 digits."""
    sip_username: str | None
    users: tuple[str, ...]
    """Names of the client's users at this extension."""


class TelephoneServiceQuery(ListQuery, frozen=True, kw_only=True):
    client_id: Id | None = None
    extension: Label | None = None
    sip_user_id: Id | None = None
    did_id: Id | None = None
    enabled: bool | None = None


class TelephoneServices(Noun[TelephoneServiceNew, TelephoneService]):
    name = "telephone_service"
    table = telephone_services
    new = TelephoneServiceNew
    out = TelephoneService
    fixed = ("client_id",)
    sorts = ("id", "extension", "client_id", "created_at", "updated_at")
    search = ("extension", "name")

    async def check(
        self, ctx: Context, change: Change, new: TelephoneServiceNew, before: RowMapping | None
    ) -> dict[str, Any]:
        client = await require(change.tx, tables.clients, "client_id", "client", new.client_id)
        if before is None and client["status"] == "inactive":
            raise _refusal("client_id", "An inactive client has no telephone services.")
        if before is not None and new.enabled and not before["enabled"] and client["status"] == "inactive":
            raise _refusal("enabled", "The client is inactive, and its services are off for good.")
        detail = "The client has this extension already."
        same = {"client_id": new.client_id, "extension": new.extension}
        await self.check_unique(change.tx, before, "extension", detail, **same)
        if before is not None and before["extension"] != new.extension:
            await _check_nobody_there(change.tx, before)
        customer_id = await customer_of(change.tx, new.client_id)
        for path, table, noun in (("did_id", dids, "did"), ("sip_user_id", tables.sip_users, "sip user")):
            row_id = getattr(new, path)
            if row_id is None or (before is not None and before[path] == row_id):
                continue
            row = await require(change.tx, table, path, noun, row_id)
            if customer_id is None or row["customer_id"] != customer_id:
                raise invalid(path, "not of the client's customer account")
            await self.check_unique(change.tx, before, path, f"The {noun} is another service's.", **{path: row_id})
        if set(new.allowed_prefixes) & set(new.barred_prefixes):
            raise invalid("barred_prefixes", "also among allowed_prefixes")
        if not client["country_code"] and ("national" in new.permissions) != ("international" in new.permissions):
            raise invalid("permissions", "national and international differ only where the client has a country_code")
        return {"permissions": sorted(set(new.permissions))}

    async def create_in(self, ctx: Context, change: Change, new: TelephoneServiceNew, **more: Any) -> TelephoneService:
        made = await super().create_in(ctx, change, new, **more)
        await apply_permissions(change, new.client_id)
        return made

    async def update_in(
        self, ctx: Context, change: Change, row_id: int, sent: dict[str, Any], expected: int | None = None
    ) -> TelephoneService:
        before = await self.row(change.tx, row_id)
        changed = await super().update_in(ctx, change, row_id, sent, expected)
        if before["sip_user_id"] not in (None, changed.sip_user_id):
            await _permit(change, before["sip_user_id"], [])
        await apply_permissions(change, changed.client_id)
        return changed

    async def archive_in(self, change: Change, row_id: int, expected: int | None = None) -> None:
        row = await self.row(change.tx, row_id)
        await _check_nobody_there(change.tx, row)
        await super().archive_in(change, row_id, expected)
        if row["sip_user_id"] is not None:
            await _permit(change, row["sip_user_id"], [])
        await apply_permissions(change, row["client_id"])

    @property
    def answer(self) -> Any:
        return TelephoneServiceShown

    async def answers(self, ctx: Context, rows: list[TelephoneService]) -> list[Any]:
        """With the number, the SIP user's name, and who is at the extension."""
        users, t = client_users.c, telephone_services
        query = (
            select(t.c.id, dids.c.number, tables.sip_users.c.username)
            .outerjoin(dids, dids.c.id == t.c.did_id)
            .outerjoin(tables.sip_users, tables.sip_users.c.id == t.c.sip_user_id)
            .where(t.c.id.in_([row.id for row in rows]))
        )
        people = select(users.client_id, users.extension, users.name).where(
            users.client_id.in_({row.client_id for row in rows}),
            users.extension.is_not(None),
            users.archived_ms.is_(None),
        )
        at: dict[tuple[int, str], list[str]] = {}
        async with ctx.store.read() as tx:
            found = {row["id"]: row for row in (await tx.execute(query)).mappings()}
            for client_id, extension, name in await tx.execute(people.order_by(users.id)):
                at.setdefault((client_id, extension), []).append(name)
        return [
            TelephoneServiceShown(
                **msgspec.structs.asdict(row),
                number=found[row.id]["number"],
                sip_username=found[row.id]["username"],
                users=tuple(at.get((row.client_id, row.extension), ())),
            )
            for row in rows
        ]

    async def end_all(self, change: Change, client_id: int) -> None:
        """Of a client that became inactive: what its services were stays on record, and they are off.

        The numbers go back: a service keeps none that will be somebody else's.
        """
        for row in await self.rows_of(change.tx, "client_id", client_id):
            written = await self.write(change, row, {"enabled": False, "did_id": None})
            await self._announce(change, "end", row, written)
        await apply_permissions(change, client_id)


TELEPHONE_SERVICES: Final = TelephoneServices()


async def apply_permissions(change: Change, client_id: int) -> None:
    """Bring what a client's SIP users may call to what its services say; the switch has it with this change."""
    clients = tables.clients
    client = (await change.tx.execute(select(clients).where(clients.c.id == client_id))).mappings().one()
    services = await TELEPHONE_SERVICES.rows_of(change.tx, "client_id", client_id)
    query = select(dids.c.number).where(
        dids.c.id.in_([row["did_id"] for row in services if row["did_id"]]), dids.c.archived_ms.is_(None)
    )
    own = sorted((await change.tx.execute(query)).scalars())
    for service in services:
        if service["sip_user_id"] is not None:
            await _permit(change, service["sip_user_id"], permitted(client, service, own))


def permitted(client: RowMapping, service: RowMapping, own_numbers: list[str]) -> list[list[Any]]:
    """Beginnings of numbers with a yes or a no, in order; empty: everything may be called."""
    if not service["enabled"]:
        return [["", False]]
    allowed = set(service["permissions"])
    pairs: dict[str, bool] = {"": "international" in allowed}
    if client["country_code"]:
        pairs[client["country_code"]] = "national" in allowed
    pairs |= dict.fromkeys(client["premium_prefixes"], "premium" in allowed)
    pairs |= dict.fromkeys(own_numbers, "internal" in allowed)
    pairs |= dict.fromkeys(service["barred_prefixes"], False)
    pairs |= dict.fromkeys(service["allowed_prefixes"], True)
    return [] if all(pairs.values()) else [[prefix, pairs[prefix]] for prefix in sorted(pairs)]


async def forget_number(change: Change, did_id: int) -> None:
    """Of a number that its customer has no longer: the service that had it goes on without one."""
    for row in await TELEPHONE_SERVICES.rows_of(change.tx, "did_id", did_id):
        written = await TELEPHONE_SERVICES.write(change, row, {"did_id": None})
        before, after = TELEPHONE_SERVICES.struct(row), TELEPHONE_SERVICES.struct(written)
        await change.audit("update", "telephone_service", row["id"], before=before, after=after)
        await apply_permissions(change, row["client_id"])


async def _permit(change: Change, sip_user_id: int, pairs: list[list[Any]]) -> None:
    users = tables.sip_users
    query = select(users).where(users.c.id == sip_user_id, users.c.archived_ms.is_(None))
    before = (await change.tx.execute(query)).mappings().first()
    if before is None or before["call_permissions"] == pairs:
        return
    written = update(users).where(users.c.id == sip_user_id).values(call_permissions=pairs).returning(users)
    row = (await change.tx.execute(written)).mappings().one()
    await change.audit("permit", "sip_user", sip_user_id, before=before["call_permissions"], after=pairs)
    change.put.append(sip_user_record(row))


async def customer_of(tx: Tx, client_id: int) -> int | None:
    """The customer account of a client, where it has one."""
    c = tables.customers.c
    query = select(c.id).where(c.client_id == client_id, c.archived_ms.is_(None))
    found: int | None = (await tx.execute(query)).scalar_one_or_none()
    return found


async def _check_nobody_there(tx: Tx, service: RowMapping) -> None:
    c = client_users.c
    query = select(c.id, c.name).where(
        c.client_id == service["client_id"], c.extension == service["extension"], c.archived_ms.is_(None)
    )
    people = [Reference("client_user", str(row_id), name) for row_id, name in await tx.execute(query)]
    if people:
        raise Conflict("Users have this extension.", references=people)


async def check_unlinked(tx: Tx, client_id: int) -> None:
    """Raises `Conflict` where a client's services have numbers or SIP users of the account that it gives away."""
    c = telephone_services.c
    has_something = c.did_id.is_not(None) | c.sip_user_id.is_not(None)
    query = select(c.id, c.extension).where(c.client_id == client_id, c.archived_ms.is_(None), has_something)
    found = [Reference("telephone_service", str(row_id), name) for row_id, name in await tx.execute(query.limit(100))]
    if found:
        detail = "The client's telephone services have numbers or SIP users of this customer."
        raise Conflict(detail, errors=[FieldError("client_id", detail)], references=found)


async def check_country_free(tx: Tx, client_id: int) -> None:
    """Raises `Conflict` where services of a client tell national from international calls: that needs its country."""
    found = [
        Reference("telephone_service", str(row["id"]), row["extension"])
        for row in await TELEPHONE_SERVICES.rows_of(tx, "client_id", client_id)
        if ("national" in row["permissions"]) != ("international" in row["permissions"])
    ]
    if found:
        detail = "Telephone services tell national from international calls by it."
        raise Conflict(detail, errors=[FieldError("country_code", detail)], references=found[:100])


async def of_sip_user(tx: Tx, sip_user_id: int) -> list[Reference]:
    """The service that a SIP user is part of."""
    c = telephone_services.c
    query = select(c.id, c.extension).where(c.sip_user_id == sip_user_id, c.archived_ms.is_(None))
    return [Reference("telephone_service", str(row_id), extension) for row_id, extension in await tx.execute(query)]


def _refusal(path: str, detail: str) -> Conflict:
    return Conflict(detail, errors=[FieldError(path, detail)])
