"""What a customer's contacts see of its numbers: where they ring and what they cost it, and nothing of providers."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from sqlalchemy import select

from control.services import cli_numbers
from control.services.cli_numbers import CliNumber, CliNumberQuery
from control.services.context import Context
from control.services.did_fields import Did, DidQuery
from control.services.dids import DIDS
from control.services.fields import Moment
from control.services.pages import Page
from control.services.portal_views import OwnQuery, own_customer_id
from control.store import tables
from control.store.engine import Tx

IDS_AT_ONCE: Final = 500
"""A statement takes some thousand parameters on either database."""


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
        hosts = await _values(tx, "endpoint", tables.endpoints.c.host, found.items)
        names = await _values(tx, "sip_user", tables.sip_users.c.username, found.items)
    items = [_own(did, {"endpoint": hosts, "sip_user": names}) for did in found.items]
    return Page(items=items, next_cursor=found.next_cursor)


async def page_cli_numbers(ctx: Context, query: CliNumberQuery) -> Page[CliNumber]:
    return await cli_numbers.page(ctx, own_customer_id(ctx), query)


async def _values(tx: Tx, kind: str, column: Any, dids: list[Did]) -> dict[int, str]:
    """What stands for destinations of this kind, by their ids: one question for a whole page."""
    ids = sorted({each.id for did in dids for each in did.destinations if each.kind == kind and each.id is not None})
    found: dict[int, str] = {}
    for at in range(0, len(ids), IDS_AT_ONCE):
        query = select(column.table.c.id, column).where(column.table.c.id.in_(ids[at : at + IDS_AT_ONCE]))
        found.update((row_id, value) for row_id, value in await tx.execute(query))
    return found


def _own(did: Did, values_of: dict[str, dict[int, str]]) -> OwnDid:
    plain = ("id", "number", "name", "state", "enabled", "order", "channels")
    priced = ("retail", "setup_retail", "assigned_at", "next_charge_on")
    values: dict[str, Any] = {name: getattr(did, name) for name in (*plain, *priced)}
    destinations = [
        OwnDestination(
            kind=each.kind,
            id=each.id,
            value=each.value if each.id is None else values_of.get(each.kind, {}).get(each.id, each.value),
        )
        for each in did.destinations
    ]
    return OwnDid(**values, destinations=destinations)
