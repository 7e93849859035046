"""People of a client: name, e-mail, roles, extension, and an account on the building's Wi-Fi.

The users of the management client are the staff. A Wi-Fi account has a name and a password that is made
here, shown once and kept as a hash. It lets somebody in while it is on, its user is enabled and the
client is active: a suspended client's accounts are off, and are on again by themselves after it.
"""

from __future__ import annotations

import re
import secrets
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta
from sqlalchemy import select
from sqlalchemy.engine import RowMapping

from control.services.context import Change, Context
from control.services.email_addresses import check_email, email_key
from control.services.errors import Conflict, FieldError, invalid
from control.services.fields import Id, Label, Moment, Name, Notes, check_name, moment_or_none
from control.services.nouns import Noun
from control.services.owners import require
from control.services.pages import ListQuery
from control.services.portal_gate import address_key
from control.services.telephone_services import Extension
from control.store import tables
from control.store.client_service_tables import client_users, networks, telephone_services
from control.store.engine import Tx

UserRole = Literal["user", "admin", "billing", "technical", "reception"]
PASSWORD_BYTES: Final = 9
"""12 characters, 72 bits: it is typed on telephones."""
ACCOUNT_CHARACTERS_MAX: Final = 40


class ClientUserNew(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    client_id: Id
    name: Name
    email: Label
    """One user of all clients has it, whatever the case."""
    roles: Annotated[tuple[UserRole, ...], Meta(max_length=5)] = ("user",)
    extension: Extension | None = None
    """Of one of the client's telephone services."""
    wifi: bool = False
    """Its Wi-Fi account. Each time it is turned on a password is made, and shown in that answer alone."""
    enabled: bool = True
    notes: Notes = ""


class ClientUser(ClientUserNew, frozen=True, kw_only=True):
    id: int
    row_version: int
    created_at: Moment
    updated_at: Moment
    wifi_account: str | None
    wifi_password_set_at: Moment | None
    wifi_password: str | None = None
    """Made by this very request; it is never shown again."""


class ClientUserShown(ClientUser, frozen=True, kw_only=True):
    is_staff: bool
    wifi_is_on: bool
    """Whether the account lets somebody in now."""


class ClientUserQuery(ListQuery, frozen=True, kw_only=True):
    client_id: Id | None = None
    email: Label | None = None
    extension: Label | None = None
    enabled: bool | None = None
    wifi: bool | None = None
    is_staff: bool | None = None


class WifiCheck(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    account: Label
    password: Annotated[str, Meta(max_length=200)]


class WifiAnswer(msgspec.Struct, frozen=True, kw_only=True):
    is_accepted: bool
    client_id: int | None = None
    user_id: int | None = None
    vlans: tuple[int, ...] = ()
    """Of the client's networks, that the access point may put it into."""


class ClientUsers(Noun[ClientUserNew, ClientUser]):
    name = "client_user"
    table = client_users
    new = ClientUserNew
    out = ClientUser
    fixed = ("client_id",)
    # It makes a password, which a change that is made later shows to nobody.
    unscheduled = ("wifi",)
    sorts = ("id", "name", "email", "client_id", "created_at", "updated_at")
    search = ("name", "email", "extension", "wifi_account")

    async def check(
        self, ctx: Context, change: Change, new: ClientUserNew, before: RowMapping | None
    ) -> dict[str, Any]:
        client = await require(change.tx, tables.clients, "client_id", "client", new.client_id)
        if before is None and client["status"] == "inactive":
            raise _refusal("client_id", "An inactive client has no new users.")
        check_name("name", new.name)
        check_email("email", new.email)
        key = email_key(new.email)
        await self.check_unique(change.tx, before, "email", "Another user has this address.", email_key=key)
        if new.extension is not None and (before is None or before["extension"] != new.extension):
            await _check_extension(change.tx, new.client_id, new.extension)
        values: dict[str, Any] = {"email_key": key, "roles": sorted(set(new.roles))}
        if new.wifi and (before is None or before["wifi_account"] is None):
            values["wifi_account"] = await self._free_account(change.tx, key)
        if not new.wifi:
            values |= {"wifi_hash": "", "wifi_set_ms": None}
        return values

    async def create_in(self, ctx: Context, change: Change, new: ClientUserNew, **more: Any) -> ClientUser:
        made = await super().create_in(ctx, change, new, **more)
        return await self._give_password(ctx, change, made.id) if new.wifi else made

    async def update_in(
        self, ctx: Context, change: Change, row_id: int, sent: dict[str, Any], expected: int | None = None
    ) -> ClientUser:
        before = await self.row(change.tx, row_id)
        changed = await super().update_in(ctx, change, row_id, sent, expected)
        return await self._give_password(ctx, change, row_id) if changed.wifi and not before["wifi"] else changed

    async def new_password(self, ctx: Context, row_id: int) -> ClientUser:
        """Another password for an account that is on; the one before opens nothing from now on."""
        async with ctx.change() as change:
            row = await self.row(change.tx, row_id)
            if not row["wifi"]:
                raise _refusal("wifi", "The user has no Wi-Fi account; turn it on.")
            return await self._give_password(ctx, change, row_id)

    def shown(self, row: RowMapping) -> dict[str, Any]:
        return {
            "wifi_account": row["wifi_account"],
            "wifi_password_set_at": moment_or_none(row["wifi_set_ms"]),
        }

    @property
    def answer(self) -> Any:
        return ClientUserShown

    async def answers(self, ctx: Context, rows: list[ClientUser]) -> list[Any]:
        c = tables.clients.c
        query = select(c.id, c.status, c.is_management).where(c.id.in_({row.client_id for row in rows}))
        async with ctx.store.read() as tx:
            clients = {row["id"]: row for row in (await tx.execute(query)).mappings()}
        return [
            ClientUserShown(
                **msgspec.structs.asdict(row),
                is_staff=clients[row.client_id]["is_management"],
                wifi_is_on=row.wifi and row.enabled and clients[row.client_id]["status"] == "active",
            )
            for row in rows
        ]

    def filtered(self, query: ListQuery) -> Any:
        statement = super().filtered(query)
        is_staff = getattr(query, "is_staff", None)
        if is_staff is not None:
            house = select(tables.clients.c.id).where(tables.clients.c.is_management.is_(True))
            mine = client_users.c.client_id.in_(house)
            statement = statement.where(mine if is_staff else ~mine)
        return statement

    async def _give_password(self, ctx: Context, change: Change, row_id: int) -> ClientUser:
        password = secrets.token_urlsafe(PASSWORD_BYTES)
        values = {"wifi_hash": await ctx.portal.hash_password(password), "wifi_set_ms": change.now_ms}
        before = await self.row(change.tx, row_id)
        out = await self._announce(change, "set_wifi_password", before, await self.write(change, before, values))
        return msgspec.structs.replace(out, wifi_password=password)

    async def _free_account(self, tx: Tx, key: str) -> str:
        """What stands before the `@`, with a number behind it where somebody has that already."""
        plain = re.sub(r"[^a-z0-9.-]", "", key.partition("@")[0])[:ACCOUNT_CHARACTERS_MAX] or "user"
        account, number = plain, 1
        c = self.table.c
        while True:
            taken = select(c.id).where(c.wifi_account == account, c.archived_ms.is_(None)).limit(1)
            if (await tx.execute(taken)).scalar_one_or_none() is None:
                return account
            number += 1
            account = f"{plain}{number}"


CLIENT_USERS: Final = ClientUsers()


async def check_wifi(ctx: Context, asked: WifiCheck, address: str) -> WifiAnswer:
    """Whether the network may let somebody in: for its RADIUS server, which asks with what was typed.

    Wrong names and wrong passwords cannot be told apart. After some wrong tries an account is not looked
    at for a while.
    """
    c = client_users.c
    key = f"wifi:{asked.account}@{address_key(address)}"
    ctx.portal.pairs.check(key)
    query = (
        select(client_users, tables.clients.c.status)
        .join(tables.clients, tables.clients.c.id == c.client_id)
        .where(c.wifi_account == asked.account, c.archived_ms.is_(None))
    )
    async with ctx.store.read() as tx:
        row = (await tx.execute(query)).mappings().first()
    hashed = "" if row is None else row["wifi_hash"]
    if not await ctx.portal.is_password(hashed, asked.password):
        ctx.portal.pairs.note(key)
        return WifiAnswer(is_accepted=False)
    assert row is not None, "without a row there is no hash, which no password fits"
    if not (row["wifi"] and row["enabled"] and row["status"] == "active"):
        return WifiAnswer(is_accepted=False)
    ctx.portal.pairs.forget(key)
    n = networks.c
    vlans = select(n.vlan).where(n.client_id == row["client_id"], n.archived_ms.is_(None)).order_by(n.vlan)
    async with ctx.store.read() as tx:
        found = tuple(dict.fromkeys((await tx.execute(vlans)).scalars()))
    return WifiAnswer(is_accepted=True, client_id=row["client_id"], user_id=row["id"], vlans=found)


async def _check_extension(tx: Tx, client_id: int, extension: str) -> None:
    c = telephone_services.c
    query = select(c.id).where(c.client_id == client_id, c.extension == extension, c.archived_ms.is_(None))
    if (await tx.execute(query)).scalar_one_or_none() is None:
        raise invalid("extension", "none of the client's telephone services has it")


def _refusal(path: str, detail: str) -> Conflict:
    return Conflict(detail, errors=[FieldError(path, detail)])
