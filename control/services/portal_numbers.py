"""What a customer's contacts see of its numbers: where they ring and what they cost it, and nothing of providers."""

from __future__ import annotations

from typing import Any

import msgspec

from control.services import cli_numbers
from control.services.cli_numbers import CliNumber, CliNumberQuery
from control.services.context import Context
from control.services.did_fields import Did, DidQuery
from control.services.dids import DIDS
from control.services.endpoints import ENDPOINTS
from control.services.fields import Moment
from control.services.pages import Page
from control.services.portal_views import OwnQuery, own_customer_id
from control.services.sip_users import SIP_USERS
from control.store.engine import Tx


class OwnDestination(msgspec.Struct, frozen=True, kw_only=True):
    kind: str
    id: int | None
    """Of an endpoint or a SIP user, as those lists have it."""
    value: str
    """The endpoint's host, the user's name, the URI or the number."""


class OwnDid(msgspec.Struct, frozen=True, kw_only=True):
    """A number of the customer's, in service or kept for it."""

    id: int
    number: str
    name: str
    state: str
    enabled: bool
    destinations: list[OwnDestination]
    order: str
    channels: int | None
    retail: str
    """By the month, net."""
    setup_retail: str
    assigned_at: Moment | None
    next_charge_on: str | None


async def page_dids(ctx: Context, query: OwnQuery) -> Page[OwnDid]:
    asked = DidQuery(customer_id=own_customer_id(ctx), limit=query.limit, cursor=query.cursor)
    found = await DIDS.page(ctx, asked)
    async with ctx.store.read() as tx:
        items = [await _own(tx, did) for did in found.items]
    return Page(items=items, next_cursor=found.next_cursor)


async def page_cli_numbers(ctx: Context, query: CliNumberQuery) -> Page[CliNumber]:
    return await cli_numbers.page(ctx, own_customer_id(ctx), query)


async def _own(tx: Tx, did: Did) -> OwnDid:
    plain = ("id", "number", "name", "state", "enabled", "order", "channels")
    priced = ("retail", "setup_retail", "assigned_at", "next_charge_on")
    values: dict[str, Any] = {name: getattr(did, name) for name in (*plain, *priced)}
    destinations = []
    for each in did.destinations:
        value = each.value
        if each.kind == "endpoint" and each.id is not None:
            value = (await ENDPOINTS.row(tx, each.id))["host"]
        elif each.kind == "sip_user" and each.id is not None:
            value = (await SIP_USERS.row(tx, each.id))["username"]
        destinations.append(OwnDestination(kind=each.kind, id=each.id, value=value))
    return OwnDid(**values, destinations=destinations)
