"""Events for others, written in the transaction of the change that they tell of.

`emit` is all that a service calls. What it writes is there exactly when the change is, and is sent
afterwards by `control.services.courier`, at least once to each receiver; `id` tells repeats apart.
An event names what happened and to what; it has no secret, no vendor, no cost and no private note,
for the receiver may be the customer's own.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from typing import Any, Final, Literal

import msgspec
from sqlalchemy import insert, select

from control.services.context import Change
from control.store.engine import from_json, to_json
from control.store.outbox_tables import deliveries, outbox, webhooks

Event = Literal[
    "call.ended",
    "balance.low",
    "alert.fired",
    "alert.reset",
    "alert.repeated",
    "alert.test",
    "payment.completed",
    "payment.reversed",
    "package.charged",
    "invoice.issued",
    "invoice.paid",
    "invoice.overdue",
    "credit_note.issued",
    "contract.signed",
    "customer.changed",
    "client.changed",
    "did.changed",
    "scheduled_change.applied",
    "scheduled_change.failed",
    "webhook.test",
]
"""All that there are; a new one is added here first."""

EVENT_ID_BYTES: Final = 16


class Target(msgspec.Struct, frozen=True):
    """Somebody who is told of one event, beside those whose webhook asks for all of its kind."""

    channel: Literal["webhook", "mail", "sms"]
    address: str = ""
    webhook_id: int | None = None


class Subscriber(msgspec.Struct, frozen=True):
    """A webhook as `emit` needs it."""

    id: int
    events: tuple[str, ...]
    customer_id: int | None

    def wants(self, event: str, customer_id: int | None) -> bool:
        return event in self.events and self.customer_id in (None, customer_id)


_INSERT_EVENT: Final = insert(outbox).returning(outbox.c.id)


async def emit(
    change: Change,
    event: Event,
    payload: dict[str, Any],
    *,
    customer_id: int | None = None,
    targets: Sequence[Target] = (),
    to_targets_alone: bool = False,
) -> int:
    """Write an event, and a delivery to everybody who is to hear of it.

    Args:
        payload: what JSON can hold; times and amounts as the API shows them.
        customer_id: whose event it is; that of the payload where it has one. Webhooks of one customer
            hear of its events and of no other.
        targets: more that are told, whatever their webhook asks for.
        to_targets_alone: nobody else is told.
    Returns:
        The event's number: it rises in the order of commits.
    """
    whose = customer_id if customer_id is not None else payload.get("customer_id")
    row = {
        "event_id": secrets.token_hex(EVENT_ID_BYTES),
        "event": event,
        "at_ms": change.now_ms,
        "customer_id": whose,
        "payload": to_json(payload),
    }
    made = await change.tx.execute(_INSERT_EVENT, row)
    number = int(made.scalar_one())
    others = () if to_targets_alone else await subscribers(change)
    asking = (Target("webhook", webhook_id=each.id) for each in others if each.wants(event, whose))
    rows = [
        delivery_row(change.now_ms, event, whose, target) | {"outbox_id": number}
        for target in _once([*asking, *targets])
    ]
    if rows:
        await change.tx.execute(insert(deliveries), rows)
    return number


async def subscribers(change: Change) -> list[Subscriber]:
    """Webhooks that are enabled; read once a change, which may make thousands of events."""
    if change.subscribers is None:
        c = webhooks.c
        query = select(c.id, c.events, c.customer_id).where(c.archived_ms.is_(None), c.enabled.is_(True))
        change.subscribers = [
            Subscriber(row.id, tuple(row.events), row.customer_id)
            for row in await change.tx.execute(query.order_by(c.id))
        ]
    return change.subscribers


def delivery_row(now_ms: int, event: str, customer_id: int | None, target: Target) -> dict[str, Any]:
    """Columns of a delivery that has not been tried; `outbox_id` or `cdr_number` comes on top."""
    return {
        "channel": target.channel,
        "webhook_id": target.webhook_id,
        "address": target.address,
        "event": event,
        "customer_id": customer_id,
        "state": "pending",
        "created_ms": now_ms,
        "since_ms": now_ms,
        "next_ms": now_ms,
    }


def payload_of(text: str) -> dict[str, Any]:
    found: dict[str, Any] = from_json(text)
    return found


def _once(targets: Iterable[Target]) -> list[Target]:
    return list(dict.fromkeys(targets))
