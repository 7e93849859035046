"""Routes and handlers of what is asked about money before anything changes: margins, losses, replays."""

from __future__ import annotations

from typing import Any, Final

from control.api.routing import Call, Route
from control.services import margins
from control.services.losses import Losses
from control.services.margins import LossQuery, MarginQuery, PairMargin


async def read_margin(call: Call) -> Any:
    return await margins.pair_margin(call.ctx, call.query)


async def list_losses(call: Call) -> Any:
    return await margins.losses(call.ctx, call.path["card_id"], call.path["revision_id"], call.query)


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
]
