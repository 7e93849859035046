"""Brings events to those who asked for them: at least once, in order where it can be, for a day.

Each webhook is a lane of its own, so that one that dawdles delays no other, and none delays calls or the
API: what is sent is already stored, and only short transactions say what became of it.

The order within a lane is that of the events. A receiver that is down (no answer, 5xx, 429) is tried with
its oldest delivery alone, and the others wait behind it; one that refuses an event (4xx) has something
against that one, which is put aside and tried by itself. Calls that ended go some at a time, for nothing
hangs on their order and each has its time in it.
"""

from __future__ import annotations

import asyncio
import random
from typing import Any, Final

import msgspec
import structlog
from sqlalchemy import ColumnElement, and_, exists, not_, or_, select, update
from sqlalchemy.engine import RowMapping
from sqlalchemy.exc import SQLAlchemyError

from control.services.context import Context
from control.services.deliveries import DAY_MS, collect_calls, give_up, prune
from control.services.errors import MailFailed, ServiceError
from control.services.fields import ms_moment
from control.services.looks import Looks
from control.services.outbox import payload_of
from control.services.outgoing import Sender, Sent
from control.services.portal_calls import own_cdr
from control.services.signing import HEADER, sign
from control.store import tables
from control.store.outbox_tables import deliveries, outbox, webhooks

LOOK_S: Final = 0.5
IDLE_LOOK_S: Final = 2.0
"""While nobody asks for anything: a look costs a millisecond or two."""
UPKEEP_S: Final = 60.0
"""How often those that are a day old are given up, and old ones dropped."""
RESTS_S: Final = 5.0
"""After something failed that is no receiver's fault."""
BACK_OFF_FIRST_S: Final = 5.0
BACK_OFF_MAX_S: Final = 900.0
JITTER: Final = 0.25
"""Each delay is up to this part shorter or longer, so that lanes which failed together do not come together."""
CALLS_AT_ONCE: Final = 16
ASIDE_AT_ONCE: Final = 16
MAIL_AT_ONCE: Final = 16
LANES_MAX: Final = 64
"""Receivers that are spoken to at a time."""

_FINAL_FOR_NOW: Final = (408, 425, 429)
"""4xx that say nothing about the event: the receiver wants it, later."""

Lane = tuple[str, int | None]
"""Channel, and the webhook's id where it is one."""

log = structlog.get_logger("control.courier")


def _is_aside() -> ColumnElement[bool]:
    c = deliveries.c
    return and_(c.status.is_not(None), c.status >= 400, c.status < 500, c.status.not_in(_FINAL_FOR_NOW))


