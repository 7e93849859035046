"""Changes that are due later: every update takes `at`; here they are listed and undone."""

from __future__ import annotations

from typing import Any, Final

from control.api.routing import Call, Route
from control.services import scheduled_changes
from control.services.pages import Page
from control.services.scheduled_changes import ScheduledChange, ScheduledChangeQuery

_ONE: Final = "/scheduled-changes/{row_id:int}"


async def list_changes(call: Call) -> Any:
    return await scheduled_changes.page(call.ctx, call.query)


async def read_change(call: Call) -> Any:
    return await scheduled_changes.get(call.ctx, call.path["row_id"])


async def cancel_change(call: Call) -> None:
    await scheduled_changes.cancel(call.ctx, call.path["row_id"])


SCHEDULED_CHANGE_ROUTES: Final = (
    Route(
        method="GET",
        path="/scheduled-changes",
        handler=list_changes,
        summary="List scheduled changes, the next one first. `search` looks into who asked; `sort` takes at, id.",
        role="read-only",
        query=ScheduledChangeQuery,
        sorts=scheduled_changes.SORTS,
        reply=Page[ScheduledChange],
    ),
    Route(
        method="GET",
        path=_ONE,
        handler=read_change,
        summary="Read one scheduled change.",
        role="read-only",
        reply=ScheduledChange,
    ),
    Route(
        method="DELETE",
        path=_ONE,
        handler=cancel_change,
        summary="Undo a scheduled change before it takes effect, by a role that may make it. 409 once it has.",
        role="billing",
        status=204,
    ),
)
