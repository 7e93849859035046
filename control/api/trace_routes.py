"""Latest calls, and what was said in each."""

from __future__ import annotations

from typing import Any, Final

from litestar import Response

from control.api.routing import Call, Route
from control.services import call_traces, latest_calls, live_calls, simulation_log
from control.services.latest_calls import CustomerLatestQuery, LatestPage, LatestQuery
from control.services.live_calls import CallShown, CustomerCallQuery
from control.services.pages import Page
from control.services.simulation_log import SimulationQuery, SimulationRow

_INERT: Final = {
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; sandbox",
}
"""Peers wrote what is in it: opened by itself in a browser, it still runs and loads nothing."""


async def list_latest(call: Call) -> Any:
    return await latest_calls.page(call.ctx, call.query)


async def list_latest_of(call: Call) -> Any:
    return await latest_calls.page_of(call.ctx, call.path["customer_id"], call.query)


async def list_calls_of(call: Call) -> Any:
    return await live_calls.page_of(call.ctx, call.path["customer_id"], call.query)


async def list_simulations(call: Call) -> Any:
    return simulation_log.page(call.ctx, call.query)


async def read_messages(call: Call) -> Any:
    return await call_traces.read(call.ctx, call.path["cdr_id"])


async def read_text(call: Call) -> Any:
    text = await call_traces.read_text(call.ctx, call.path["cdr_id"])
    return Response(text.encode(), media_type="text/plain; charset=utf-8", headers=_INERT)


async def read_ladder(call: Call) -> Any:
    picture = await call_traces.read_ladder(call.ctx, call.path["cdr_id"])
    return Response(picture.encode(), media_type="image/svg+xml", headers=_INERT)


TRACE_ROUTES: Final = (
    Route(
        method="GET",
        path="/latest-calls",
        handler=list_latest,
        summary="List calls from their INVITE on, live and ended ones, refused ones too, the latest first.",
        role="read-only",
        query=LatestQuery,
        reply=LatestPage,
    ),
    Route(
        method="GET",
        path="/customers/{customer_id:int}/latest-calls",
        handler=list_latest_of,
        summary="The same of one customer.",
        role="read-only",
        query=CustomerLatestQuery,
        reply=LatestPage,
    ),
    Route(
        method="GET",
        path="/customers/{customer_id:int}/calls",
        handler=list_calls_of,
        summary="List a customer's live calls, the youngest first.",
        role="read-only",
        query=CustomerCallQuery,
        reply=Page[CallShown],
    ),
    Route(
        method="GET",
        path="/simulations",
        handler=list_simulations,
        summary="List the latest simulations since the control process began, with what was asked and what came out.",
        role="read-only",
        query=SimulationQuery,
        reply=Page[SimulationRow],
    ),
    Route(
        method="GET",
        path="/calls/{cdr_id:str}/messages",
        handler=read_messages,
        summary="Read how a call was decided, and its SIP messages as long as they are kept.",
        role="read-only",
        reply=call_traces.CallTrace,
    ),
    Route(
        method="GET",
        path="/calls/{cdr_id:str}/messages.txt",
        handler=read_text,
        summary="The same as plain text.",
        role="read-only",
        reply="text/plain",
    ),
    Route(
        method="GET",
        path="/calls/{cdr_id:str}/ladder.svg",
        handler=read_ladder,
        summary="A call's SIP messages as a ladder diagram.",
        role="read-only",
        reply="image/svg+xml",
    ),
)
