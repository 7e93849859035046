"""Recalculations over HTTP: preview, look at it, apply what was seen, take it back."""

from __future__ import annotations

from typing import Any, Final

from control.api.routing import API, Call, Created, Route
from control.services import recalculation
from control.services.pages import Page
from control.services.recalculation_views import (
    Line,
    LineQuery,
    Recalculation,
    RecalculationNew,
    RecalculationQuery,
    UndoNew,
)

_ONE: Final = "/recalculations/{row_id:int}"


async def preview(call: Call) -> Any:
    made = await recalculation.create(call.ctx, call.body)
    return Created(made, f"{API}/recalculations/{made.id}")


async def list_all(call: Call) -> Any:
    return await recalculation.page(call.ctx, call.query)


async def read_one(call: Call) -> Any:
    return await recalculation.get(call.ctx, call.path["row_id"])


async def list_lines(call: Call) -> Any:
    return await recalculation.page_lines(call.ctx, call.path["row_id"], call.query)


async def apply(call: Call) -> Any:
    return await recalculation.apply(call.ctx, call.path["row_id"])


async def undo(call: Call) -> Any:
    return await recalculation.undo(call.ctx, call.path["row_id"], call.body)


async def discard(call: Call) -> None:
    await recalculation.discard(call.ctx, call.path["row_id"])


RECALCULATION_ROUTES: Final = [
    Route(
        method="POST",
        path="/recalculations",
        handler=preview,
        summary="Price calls anew by a rule, and book nothing: a preview that can be applied.",
        role="billing",
        body=RecalculationNew,
        reply=Recalculation,
        status=201,
    ),
    Route(
        method="GET",
        path="/recalculations",
        handler=list_all,
        summary="List recalculations, the youngest first. `search` looks into the reason.",
        role="read-only",
        query=RecalculationQuery,
        sorts=("id",),
        reply=Page[Recalculation],
    ),
    Route(
        method="GET",
        path=_ONE,
        handler=read_one,
        summary="Read one with its totals by customer.",
        role="read-only",
        reply=Recalculation,
    ),
    Route(
        method="GET",
        path=_ONE + "/lines",
        handler=list_lines,
        summary="List its calls: before, after and difference, or why one cannot be priced. "
        "`search` takes the beginning of a CDR's id.",
        role="read-only",
        query=LineQuery,
        sorts=("id",),
        reply=Page[Line],
    ),
    Route(
        method="POST",
        path=_ONE + "/apply",
        handler=apply,
        summary="Book exactly what was previewed. 409 if calls were priced anew since.",
        role="billing",
        reply=Recalculation,
    ),
    Route(
        method="POST",
        path=_ONE + "/undo",
        handler=undo,
        summary="Take it back by another recalculation, which is answered; a second time it is the same one.",
        role="billing",
        body=UndoNew,
        reply=Recalculation,
    ),
    Route(
        method="DELETE",
        path=_ONE,
        handler=discard,
        summary="Drop a preview.",
        role="billing",
        status=204,
    ),
]
