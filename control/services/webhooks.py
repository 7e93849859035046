"""Webhooks: who hears of which events, at which URL.

The secret that signs is made here and shown once. It is kept sealed, since signing needs it in clear.
"""

from __future__ import annotations

from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta
from sqlalchemy import func, select
from sqlalchemy.engine import RowMapping

from control.services.cdrs import newest_number
from control.services.context import Change, Context
from control.services.errors import Conflict, NotFound, Reference, invalid
from control.services.fields import Id, Moment, Name, Notes
from control.services.nouns import Noun
from control.services.outbox import Event, Target, emit
from control.services.outgoing import check_url
from control.services.owners import check_customer
from control.services.pages import ListQuery
from control.services.signing import new_secret
from control.store.alert_tables import alerts
from control.store.engine import Tx
from control.store.outbox_tables import deliveries, webhooks

Url = Annotated[str, Meta(min_length=8, max_length=2_000, examples=["https://example.com/tandem"])]


class WebhookNew(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    name: Name
    url: Url
    """http or https. Names are resolved at each delivery, and private addresses refused then too."""
    events: Annotated[tuple[Event, ...], Meta(max_length=100)]
    """Empty: only what names this webhook itself, as an alert's recipient does."""
    customer_id: Id | None = None
    """Only events of this customer."""
    enabled: bool = True
    """False: what happens meanwhile is not told; what was not delivered yet waits."""
    notes: Notes = ""


class Webhook(WebhookNew, frozen=True, kw_only=True):
    id: int
    row_version: int
    created_at: Moment
    updated_at: Moment


class WebhookShown(Webhook, frozen=True, kw_only=True):
    pending: int
    """Deliveries that are not done, those between two tries among them."""
    dead: int
    """Deliveries that were given up after a day, and can be sent again."""


class WebhookCreated(Webhook, frozen=True, kw_only=True):
    secret: str
    """Signs each request; it is not shown again."""


class WebhookSecret(msgspec.Struct, frozen=True, kw_only=True):
    id: int
    secret: str


class WebhookQuery(ListQuery, frozen=True, kw_only=True):
    customer_id: Annotated[Id | None, Meta(description="For events of this customer.")] = None
    enabled: Annotated[bool | None, Meta(description="Those that hear of events, or do not.")] = None


class Webhooks(Noun[WebhookNew, Webhook]):
    name = "webhook"
    table = webhooks
    new = WebhookNew
    out = Webhook
    # What waits or was given up, and the alerts that name it, are about the customer that it was made for.
    fixed = ("customer_id",)
    sorts = ("id", "name", "created_at", "updated_at")
    search = ("name_key", "url")

    async def check(self, ctx: Context, change: Change, new: WebhookNew, before: RowMapping | None) -> dict[str, Any]:
        detail = "Another webhook has this name."
        name_key = self.columns(new)["name_key"]
        await self.check_unique(change.tx, before, "name", detail, name_key=name_key)
        check_url("url", new.url, allow_private=ctx.events.allow_private)
        if new.customer_id is not None and before is None:
            await check_customer(change.tx, new.customer_id)
        heard_calls = before is not None and before["enabled"] and "call.ended" in before["events"]
        if new.enabled and "call.ended" in new.events and not heard_calls:
            # Of the calls of before nobody has asked to hear.
            return {"cdr_number": await newest_number(change.tx)}
        return {}

    async def references(self, tx: Tx, row: RowMapping) -> list[Reference]:
        query = select(alerts.c.id, alerts.c.name, alerts.c.recipients).where(alerts.c.archived_ms.is_(None))
        return [
            Reference(noun="alert", id=str(each.id), name=each.name)
            for each in await tx.execute(query)
            if any(recipient.get("webhook_id") == row["id"] for recipient in each.recipients)
        ]

    async def archive_owned(self, change: Change, row: RowMapping) -> None:
        c = deliveries.c
        await change.tx.execute(
            deliveries.update()
            .where(c.webhook_id == row["id"], c.state == "pending")
            .values(state="dead", done_ms=change.now_ms, error="the webhook was archived")
        )

    @property
    def answer(self) -> type[WebhookShown]:
        return WebhookShown

    async def answers(self, ctx: Context, rows: list[Webhook]) -> list[Any]:
        c = deliveries.c
        ids = [row.id for row in rows]
        query = (
            select(c.webhook_id, c.state, func.count().label("number"))
            .where(c.webhook_id.in_(ids), c.state.in_(("pending", "dead")))
            .group_by(c.webhook_id, c.state)
        )
        async with ctx.store.read() as tx:
            counts = {(row.webhook_id, row.state): row.number for row in await tx.execute(query)}
        return [
            WebhookShown(
                **msgspec.structs.asdict(row),
                pending=counts.get((row.id, "pending"), 0),
                dead=counts.get((row.id, "dead"), 0),
            )
            for row in rows
        ]

    async def issue(self, ctx: Context, new: WebhookNew) -> WebhookCreated:
        """Make a webhook; the answer is the only place where its secret stands in clear."""
        secret = new_secret()
        sealed = await ctx.portal.seal(secret)
        async with ctx.change() as change:
            made = await self.create_in(ctx, change, new, secret_sealed=sealed)
        return WebhookCreated(**msgspec.structs.asdict(made), secret=secret)

    async def rotate(self, ctx: Context, row_id: int) -> WebhookSecret:
        """Sign with another secret from the next try on."""
        secret = new_secret()
        sealed = await ctx.portal.seal(secret)
        async with ctx.change() as change:
            before = await self.row(change.tx, row_id)
            await self.write(change, before, {"secret_sealed": sealed})
            await change.audit("rotate_secret", "webhook", row_id)
        return WebhookSecret(id=row_id, secret=secret)

    async def test(self, ctx: Context, row_id: int) -> int:
        """Tell this webhook alone of a `webhook.test`; the number of the delivery."""
        async with ctx.change() as change:
            row = await self.row(change.tx, row_id)
            if not row["enabled"]:
                raise Conflict("The webhook is not enabled.")
            number = await emit(
                change,
                "webhook.test",
                {"webhook_id": row_id, "asked_by": change.actor.name},
                targets=[Target("webhook", webhook_id=row_id)],
                to_targets_alone=True,
            )
            await change.audit("test", "webhook", row_id)
            mine = select(deliveries.c.id).where(deliveries.c.outbox_id == number, deliveries.c.webhook_id == row_id)
            return int((await change.tx.execute(mine)).scalar_one())


WEBHOOKS: Final = Webhooks()


async def check_webhook(change: Change, path: str, webhook_id: int, customer_id: int | None) -> None:
    """That a field names a webhook which may hear of this customer's events."""
    try:
        row = await WEBHOOKS.row(change.tx, webhook_id)
    except NotFound as error:
        raise invalid(path, f"there is no webhook {webhook_id}") from error
    if row["customer_id"] not in (None, customer_id):
        raise invalid(path, f"webhook {webhook_id} is another customer's")
