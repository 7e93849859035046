"""Webhooks, the events that they hear of, and how far these have come."""

from __future__ import annotations

from typing import Any, Final

from control.api.crud import noun_routes
from control.api.routing import API, Call, Created, Route
from control.services import deliveries
from control.services.pages import Page
from control.services.webhooks import WEBHOOKS, WebhookCreated, WebhookNew, WebhookQuery, WebhookSecret

_ONE: Final = "/webhooks/{row_id:int}"


async def create(call: Call) -> Created:
    made = await WEBHOOKS.issue(call.ctx, call.body)
    return Created(made, f"{API}/webhooks/{made.id}")


async def rotate(call: Call) -> Any:
    return await WEBHOOKS.rotate(call.ctx, call.path["row_id"])


async def test(call: Call) -> Created:
    made = await deliveries.get(call.ctx, await WEBHOOKS.test(call.ctx, call.path["row_id"]))
    return Created(made, f"{API}/deliveries/{made.id}")


async def resend_dead(call: Call) -> Any:
    return await deliveries.resend_dead(call.ctx, call.path["row_id"])


async def list_deliveries(call: Call) -> Any:
    return await deliveries.page(call.ctx, call.query)


async def read_delivery(call: Call) -> Any:
    return await deliveries.get(call.ctx, call.path["row_id"])


async def resend(call: Call) -> Any:
    return await deliveries.resend(call.ctx, call.path["row_id"])


async def list_events(call: Call) -> Any:
    return await deliveries.page_events(call.ctx, call.query)


async def read_event(call: Call) -> Any:
    return await deliveries.get_event(call.ctx, call.path["row_id"])


WEBHOOK_ROUTES: Final = (
    *(route for route in noun_routes(WEBHOOKS, "/webhooks", WebhookQuery) if route.method != "POST"),
    Route(
        method="POST",
        path="/webhooks",
        handler=create,
        summary="Make a webhook. Its secret is shown in this answer and never again.",
        role="operator",
        body=WebhookNew,
        reply=WebhookCreated,
        status=201,
    ),
    Route(
        method="POST",
        path=_ONE + "/rotate-secret",
        handler=rotate,
        summary="Sign with another secret from the next request on; it is shown in this answer.",
        role="operator",
        reply=WebhookSecret,
    ),
    Route(
        method="POST",
        path=_ONE + "/test",
        handler=test,
        summary="Send a `webhook.test` to this webhook; the delivery that is answered tells what became of it.",
        role="operator",
        reply=deliveries.Delivery,
        status=201,
    ),
    Route(
        method="POST",
        path=_ONE + "/resend",
        handler=resend_dead,
        summary="Try all deliveries again that were given up for this webhook, in their order.",
        role="operator",
        reply=deliveries.Resent,
    ),
    Route(
        method="GET",
        path="/deliveries",
        handler=list_deliveries,
        summary="List deliveries by webhook, mail and SMS, the youngest first. `search` looks into address and error; "
        "`sort` takes id.",
        role="read-only",
        query=deliveries.DeliveryQuery,
        sorts=deliveries.SORTS,
        reply=Page[deliveries.Delivery],
    ),
    Route(
        method="GET",
        path="/deliveries/{row_id:int}",
        handler=read_delivery,
        summary="Read one delivery.",
        role="read-only",
        reply=deliveries.Delivery,
    ),
    Route(
        method="POST",
        path="/deliveries/{row_id:int}/resend",
        handler=resend,
        summary="Try one delivery again, for another day. 409 while it is pending.",
        role="operator",
        reply=deliveries.Delivery,
    ),
    Route(
        method="GET",
        path="/events",
        handler=list_events,
        summary="List events of the last 30 days, the youngest first. Calls are not among them: "
        "`GET /cdrs` lists those. `search` looks into the data; `sort` takes id.",
        role="read-only",
        query=deliveries.EventQuery,
        sorts=deliveries.SORTS,
        reply=Page[deliveries.EventShown],
    ),
    Route(
        method="GET",
        path="/events/{row_id:int}",
        handler=read_event,
        summary="Read one event.",
        role="read-only",
        reply=deliveries.EventShown,
    ),
)
