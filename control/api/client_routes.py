"""The building: what is done with clients, sites, offices, and who sits where."""

from __future__ import annotations

from typing import Any, Final

from control.api.crud import Owner, noun_routes
from control.api.later import schedulable
from control.api.routing import Call, Route
from control.services import client_actions as actions
from control.services import occupancies
from control.services.clients import CLIENTS, ClientShown
from control.services.context import Context
from control.services.occupancies import OCCUPANCIES, FreeOffice, FreeQuery, OccupancyQuery
from control.services.offices import OFFICES, SITES, OfficeQuery, SiteQuery
from control.services.operations import Do, step_of
from control.services.pages import Page

OF_CLIENT: Final = Owner(CLIENTS, "/clients", "client_id")
_OF_SITE: Final = Owner(SITES, "/sites", "site_id")
_CLIENT: Final = "/clients/{client_id:int}"


async def suspend(call: Call) -> Any:
    return await _shown(call, await actions.suspend(call.ctx, call.path["client_id"], call.body, call.version))


async def reactivate(call: Call) -> Any:
    return await _shown(call, await actions.reactivate(call.ctx, call.path["client_id"], call.body, call.version))


async def activate(call: Call) -> Any:
    return await _shown(call, await actions.activate(call.ctx, call.path["client_id"], call.version))


async def decommission(call: Call) -> Any:
    return await _shown(call, await actions.decommission(call.ctx, call.path["client_id"], call.body, call.version))


async def cancel_decommission(call: Call) -> Any:
    return await _shown(call, await actions.cancel_decommission(call.ctx, call.path["client_id"], call.version))


async def convert(call: Call) -> Any:
    return await _shown(call, await actions.convert(call.ctx, call.path["client_id"], call.body, call.version))


async def list_free(call: Call) -> Any:
    return await occupancies.free(call.ctx, call.query)


async def _shown(call: Call, client: Any) -> Any:
    (shown,) = await CLIENTS.answers(call.ctx, [client])
    return shown


def _action(name: str, handler: Any, summary: str, body: Any = None) -> Route:
    return Route(
        method="POST",
        path=f"{_CLIENT}/{name}",
        handler=handler,
        summary=summary,
        role="operator",
        body=body,
        reply=ClientShown,
        takes_version=True,
    )


def _later(route: Route, action: str, service: Do) -> Route:
    """Of actions that have no date of their own among the client's fields."""
    return schedulable(route, step_of(CLIENTS, action, service, route.body), row="client_id")


async def _activate(ctx: Context, client_id: int, _sent: Any, expected: int | None) -> Any:
    return await actions.activate(ctx, client_id, expected)


async def _cancel_decommission(ctx: Context, client_id: int, _sent: Any, expected: int | None) -> Any:
    return await actions.cancel_decommission(ctx, client_id, expected)


CLIENT_ROUTES: Final = (
    *noun_routes(SITES, "/sites", SiteQuery),
    *noun_routes(OFFICES, "/offices", OfficeQuery, owner=_OF_SITE),
    *noun_routes(OCCUPANCIES, "/occupancies", OccupancyQuery, owner=OF_CLIENT),
    Route(
        method="GET",
        path="/offices/free",
        handler=list_free,
        summary="List offices that nobody has on a day, or on a run of days, by site and room.",
        role="read-only",
        query=FreeQuery,
        reply=Page[FreeOffice],
    ),
    _action(
        "suspend",
        suspend,
        "Suspend a client, now or at a time: no calls out and no internet; calls in ring, and all of it is billed.",
        actions.SuspendNew,
    ),
    _action(
        "reactivate",
        reactivate,
        "End a suspension, now or at a time, or take back one that has not begun.",
        actions.When,
    ),
    _later(_action("activate", activate, "Start a new or scheduled client today."), "activate", _activate),
    _action(
        "decommission",
        decommission,
        "End a client for good, now or at a time. It cannot be taken back once done; its numbers cool off.",
        actions.When,
    ),
    _later(
        _action("cancel-decommission", cancel_decommission, "Take back a decommission that has not happened."),
        "cancel_decommission",
        _cancel_decommission,
    ),
    _later(
        _action(
            "convert",
            convert,
            "Make a client virtual or residential. One with offices says when they are handed back.",
            actions.Conversion,
        ),
        "convert",
        actions.convert,
    ),
)
