"""What becomes of a client's things when it becomes inactive, and when it is deleted.

What it had ends on the day that it ended itself; its history stays.
"""

from __future__ import annotations

from datetime import date, timedelta
from typing import Any

from sqlalchemy import select
from sqlalchemy.engine import RowMapping

from control.services import customer_packages, occupancies
from control.services.client_users import CLIENT_USERS
from control.services.context import Change, Context
from control.services.did_life import release_numbers
from control.services.errors import Conflict, FieldError, Reference
from control.services.networks import NETWORKS
from control.services.nouns import Noun
from control.services.occupancies import OCCUPANCIES
from control.services.periods import day_at
from control.services.purchases import PURCHASES
from control.services.telephone_services import TELEPHONE_SERVICES
from control.store import tables
from control.store.client_bill_tables import client_bills, purchases
from control.store.engine import Tx


async def end_owned(ctx: Context, change: Change, client: RowMapping) -> None:
    """Of a client that became inactive.

    From the day after its last one its rooms are free, it buys nothing and has no packages. Its numbers cool off, its
    telephone services are off, and its networks are free for others. Users stay on record; without an
    active client their Wi-Fi accounts are off.
    """
    client_id = client["id"]
    await occupancies.release(change, client_id, day_after_last(client))
    last = day_after_last(client) - timedelta(days=1)
    for row in await PURCHASES.rows_of(change.tx, "client_id", client_id):
        if row["end_date"] is None or row["end_date"] > last.isoformat():
            await PURCHASES.end(change, row, last)
    customers = tables.customers.c
    query = select(customers.id).where(customers.client_id == client_id, customers.archived_ms.is_(None))
    customer_id = (await change.tx.execute(query)).scalar_one_or_none()
    if customer_id is not None:
        await release_numbers(change, customer_id, f"client {client['name']} was decommissioned")
        await customer_packages.end_all(change, customer_id, last)
    await TELEPHONE_SERVICES.end_all(change, client_id)
    await NETWORKS.end_all(change, client_id)


async def archive_owned(change: Change, client: RowMapping) -> None:
    """Of a client that is deleted: what belongs to it alone goes with it, begun or not."""
    owned: list[Noun[Any, Any]] = [CLIENT_USERS, TELEPHONE_SERVICES, NETWORKS, OCCUPANCIES, PURCHASES]
    for noun in owned:
        for row in await noun.rows_of(change.tx, "client_id", client["id"]):
            if noun is TELEPHONE_SERVICES:
                await noun.archive_in(change, row["id"])
                continue
            await noun.write(change, row, {"archived_ms": change.now_ms})
            await change.audit("archive", noun.name, row["id"], before=noun.struct(row))


async def kept_for(tx: Tx, client_id: int) -> list[Reference]:
    """What a client must be kept for: its bills, those that are to come too."""
    bills = select(client_bills.c.id, client_bills.c.number).where(client_bills.c.client_id == client_id)
    found = [
        Reference("client_bill", str(each), f"bill {number}") for each, number in await tx.execute(bills.limit(100))
    ]
    if found:
        return found
    c = purchases.c
    bought = select(c.id, c.name).where(c.client_id == client_id, c.archived_ms.is_(None)).limit(100)
    was_active = select(tables.clients.c.activated_ms).where(tables.clients.c.id == client_id)
    if (await tx.execute(was_active)).scalar_one() is None:
        return []
    return [Reference("purchase", str(each), name) for each, name in await tx.execute(bought)]


async def check_currency_free(tx: Tx, client_id: int) -> None:
    """Raises `Conflict` where something was bought or billed: that stays in the currency it has."""
    for table in (purchases, client_bills):
        if (await tx.execute(select(table.c.id).where(table.c.client_id == client_id).limit(1))).first() is not None:
            detail = "What the client has bought or was billed is in the currency of now."
            raise Conflict(detail, errors=[FieldError("currency", detail)])


def day_after_last(client: RowMapping) -> date:
    """The first day that an inactive client has nothing more of: its last one counts as a whole."""
    return day_at(client["ended_ms"] - 1, client["time_zone"]) + timedelta(days=1)