class Courier:
    """One of each installation."""

    def __init__(self, ctx: Context, rng: random.Random | None = None) -> None:
        self._ctx = ctx
        self._rng = rng or random.Random()
        self._lanes: dict[Lane, asyncio.Task[int]] = {}
        self._looks = Looks(ctx.store, ctx.now_ms)
        self._is_wanted = False
        """There are webhooks, or deliveries that wait."""

    async def run(self) -> None:
        """Look until cancelled; what fails is tried again."""
        loop = asyncio.get_running_loop()
        upkeep_at = loop.time()
        try:
            while True:
                try:
                    if loop.time() >= upkeep_at:
                        upkeep_at = loop.time() + UPKEEP_S
                        await self.keep_up()
                    if self._looks.is_needed():
                        await self._look()
                except (SQLAlchemyError, ServiceError, OSError) as error:
                    log.error("deliveries were not looked at", reason=str(error))
                    await asyncio.sleep(RESTS_S)
                await asyncio.sleep(LOOK_S if self._is_wanted else IDLE_LOOK_S)
        finally:
            for task in self._lanes.values():
                task.cancel()
            await asyncio.gather(*self._lanes.values(), return_exceptions=True)

    async def run_due(self) -> int:
        """Deliver all that is due by now, and return how many tries that took."""
        await self.keep_up()
        await self._look()
        done = await asyncio.gather(*self._lanes.values())
        self._lanes.clear()
        return sum(done)

    async def keep_up(self) -> None:
        count = await give_up(self._ctx)
        if count:
            log.warning("deliveries given up after a day", count=count)
        while await prune(self._ctx):
            pass

    async def _look(self) -> None:
        """Begin a task for each lane that has something due and none yet."""
        self._is_wanted = await self._ask_wanted()
        if not self._is_wanted and not self._lanes:
            self._looks.rest()
            return
        await collect_calls(self._ctx)
        for lane, task in list(self._lanes.items()):
            if task.done():
                del self._lanes[lane]
                if not task.cancelled() and task.exception() is not None:
                    log.error("deliveries failed", lane=lane, reason=str(task.exception()))
        for lane in await self._due_lanes():
            if lane not in self._lanes and len(self._lanes) < LANES_MAX:
                work = self._serve_webhook(lane[1]) if lane[1] is not None else self._serve_addresses(lane[0])
                self._lanes[lane] = asyncio.get_running_loop().create_task(work, name=f"deliveries {lane}")

    async def _ask_wanted(self) -> bool:
        hooks = select(webhooks.c.id).where(webhooks.c.archived_ms.is_(None), webhooks.c.enabled.is_(True))
        waiting = select(deliveries.c.id).where(deliveries.c.state == "pending")
        async with self._ctx.store.read() as tx:
            found = await tx.execute(select(or_(exists(hooks), exists(waiting))))
            return bool(found.scalar_one())

    async def _due_lanes(self) -> list[Lane]:
        c, w = deliveries.c, webhooks.c
        heads = (
            select(c.channel, c.webhook_id)
            .outerjoin(webhooks, w.id == c.webhook_id)
            .where(c.state == "pending", c.next_ms <= self._ctx.now_ms())
            .where(or_(c.webhook_id.is_(None), and_(w.enabled.is_(True), w.archived_ms.is_(None))))
            .distinct()
        )
        async with self._ctx.store.read() as tx:
            return [(row.channel, row.webhook_id) for row in await tx.execute(heads)]

    # --- webhooks

    async def _serve_webhook(self, webhook_id: int) -> int:
        """Send what is due to one webhook until nothing is; how many tries."""
        settings = self._ctx.events
        sender = Sender(timeout_s=settings.timeout_s, allow_private=settings.allow_private, ca_file=settings.ca_file)
        count = 0
        try:
            while True:
                async with self._ctx.store.read() as tx:
                    query = select(webhooks).where(webhooks.c.id == webhook_id, webhooks.c.archived_ms.is_(None))
                    hook = (await tx.execute(query)).mappings().first()
                if hook is None or not hook["enabled"]:
                    return count
                batch = await self._next_batch(webhook_id)
                if not batch:
                    return count
                secret = await self._ctx.portal.unseal(hook["secret_sealed"])
                sent = await asyncio.gather(*(self._tell(sender, hook["url"], secret, row) for row in batch))
                await self._note(list(zip(batch, sent, strict=True)))
                count += len(batch)
        finally:
            await sender.close()

    async def _next_batch(self, webhook_id: int) -> list[RowMapping]:
        """What may be sent at once: those put aside that are due, else the oldest of the others."""
        c = deliveries.c
        now_ms = self._ctx.now_ms()
        mine = select(deliveries).where(c.webhook_id == webhook_id, c.state == "pending").order_by(c.id)
        in_order = or_(c.status.is_(None), not_(_is_aside()))
        async with self._ctx.store.read() as tx:
            first = list((await tx.execute(mine.where(in_order).limit(CALLS_AT_ONCE))).mappings())
            if first and first[0]["next_ms"] <= now_ms:
                return _together(first)
            aside = mine.where(_is_aside(), c.next_ms <= now_ms).limit(ASIDE_AT_ONCE)
            return list((await tx.execute(aside)).mappings())

    async def _tell(self, sender: Sender, url: str, secret: str | None, row: RowMapping) -> Sent:
        if secret is None:
            return Sent(None, "the secret was sealed with another key; rotate it")
        facts = await self._facts(row)
        if facts is None:
            return Sent(None, "what it tells of is gone")
        body = msgspec.json.encode(facts)
        headers = {
            HEADER: sign(secret, body, self._ctx.now_ms()),
            "Tandem-Event": row["event"],
            "Tandem-Event-Id": facts["id"],
            "Tandem-Attempt": str(row["attempts"] + 1),
        }
        return await sender.post(url, body, headers)

    async def _facts(self, row: RowMapping) -> dict[str, Any] | None:
        """The body: the same at every try."""
        async with self._ctx.store.read() as tx:
            if row["cdr_number"] is not None:
                query = select(tables.cdrs).where(tables.cdrs.c.number == row["cdr_number"])
                call = (await tx.execute(query)).mappings().first()
                if call is None:
                    return None
                return {
                    "id": f"call-{call['id']}",
                    "event": "call.ended",
                    "number": None,
                    "at": ms_moment(call["ended_ms"]),
                    "customer_id": call["customer_id"],
                    "data": own_cdr(call),
                }
            event = (await tx.execute(select(outbox).where(outbox.c.id == row["outbox_id"]))).mappings().first()
        if event is None:
            return None
        return {
            "id": event["event_id"],
            "event": event["event"],
            "number": event["id"],
            "at": ms_moment(event["at_ms"]),
            "customer_id": event["customer_id"],
            "data": payload_of(event["payload"]),
        }

    # --- mail and SMS

    async def _serve_addresses(self, channel: str) -> int:
        """Send what is due by mail or SMS, in no order: each has an address of its own."""
        settings = self._ctx.events
        # Where SMS go is the installation's own setting, and may well be a machine beside us.
        sender = Sender(timeout_s=settings.timeout_s, allow_private=True, ca_file=settings.ca_file)
        c = deliveries.c
        count = 0
        try:
            while True:
                query = select(deliveries).where(
                    c.channel == channel, c.state == "pending", c.next_ms <= self._ctx.now_ms()
                )
                async with self._ctx.store.read() as tx:
                    batch = list((await tx.execute(query.order_by(c.id).limit(MAIL_AT_ONCE))).mappings())
                if not batch:
                    return count
                for row in batch:
                    facts = await self._facts(row)
                    if facts is None:
                        sent = Sent(None, "what it tells of is gone")
                    elif channel == "mail":
                        sent = await self._mail(row["address"], facts["data"])
                    else:
                        sent = await self._text(sender, row, facts)
                    await self._note([(row, sent)])
                count += len(batch)
        finally:
            await sender.close()

    async def _mail(self, address: str, data: dict[str, Any]) -> Sent:
        if self._ctx.mail is None:
            return Sent(None, "no mail server is set")
        try:
            await self._ctx.mail.send(address, str(data.get("title", "")), str(data.get("text", "")))
        except MailFailed as error:
            return Sent(None, str(error))
        return Sent(200)

    async def _text(self, sender: Sender, row: RowMapping, facts: dict[str, Any]) -> Sent:
        settings = self._ctx.events
        if not settings.sms_url:
            return Sent(None, "events.sms_url is not set")
        title = str(facts["data"].get("title", ""))
        body = msgspec.json.encode({"id": f"{facts['id']}-{row['id']}", "to": row["address"], "text": title})
        headers = {HEADER: sign(settings.sms_secret, body, self._ctx.now_ms()), "Tandem-Event": row["event"]}
        return await sender.post(settings.sms_url, body, headers)

    # --- what became of it

    async def _note(self, done: list[tuple[RowMapping, Sent]]) -> None:
        now_ms = self._ctx.now_ms()
        async with self._ctx.store.begin() as tx:
            for row, sent in done:
                values = self._outcome(row, sent, now_ms)
                # Archived or sent again meanwhile: then this try decides nothing.
                same = (deliveries.c.id == row["id"], deliveries.c.since_ms == row["since_ms"])
                await tx.execute(update(deliveries).where(*same, deliveries.c.state == "pending").values(**values))
        for row, sent in done:
            if not sent.is_taken:
                log.info("not delivered", delivery=row["id"], of=row["event"], reason=sent.error)

    def _outcome(self, row: RowMapping, sent: Sent, now_ms: int) -> dict[str, Any]:
        tried = {"attempts": row["attempts"] + 1, "status": sent.status, "error": sent.error[:500]}
        if sent.is_taken:
            return {**tried, "state": "delivered", "done_ms": now_ms}
        next_ms = now_ms + round(self.delay_s(row["attempts"] + 1, sent.retry_after_s) * 1000)
        if next_ms >= row["since_ms"] + DAY_MS:
            return {**tried, "state": "dead", "done_ms": now_ms}
        return {**tried, "next_ms": next_ms}

    def delay_s(self, attempts: int, retry_after_s: int = 0) -> float:
        """Until the next try: doubling, with jitter, and not before the receiver wants it."""
        back_off_s = min(BACK_OFF_MAX_S, BACK_OFF_FIRST_S * 2.0 ** min(attempts - 1, 30))
        return max(float(retry_after_s), back_off_s * self._rng.uniform(1 - JITTER, 1 + JITTER))


def _together(rows: list[RowMapping]) -> list[RowMapping]:
    """The first, and the calls behind it where it is one; alone where the receiver did not take it last time."""
    if rows[0]["event"] != "call.ended" or rows[0]["attempts"]:
        return rows[:1]
    count = next((place for place, row in enumerate(rows) if row["event"] != "call.ended"), len(rows))
    return rows[:count]
