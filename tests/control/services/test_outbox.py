"""Events are there exactly when the change is that they tell of."""

from __future__ import annotations

import pytest
from sqlalchemy import insert, select

from control.services.outbox import Target, emit
from control.store.outbox_tables import deliveries, outbox, webhooks
from tests.fakes.control import START_MS, ControlPlane, with_control


async def add_webhook(plane: ControlPlane, name: str, *events: str, customer_id: int | None = None) -> int:
    values = {"name": name, "name_key": name, "url": "https://198.51.100.1/", "secret_sealed": ""}
    stamps = {"created_ms": START_MS, "updated_ms": START_MS}
    async with plane.store.begin() as tx:
        made = insert(webhooks).values(**values, **stamps, events=list(events), customer_id=customer_id)
        return int((await tx.execute(made.returning(webhooks.c.id))).scalar_one())


async def told(plane: ControlPlane) -> list[tuple[int | None, str, str]]:
    async with plane.store.read() as tx:
        c = deliveries.c
        rows = await tx.execute(select(c.webhook_id, c.channel, c.event).order_by(c.id))
        return [tuple(row) for row in rows]


@with_control
async def test_an_event_goes_to_the_webhooks_that_ask_for_its_kind_and_customer(plane: ControlPlane) -> None:
    first, second = await plane.make_customer(), await plane.make_customer(name="Other")
    everyones = await add_webhook(plane, "a", "invoice.issued", "did.changed")
    firsts = await add_webhook(plane, "b", "invoice.issued", customer_id=first)
    await add_webhook(plane, "c", "invoice.issued", customer_id=second)
    await add_webhook(plane, "d", "did.changed")
    async with plane.ctx.change() as change:
        await emit(change, "invoice.issued", {"customer_id": first, "total": "12.5"})
    assert await told(plane) == [(everyones, "webhook", "invoice.issued"), (firsts, "webhook", "invoice.issued")]


@with_control
async def test_targets_are_told_beside_them_and_none_twice(plane: ControlPlane) -> None:
    webhook = await add_webhook(plane, "a", "alert.fired")
    async with plane.ctx.change() as change:
        targets = [Target("webhook", webhook_id=webhook), Target("mail", "ops@example.test"), Target("sms", "+4420")]
        await emit(change, "alert.fired", {"alert": "Low"}, targets=targets)
    assert [channel for _, channel, _ in await told(plane)] == ["webhook", "mail", "sms"]


@with_control
async def test_a_change_that_fails_leaves_no_event(plane: ControlPlane) -> None:
    async def fail() -> None:
        async with plane.ctx.change() as change:
            await emit(change, "did.changed", {})
            raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        await fail()
    async with plane.store.read() as tx:
        assert (await tx.execute(select(outbox))).first() is None


@with_control
async def test_numbers_rise_in_the_order_of_events(plane: ControlPlane) -> None:
    numbers = []
    for _ in range(3):
        async with plane.ctx.change() as change:
            numbers += [await emit(change, "did.changed", {}) for _ in range(2)]
    assert numbers == sorted(set(numbers))
