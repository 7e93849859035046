"""The wizard that adds a client step by step: what is entered is saved, and can be gone on with at any time.

Each step writes the very rows that it is about, by their own rules: a room that is entered is taken from
then on, a number in use is refused at once. Until it is finished the client is `new`: it cannot call, has
no internet and is not billed. A step that is entered again replaces what it said before. Abandoning it
takes back all of it.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta
from sqlalchemy import select
from sqlalchemy.engine import RowMapping

from control.services import client_endings
from control.services.client_rules import default_end
from control.services.client_users import CLIENT_USERS, ClientUserNew, ClientUserShown, UserRole
from control.services.clients import CLIENTS, ClientNew, ClientShown, CountryCode, Day, ExternalId, Kind
from control.services.context import Change, Context
from control.services.customers import CUSTOMERS, CustomerNew
from control.services.days import DayText, begin_ms
from control.services.errors import Conflict, FieldError, Invalid, invalid, named_as
from control.services.fields import Currency, Id, Label, Name, Notes, Percent
from control.services.hosts import Host
from control.services.networks import NETWORKS, NetworkNew, NetworkShown, Vlan
from control.services.nouns import Noun
from control.services.occupancies import OCCUPANCIES, OccupancyNew, OccupancyShown
from control.services.purchases import PURCHASES, Purchase, PurchaseNew, Quantity
from control.services.telephone_services import (
    TELEPHONE_SERVICES,
    Extension,
    Permission,
    Prefix,
    Prefixes,
    TelephoneServiceNew,
    TelephoneServiceShown,
    customer_of,
)
from control.store import tables
from control.store.engine import Tx

Step = Literal["client", "dates", "offices", "products", "telephony", "users", "network"]
STEPS: Final[tuple[Step, ...]] = ("client", "dates", "offices", "products", "telephony", "users", "network")
NEEDED: Final = frozenset({"client", "dates"})
"""Of every client; of a residential one its offices, too."""


class ClientStep(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: Name
    type: Kind = "residential"
    billing_ref: Label = ""
    address: Notes = ""
    external_ids: Annotated[tuple[ExternalId, ...], Meta(max_length=100)] = ()
    time_zone: Label = "UTC"
    currency: Currency = "USD"
    tax_percent: Percent = "0"
    country_code: CountryCode = ""
    premium_prefixes: Annotated[tuple[Prefix, ...], Meta(max_length=500)] = ()


class DatesStep(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    start_date: Day
    """In the future: the client is scheduled when the wizard is finished; else it is active at once."""
    end_date: Day | None = None
    contract_end: Day | None = None


class OfficeItem(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    office_id: Id
    start_date: DayText | None = None
    end_date: DayText | None = None
    notes: Notes = ""


class OfficesStep(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    items: Annotated[tuple[OfficeItem, ...], Meta(max_length=200)]


class ProductItem(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    product_id: Id
    quantity: Quantity = 1
    start_date: DayText | None = None
    end_date: DayText | None = None
    notes: Notes = ""


class ProductsStep(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    items: Annotated[tuple[ProductItem, ...], Meta(max_length=200)]


class TelephonyItem(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    extension: Extension
    name: Label = ""
    did_id: Id | None = None
    sip_user_id: Id | None = None
    permissions: Annotated[tuple[Permission, ...], Meta(max_length=4)] = ("internal", "national", "international")
    allowed_prefixes: Prefixes = ()
    barred_prefixes: Prefixes = ()
    notes: Notes = ""


class TelephonyStep(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    customer_id: Id | None = None
    """An account that is there already becomes the client's …"""
    new_customer: Name | None = None
    """… or one of this name is made, in the client's currency and time zone."""
    items: Annotated[tuple[TelephonyItem, ...], Meta(max_length=200)] = ()


