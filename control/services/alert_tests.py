"""A test of who is told by an alert: the same ways, and nothing has happened."""

from __future__ import annotations

import msgspec
from sqlalchemy import select

from control.services.alerts import ALERTS, targets_of
from control.services.context import Context
from control.services.outbox import emit
from control.store.outbox_tables import deliveries


class Tested(msgspec.Struct, frozen=True, kw_only=True):
    deliveries: list[int]
    """`GET /deliveries/{id}` tells what became of each."""


async def send(ctx: Context, alert_id: int) -> Tested:
    async with ctx.change() as change:
        row = await ALERTS.row(change.tx, alert_id)
        title = f"{row['name']}: a test, nothing has happened"
        payload = {"alert_id": alert_id, "name": row["name"], "customer_id": row["customer_id"]}
        payload |= {"title": title, "text": f"{title}.\nAsked for by {change.actor.name}.\n"}
        number = await emit(change, "alert.test", payload, targets=targets_of(row["recipients"]))
        await change.audit("test", "alert", alert_id)
        made = select(deliveries.c.id).where(deliveries.c.outbox_id == number).order_by(deliveries.c.id)
        return Tested(deliveries=list((await change.tx.execute(made)).scalars()))
