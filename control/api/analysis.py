"""Routes and handlers of what is asked about money before anything changes: margins, losses, replays."""

from __future__ import annotations

from typing import Any, Final

from litestar import Response

from control.api.routing import API, Call, Created, Route
from control.services import margins, replay, route_durations
from control.services.loss_report import Losses
from control.services.margins import LossQuery, MarginQuery, PairMargin
from control.services.pages import Page
from control.services.replay import Replay, ReplayNew
from control.services.route_durations import RouteDurations


async def read_margin(call: Call) -> Any:
    return await margins.pair_margin(call.ctx, call.query)


async def list_losses(call: Call) -> Any:
    return await margins.losses(call.ctx, call.path["card_id"], call.path["revision_id"], call.query)


async def read_durations(call: Call) -> Any:
    return await route_durations.read(call.ctx, call.path["route_id"])


async def create_replay(call: Call) -> Created:
    made = await replay.create(call.ctx, call.body)
    return Created(made, f"{API}/replays/{made.id}")


async def list_replays(call: Call) -> Any:
    return replay.page(call.ctx)


async def read_replay(call: Call) -> Any:
    return await replay.get(call.ctx, call.path["replay_id"])


async def cancel_replay(call: Call) -> Any:
    return replay.cancel(call.ctx, call.path["replay_id"])


async def download_replay(call: Call) -> Any:
    replay_id = call.path["replay_id"]
    return Response(
        await replay.table(call.ctx, replay_id),
        media_type="text/csv",
        headers={"Content-Disposition": f'attachment; filename="replay-{replay_id}.csv"'},
    )


ANALYSIS: Final = [
    Route(
        method="GET",
        path="/margins",
        handler=read_margin,
        summary="What calls to one destination earn between two cards: the worst case, the lengths that lose "
        "money, and the mean of each route that knows how long its calls are.",
        role="read-only",
        query=MarginQuery,
        reply=PairMargin,
    ),
    Route(
        method="GET",
        path="/rate-cards/{card_id:int}/revisions/{revision_id:int}/losses",
        handler=list_losses,
        summary="Destinations at which a revision would lose money with the cards that it is tied to, "
        "the largest losses first.",
        role="read-only",
        query=LossQuery,
        reply=Losses,
    ),
    Route(
        method="GET",
        path="/ingress-routes/{route_id:int}/durations",
        handler=read_durations,
        summary="How long a route's calls were of late: what its profit mode `expected` goes by.",
        role="read-only",
        reply=RouteDurations,
    ),
    Route(
        method="POST",
        path="/replays",
        handler=create_replay,
        summary="Decide and price calls of the past anew, under proposed decks, strategies and limits. "
        "Runs in the background; the answer's `Location` shows how far it is, and its result.",
        role="operator",
        body=ReplayNew,
        reply=Replay,
        status=201,
    ),
    Route(
        method="GET",
        path="/replays",
        handler=list_replays,
        summary="List replays, the youngest first, without their results.",
        role="read-only",
        reply=Page[Replay],
    ),
    Route(
        method="GET",
        path="/replays/{replay_id:int}",
        handler=read_replay,
        summary="Read one replay: how far it is, and what it found once it is done.",
        role="read-only",
        reply=Replay,
    ),
    Route(
        method="POST",
        path="/replays/{replay_id:int}/cancel",
        handler=cancel_replay,
        summary="Stop a replay that waits or runs.",
        role="operator",
        reply=Replay,
    ),
    Route(
        method="GET",
        path="/replays/{replay_id:int}/destinations.csv",
        handler=download_replay,
        summary="Download every destination of a replay, before and after.",
        role="read-only",
        reply="text/csv",
    ),
]