class UserItem(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: Name
    email: Label
    roles: Annotated[tuple[UserRole, ...], Meta(max_length=5)] = ("user",)
    extension: Extension | None = None
    wifi: bool = False
    notes: Notes = ""


class UsersStep(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    items: Annotated[tuple[UserItem, ...], Meta(max_length=200)]


class NetworkItem(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    site_id: Id
    vlan: Vlan
    subnet: Host
    gateway: Host
    dns: Annotated[tuple[Host, ...], Meta(max_length=8)] = ()
    public_addresses: Annotated[tuple[Host, ...], Meta(max_length=256)] = ()
    notes: Notes = ""


class NetworkStep(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    items: Annotated[tuple[NetworkItem, ...], Meta(max_length=50)]


class StepState(msgspec.Struct, frozen=True, kw_only=True):
    step: Step
    is_done: bool
    is_needed: bool


class Wizard(msgspec.Struct, frozen=True, kw_only=True):
    """All that was entered until now, and what is still to come."""

    client: ClientShown
    row_version: int
    """The client's, for `If-Match`."""
    steps: list[StepState]
    next_step: Step | None
    """The first that is not done; null: all are."""
    missing: list[Step]
    """What it cannot be finished without."""
    customer_id: int | None
    occupancies: list[OccupancyShown]
    purchases: list[Purchase]
    telephone_services: list[TelephoneServiceShown]
    users: list[ClientUserShown]
    """With Wi-Fi passwords of those that this very request has made."""
    networks: list[NetworkShown]


async def start(ctx: Context, new: ClientStep) -> Wizard:
    async with ctx.change() as change:
        fields = msgspec.to_builtins(new)
        made = await CLIENTS.create_in(ctx, change, msgspec.convert(fields, ClientNew), wizard=["client"])
    return await read(ctx, made.id)


async def read(ctx: Context, client_id: int) -> Wizard:
    async with ctx.store.read() as tx:
        row = await _open_row(tx, client_id)
    return await _wizard(ctx, row, {})


async def save(ctx: Context, client_id: int, step: Step, new: Any, expected: int | None) -> Wizard:
    """Save one step: all of it, or nothing and every mistake by its field."""
    passwords: dict[int, str] = {}
    async with ctx.change() as change:
        row = await _open_row(change.tx, client_id)
        await CLIENTS.update_in(ctx, change, client_id, {}, expected)
        if step == "client":
            await _save_client(ctx, change, row, new)
        elif step == "dates":
            await _save_dates(ctx, change, row, new)
        elif step == "offices":
            await _replace(ctx, change, OCCUPANCIES, client_id, OccupancyNew, new.items)
        elif step == "products":
            await _replace(ctx, change, PURCHASES, client_id, PurchaseNew, new.items)
        elif step == "telephony":
            await _save_account(ctx, change, row, new)
            await _match(ctx, change, TELEPHONE_SERVICES, client_id, TelephoneServiceNew, new.items, "extension")
        elif step == "users":
            made = await _match(ctx, change, CLIENT_USERS, client_id, ClientUserNew, new.items, "email")
            passwords = {user.id: user.wifi_password for user in made if user.wifi_password}
        else:
            await _replace(ctx, change, NETWORKS, client_id, NetworkNew, new.items)
        row = await CLIENTS.row(change.tx, client_id)
        done = set(row["wizard"]) | {step}
        if row["type"] == "virtual":
            done.discard("offices")
        row = await CLIENTS.write(change, row, {"wizard": [each for each in STEPS if each in done]})
        await change.audit("wizard_step", "client", client_id, after={"step": step})
    return await _wizard(ctx, row, passwords)


async def finish(ctx: Context, client_id: int, expected: int | None) -> ClientShown:
    """Activate the client, or schedule it where its start lies ahead; what is missing is named by its step."""
    async with ctx.change() as change:
        row = await _open_row(change.tx, client_id)
        missing = await _missing(change.tx, row)
        if missing:
            raise Invalid([FieldError(step, "not entered yet") for step in missing])
        is_waiting = row["starts_at_ms"] is not None and row["starts_at_ms"] > change.now_ms
        status = "scheduled" if is_waiting else "active"
        client = await CLIENTS.update_in(ctx, change, client_id, {"status": status}, expected)
    (shown,) = await CLIENTS.answers(ctx, [client])
    return shown  # type: ignore[no-any-return]


async def abandon(ctx: Context, client_id: int, expected: int | None) -> None:
    """Take back all of it. A customer account is kept, and is nobody's again."""
    async with ctx.change() as change:
        row = await _open_row(change.tx, client_id)
        await client_endings.archive_owned(change, row)
        customer_id = await customer_of(change.tx, client_id)
        if customer_id is not None:
            await CUSTOMERS.update_in(ctx, change, customer_id, {"client_id": None})
        await CLIENTS.archive_in(change, client_id, expected)


async def _save_client(ctx: Context, change: Change, row: RowMapping, new: ClientStep) -> None:
    if new.type == "virtual":
        # Rooms were only reserved.
        await _clear(change, OCCUPANCIES, row["id"])
    await CLIENTS.update_in(ctx, change, row["id"], msgspec.to_builtins(new))


async def _save_dates(ctx: Context, change: Change, row: RowMapping, new: DatesStep) -> None:
    """An end that is left out is a year after the start, also where another was entered before."""
    begin_ms("start_date", new.start_date, row["time_zone"])
    end_date = new.end_date or default_end(new.start_date, row["time_zone"])
    sent = {**msgspec.to_builtins(new), "end_date": end_date}
    await CLIENTS.update_in(ctx, change, row["id"], sent)


async def _save_account(ctx: Context, change: Change, row: RowMapping, new: TelephonyStep) -> None:
    """Make or link the customer account, where the step names one that is not the client's yet."""
    if new.customer_id is not None and new.new_customer is not None:
        raise invalid("new_customer", "either this or customer_id")
    linked = await customer_of(change.tx, row["id"])
    if new.new_customer is not None:
        account = CustomerNew(
            name=new.new_customer, client_id=row["id"], currency=row["currency"], time_zone=row["time_zone"]
        )
        with named_as("new_customer", {"name": "", "client_id": ""}):
            await CUSTOMERS.create_in(ctx, change, account)
    elif new.customer_id is not None and new.customer_id != linked:
        customer = (
            (await change.tx.execute(select(tables.customers).where(tables.customers.c.id == new.customer_id)))
            .mappings()
            .first()
        )
        if customer is None or customer["archived_ms"] is not None:
            raise invalid("customer_id", f"there is no customer {new.customer_id}")
        if customer["client_id"] is not None:
            detail = "The customer is another client's account."
            raise Conflict(detail, errors=[FieldError("customer_id", detail)])
        with named_as("customer_id", {"client_id": ""}):
            await CUSTOMERS.update_in(ctx, change, new.customer_id, {"client_id": row["id"]})


async def _replace(
    ctx: Context, change: Change, noun: Noun[Any, Any], client_id: int, kind: Any, items: tuple[Any, ...]
) -> None:
    """Let these be all that the client has of a noun: nothing of it has begun."""
    await _clear(change, noun, client_id)
    for n, item in enumerate(items):
        with named_as(f"items[{n}]"):
            await noun.create_in(ctx, change, _new(kind, client_id, item))


async def _match(
    ctx: Context,
    change: Change,
    noun: Noun[Any, Any],
    client_id: int,
    kind: Any,
    items: tuple[Any, ...],
    key: str,
) -> list[Any]:
    """The same for what one field tells apart: what is there already is changed, and keeps its id."""
    known = {row[key].casefold(): row for row in await noun.rows_of(change.tx, "client_id", client_id)}
    named = [getattr(item, key).casefold() for item in items]
    for n, name in enumerate(named):
        if name in named[:n]:
            raise invalid(f"items[{n}].{key}", "given twice")
    for name, row in known.items():
        if name not in named:
            await noun.archive_in(change, row["id"])
    saved = []
    for n, (name, item) in enumerate(zip(named, items, strict=True)):
        with named_as(f"items[{n}]"):
            if name in known:
                saved.append(await noun.update_in(ctx, change, known[name]["id"], msgspec.to_builtins(item)))
            else:
                saved.append(await noun.create_in(ctx, change, _new(kind, client_id, item)))
    return saved


async def _clear(change: Change, noun: Noun[Any, Any], client_id: int) -> None:
    for row in await noun.rows_of(change.tx, "client_id", client_id):
        await noun.archive_in(change, row["id"])


def _new(kind: Any, client_id: int, item: msgspec.Struct) -> Any:
    return msgspec.convert({**msgspec.to_builtins(item), "client_id": client_id}, kind)


async def _open_row(tx: Tx, client_id: int) -> RowMapping:
    row = await CLIENTS.row(tx, client_id)
    if row["wizard"] is None:
        raise Conflict("The client is not in the wizard: it is finished, or was made without.")
    return row


async def _missing(tx: Tx, row: RowMapping) -> list[Step]:
    done = set(row["wizard"])
    if "offices" in done and not await OCCUPANCIES.rows_of(tx, "client_id", row["id"]):
        done.discard("offices")
    return [step for step in STEPS if _is_needed(step, row) and step not in done]


def _is_needed(step: Step, row: RowMapping) -> bool:
    return step in NEEDED or (step == "offices" and row["type"] == "residential")


async def _wizard(ctx: Context, row: RowMapping, passwords: dict[int, str]) -> Wizard:
    async with ctx.store.read() as tx:
        missing = await _missing(tx, row)
        customer_id = await customer_of(tx, row["id"])
        found: dict[str, list[Any]] = {}
        for noun in (OCCUPANCIES, PURCHASES, TELEPHONE_SERVICES, CLIENT_USERS, NETWORKS):
            rows = await noun.rows_of(tx, "client_id", row["id"])
            found[noun.name] = [noun.struct(each) for each in rows]
    users = [msgspec.structs.replace(user, wifi_password=passwords.get(user.id)) for user in found["client_user"]]
    (client,) = await CLIENTS.answers(ctx, [CLIENTS.struct(row)])
    steps = [step for step in STEPS if step != "offices" or row["type"] == "residential"]
    return Wizard(
        client=client,
        row_version=row["row_version"],
        steps=[StepState(step=step, is_done=step in row["wizard"], is_needed=_is_needed(step, row)) for step in steps],
        next_step=next((step for step in steps if step not in row["wizard"]), None),
        missing=missing,
        customer_id=customer_id,
        occupancies=await OCCUPANCIES.answers(ctx, found["occupancy"]),
        purchases=found["purchase"],
        telephone_services=await TELEPHONE_SERVICES.answers(ctx, found["telephone_service"]),
        users=await CLIENT_USERS.answers(ctx, users),
        networks=await NETWORKS.answers(ctx, found["network"]),
    )
