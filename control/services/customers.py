"""Customers: whose calls come in, and what they may cost."""

from __future__ import annotations

import re
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta
from sqlalchemy import String, Table, cast, func, or_, select
from sqlalchemy.engine import RowMapping

from control.services.accounts import read_money
from control.services.alerts import ALERTS
from control.services.cli_rules import CLI_RULES
from control.services.clients import CLIENTS
from control.services.contacts import CONTACTS, end_tokens
from control.services.context import Change, Context
from control.services.currencies import check_currency
from control.services.did_life import release_numbers
from control.services.email_addresses import check_email
from control.services.endpoints import ENDPOINTS
from control.services.errors import Conflict, FieldError, Invalid, NotFound, Reference, SwitchAway, gathered, invalid
from control.services.fields import (
    Amount,
    Channels,
    Cps,
    Currency,
    Id,
    Label,
    Moment,
    Name,
    Notes,
    OwnHeaders,
    Percent,
    Timers,
    amount_nanos,
    check_time_zone,
    ms_moment,
)
from control.services.hosts import networks_around
from control.services.ingress_routes import INGRESS_ROUTES
from control.services.nouns import Noun
from control.services.number_blocks import NUMBER_BLOCKS
from control.services.one_by_one import work_through
from control.services.pages import ListQuery, Search, contains, filter_rows
from control.services.records import customer_record
from control.services.sip_users import SIP_USERS
from control.services.telephone_services import check_unlinked
from control.services.webhooks import WEBHOOKS
from control.store import tables
from control.store.contact_tables import contacts
from control.store.did_tables import dids
from control.store.engine import Tx, to_json
from switch.snapshot import Record

Status = Literal["pending_approval", "active", "inactive", "penalty"]
Tag = Annotated[str, Meta(min_length=1, max_length=60, pattern=r"^(?![\s\S]*[\x00-\x1f\x7f])")]

MOVES: Final[dict[Status, tuple[Status, ...]]] = {
    "pending_approval": ("active", "inactive"),
    "active": ("inactive", "penalty"),
    "inactive": ("active",),
    "penalty": ("active", "inactive"),
}
"""From each status to where; nobody goes back to waiting for approval."""


