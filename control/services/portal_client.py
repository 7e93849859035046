"""What a client's own people see of it in the portal: its card, its networks, its broadband usage, its bills.

A customer that is no client's account has none of these: 404.
"""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import select

from control.services import broadband, client_bills
from control.services.broadband import Usage, UsageQuery
from control.services.client_bills import Bill, BillQuery, BillRow, MonthText
from control.services.clients import CLIENTS, Kind, Status
from control.services.context import Context
from control.services.errors import Conflict, NotFound
from control.services.fields import Label
from control.services.networks import NETWORKS
from control.services.pages import Page
from control.services.portal_views import OwnQuery, own_customer_id
from control.services.problems import convert
from control.store import tables


class OwnClient(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    type: Kind
    status: Status
    office: str
    start_date: str | None
    end_date: str | None
    contract_end: str | None
    billing_ref: str
    internet_is_on: bool
    local_network_is_on: bool


class OwnNetwork(msgspec.Struct, frozen=True, kw_only=True):
    site: str
    vlan: int
    subnet: str
    router: str
    """The way out of the subnet."""
    dns: tuple[str, ...]
    public_addresses: tuple[str, ...]
    internet_is_on: bool
    local_network_is_on: bool


class OwnClientPatch(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    billing_ref: Label = ""
    """As the client's own books know it; left blank it stays what it is."""


class OwnBillQuery(OwnQuery, frozen=True, kw_only=True):
    month: MonthText | None = None
    """Of this month."""
    billing_ref: Label | None = None
    """As it was on the bill, or as the client's is now."""


async def card(ctx: Context) -> OwnClient:
    client = await CLIENTS.get(ctx, await _client_id(ctx))
    (shown,) = await CLIENTS.answers(ctx, [client])
    return OwnClient(
        **{name: getattr(shown, name) for name in ("name", "type", "status", "office", "billing_ref")},
        **{name: getattr(shown, name) for name in ("start_date", "end_date", "contract_end")},
        internet_is_on=client.status == "active",
        local_network_is_on=client.status in ("active", "suspended"),
    )


async def change(ctx: Context, sent: dict[str, Any], expected: int | None) -> OwnClient:
    """Set what a client may set itself; that somebody else has a reference is said, and not who."""
    convert({name: value for name, value in sent.items() if name != "row_version"}, OwnClientPatch)
    try:
        await CLIENTS.update(ctx, await _client_id(ctx), sent, expected)
    except Conflict as error:
        raise Conflict("This reference is in use.", errors=error.errors) from error
    return await card(ctx)


async def network_info(ctx: Context) -> Page[OwnNetwork]:
    client_id = await _client_id(ctx)
    async with ctx.store.read() as tx:
        rows = [NETWORKS.struct(row) for row in await NETWORKS.rows_of(tx, "client_id", client_id)]
    names = ("site", "vlan", "subnet", "dns", "public_addresses", "internet_is_on", "local_network_is_on")
    shown = await NETWORKS.answers(ctx, rows)
    items = [OwnNetwork(router=row.gateway, **{name: getattr(row, name) for name in names}) for row in shown]
    return Page(items=items, next_cursor=None)


async def usage(ctx: Context, query: UsageQuery) -> Page[Usage]:
    return await broadband.of_client(ctx, await _client_id(ctx), query)


async def page_bills(ctx: Context, query: OwnBillQuery) -> Page[BillRow]:
    """The latest number first."""
    fields = {name: getattr(query, name) for name in query.__struct_fields__}
    return await client_bills.page(ctx, BillQuery(client_id=await _client_id(ctx), **fields))


async def get_bill(ctx: Context, bill_id: int) -> Bill:
    """As it was issued, less the sums of an account that was the client's before."""
    client_id = await _client_id(ctx)
    bill = await client_bills.get(ctx, bill_id)
    if bill.client_id != client_id:
        raise NotFound("bill", bill_id)
    if bill.account is not None and bill.account.customer_id != own_customer_id(ctx):
        return msgspec.structs.replace(bill, account=None)
    return bill


async def _client_id(ctx: Context) -> int:
    customers = tables.customers.c
    query = select(customers.client_id).where(customers.id == ctx.actor.customer_id)
    async with ctx.store.read() as tx:
        client_id: int | None = (await tx.execute(query)).scalar_one_or_none()
    if client_id is None:
        raise NotFound("client", "of yours")
    return client_id