class CustomerNew(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: Name
    status: Status = "active"
    penalty_until: Moment | None = None
    """With status `penalty`, and only then: when it ends by itself."""
    currency: Currency = "USD"
    client_id: Id | None = None
    """The client whose telephony this is; a client has one such account at most."""
    debit_limit: Amount = "0"
    """How far below zero the balance may go; below 0 it is a buffer that cannot be spent."""
    minimum_payment: Amount | None = None
    minimum_payment_period: Literal["daily", "weekly", "monthly"] | None = None
    tax_percent: Percent = "0"
    paypal_email: Label = ""
    website: Label = ""
    address: Notes = ""
    portal_access: bool = False
    channels: Channels | None = None
    flow_speed_cps: Cps | None = None
    daily_spend_limit: Amount | None = None
    allow_inbound_without_credit: bool = False
    timers: Timers = Timers()
    time_zone: Label = "UTC"
    trust_pai: bool = False
    """Its P-Asserted-Identity says who is calling and goes on to vendors; else it stops here."""
    allowed_headers: OwnHeaders = ()
    tags: Annotated[tuple[Tag, ...], Meta(max_length=50)] = ()
    notes_public: Notes = ""
    notes_private: Notes = ""


class Customer(CustomerNew, frozen=True, kw_only=True):
    id: int
    row_version: int
    created_at: Moment
    updated_at: Moment


class CustomerShown(Customer, frozen=True, kw_only=True):
    """A customer with its money as of now: `control.services.accounts.Money` says what each is."""

    balance: str
    held: str
    available: str
    spent_today: str
    is_balance_live: bool


_InStatus = Annotated[Status | None, Meta(description="In this state.")]
_InCurrency = Annotated[Label | None, Meta(description="With an account in this currency.")]
_OfClient = Annotated[Id | None, Meta(description="Of this client's telephony.")]
_WithTag = Annotated[Tag | None, Meta(description="With exactly this tag.")]
_WithPortal = Annotated[bool | None, Meta(description="Whose contacts may log in, or may not.")]
_InZone = Annotated[Label | None, Meta(description="With days of this time zone.")]
_Found = Annotated[
    Search,
    Meta(
        description="Part of a name, tag, address or e-mail address, of a contact's name, login or phone number, "
        "or of what calls come with: an endpoint's host, a SIP user's name, a DID. A whole IP address is found "
        "in the blocks of endpoints too, and a number with or without + and blanks."
    ),
]


class CustomerFilter(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which customers: those of which all that is given is so."""

    status: _InStatus = None
    currency: _InCurrency = None
    client_id: _OfClient = None
    tag: _WithTag = None
    portal_access: _WithPortal = None
    time_zone: _InZone = None
    search: _Found = ""


class CustomerQuery(ListQuery, frozen=True, kw_only=True):
    """The same of a list by pages: a struct has one base."""

    status: _InStatus = None
    currency: _InCurrency = None
    client_id: _OfClient = None
    tag: _WithTag = None
    portal_access: _WithPortal = None
    time_zone: _InZone = None
    search: _Found = ""


SEARCHED: Final[tuple[tuple[Table, str], ...]] = (
    (tables.endpoints, "host"),
    (tables.sip_users, "username"),
    (dids, "number"),
    (contacts, "name"),
    (contacts, "email"),
    (contacts, "phone"),
)
"""Where a search for a customer looks beside its own row: tables with `customer_id` and `archived_ms`."""
IN_ANY_SCRIPT: Final = ((contacts, "name"), (contacts, "email"))
"""Those of them that hold more than ASCII: hosts and user names need not be looked through for what they never have."""
NUMBERS: Final = ((dids, "number"), (contacts, "phone"))
"""Where a number is found however it was typed."""
_SEPARATORS: Final = re.compile(r"^\s*\+|[\s()/-]")


class Customers(Noun[CustomerNew, Customer]):
    name = "customer"
    table = tables.customers
    new = CustomerNew
    out = Customer
    amounts = ("debit_limit", "minimum_payment", "daily_spend_limit")
    moments = ("penalty_until",)
    fixed = ("currency",)
    event = "customer.changed"
    sorts = ("name", "id", "status", "created_at", "updated_at")
    search = ("name_key", "tags", "paypal_email", "address")

    def merged(self, before: RowMapping, sent: dict[str, Any]) -> CustomerNew:
        # Who lifts a penalty has said all that there is to say.
        if before["status"] == "penalty" and sent.get("status", "penalty") != "penalty":
            sent = {"penalty_until": None, **sent}
        return super().merged(before, sent)

    async def check(self, ctx: Context, change: Change, new: CustomerNew, before: RowMapping | None) -> dict[str, Any]:
        columns = self.columns(new)
        detail = "Another customer has this name."
        await self.check_unique(change.tx, before, "name", detail, name_key=columns["name_key"])
        found: list[FieldError] = []
        with gathered(found):
            check_currency("currency", new.currency)
        with gathered(found):
            check_time_zone("time_zone", new.time_zone)
        if new.paypal_email:
            with gathered(found):
                check_email("paypal_email", new.paypal_email)
        if new.website:
            with gathered(found):
                _check_website("website", new.website)
        for path in ("minimum_payment", "daily_spend_limit"):
            amount = getattr(new, path)
            if amount is not None and amount_nanos(path, amount) < 0:
                found.append(FieldError(path, "below 0"))
        is_period_new = before is None or before["minimum_payment_period"] != new.minimum_payment_period
        if is_period_new and new.minimum_payment_period is not None and new.minimum_payment is None:
            found.append(FieldError("minimum_payment_period", "needs a minimum_payment"))
        with gathered(found):
            _check_status(new, before, columns["penalty_until_ms"], change.now_ms)
        if before is not None and before["client_id"] not in (None, new.client_id):
            await check_unlinked(change.tx, before["client_id"])
        if new.client_id is not None and (before is None or before["client_id"] != new.client_id):
            with gathered(found):
                await self._check_client(change.tx, new.client_id, before)
        if found:
            raise Invalid(found)
        if before is not None and before["portal_access"] and not new.portal_access:
            for contact in await CONTACTS.rows_of(change.tx, "customer_id", before["id"]):
                await end_tokens(change, contact["id"])
        # The same tag twice is one.
        return {"tags": list(dict.fromkeys(new.tags))}

    async def archive(self, ctx: Context, row_id: int, expected: int | None = None) -> None:
        """As every row, and never under live calls: they would end in an account that is gone."""
        if not ctx.is_rehearsal:
            await _check_no_calls(ctx, row_id)
        await super().archive(ctx, row_id, expected)

    def event_customer(self, row: RowMapping) -> int:
        return int(row["id"])

    async def archive_owned(self, change: Change, row: RowMapping) -> None:
        await release_numbers(change, row["id"], "the customer was archived")
        for noun in (
            ENDPOINTS,
            SIP_USERS,
            NUMBER_BLOCKS,
            INGRESS_ROUTES,
            CLI_RULES,
            CONTACTS,
            ALERTS,
            WEBHOOKS,
        ):
            for owned in await noun.rows_of(change.tx, "customer_id", row["id"]):
                await noun.archive_in(change, owned["id"])

    async def record(self, tx: Tx, row: RowMapping) -> Record:
        return customer_record(row)

    @property
    def answer(self) -> type[CustomerShown]:
        return CustomerShown

    async def answers(self, ctx: Context, rows: list[Customer]) -> list[Any]:
        """With money, which one question to the switch brings for all of them."""
        table = self.table
        query = select(table.c.id, table.c.time_zone, table.c.debit_limit_nanos)
        async with ctx.store.read() as tx:
            facts = await tx.execute(query.where(table.c.id.in_([row.id for row in rows])))
            customers = list(facts.mappings())
        money = await read_money(ctx, customers)
        return [CustomerShown(**msgspec.structs.asdict(row), **msgspec.structs.asdict(money[row.id])) for row in rows]

    def filtered(self, query: ListQuery) -> Any:
        """Search also finds a customer by the addresses and names that its calls come with."""
        statement = filter_rows(self.table, msgspec.structs.replace(query, search=""), ())
        tag = getattr(query, "tag", None)
        if tag is not None:
            # A tag is a whole string in the list's JSON. LIKE would fold case on SQLite alone.
            listed = cast(self.table.c.tags, String)
            statement = statement.where(func.replace(listed, to_json(tag), "") != listed)
        if not query.search:
            return statement
        found = [contains(self.table, name, query.search) for name in self.search]
        number = _SEPARATORS.sub("", query.search)
        # What belongs to customers is looked through once, not customer by customer.
        searched = SEARCHED if query.search.isascii() else IN_ANY_SCRIPT
        for table in dict.fromkeys(table for table, _ in searched):
            columns = [contains(table, column, query.search) for each, column in searched if each is table]
            if number != query.search and number.isdecimal():
                columns += [contains(table, column, number) for each, column in NUMBERS if each is table]
            if table is tables.endpoints:
                columns.append(table.c.host.in_(networks_around(query.search)))
            theirs = select(table.c.customer_id).where(table.c.archived_ms.is_(None), or_(*columns))
            found.append(self.table.c.id.in_(theirs))
        return statement.where(or_(*found))

    async def _check_client(self, tx: Tx, client_id: int, before: RowMapping | None) -> None:
        try:
            client = await CLIENTS.row(tx, client_id)
        except NotFound as error:
            raise invalid("client_id", f"there is no client {client_id}") from error
        if client["status"] == "inactive":
            detail = "An inactive client gets no customer account."
            raise Conflict(detail, errors=[FieldError("client_id", detail)])
        detail = "The client has a customer account already."
        await self.check_unique(tx, before, "client_id", detail, client_id=client_id)


CUSTOMERS: Final = Customers()


async def _check_no_calls(ctx: Context, customer_id: int) -> None:
    try:
        calls = await ctx.switch.list_calls(customer_id)
    except SwitchAway as error:
        raise Conflict("Whether the customer has live calls is not known while the switch is away.") from error
    if calls:
        references = [Reference(noun="call", id=call.cdr_id, name=call.dialled) for call in calls[:100]]
        raise Conflict(f"The customer has {len(calls)} live calls.", references=references)


async def end_penalties(ctx: Context) -> int:
    """Make customers active again whose penalty is over; how many. The switch knows the time by itself."""
    async with ctx.store.read() as tx:
        ids = [row["id"] for row in _ended(await CUSTOMERS.rows_of(tx, "status", "penalty"), ctx.now_ms())]

    async def end_penalty(change: Change, customer_id: int) -> int:
        ended = _ended(await CUSTOMERS.rows_of(change.tx, "id", customer_id), change.now_ms)
        if not ended or ended[0]["status"] != "penalty":
            return 0
        await CUSTOMERS.update_in(ctx, change, customer_id, {"status": "active", "penalty_until": None})
        return 1

    return await work_through(ctx, "customer", ids, end_penalty)


def _ended(rows: list[RowMapping], now_ms: int) -> list[RowMapping]:
    return [row for row in rows if row["penalty_until_ms"] is not None and row["penalty_until_ms"] <= now_ms]


def _check_status(new: CustomerNew, before: RowMapping | None, until_ms: int | None, now_ms: int) -> None:
    was = None if before is None else before["status"]
    if was is not None and was != new.status and new.status not in MOVES[was]:
        detail = f"A customer cannot go from {was} to {new.status}."
        raise Conflict(detail, errors=[FieldError("status", detail)])
    if new.status != "penalty":
        if until_ms is not None:
            raise invalid("penalty_until", "only with status penalty")
    elif was != "penalty" or before is None or before["penalty_until_ms"] != until_ms:
        if until_ms is None:
            raise invalid("penalty_until", "a penalty needs an end")
        if until_ms <= now_ms:
            raise invalid("penalty_until", f"not after now ({ms_moment(now_ms).isoformat()})")


def _check_website(path: str, text: str) -> None:
    try:
        parts = urlsplit(text)
        is_good = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        is_good = False
    if not is_good or any(character.isspace() for character in text):
        raise invalid(path, "not an http or https URL")
