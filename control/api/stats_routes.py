"""Routes of stats: sums by time, the summaries of cards, and live figures as events."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from control.api.event_stream import EVENT_STREAM, EventStream
from control.api.problems import Unauthorized
from control.api.routing import Call, Route, address_of, bearer_of
from control.services import live_figures, portal_stats, rollups, sessions, stats, summary
from control.services.admin_keys import authenticate
from control.services.live_figures import LiveQuery
from control.services.load_watch import Look
from control.services.portal_views import own_customer_id
from control.services.stats import OwnStatsQuery, ProviderStatsQuery, Stats, StatsQuery
from control.services.summary import Summary, SummaryQuery


async def read_stats(call: Call) -> Any:
    return await stats.read(call.ctx, call.query)


async def read_customer_stats(call: Call) -> Any:
    return await stats.read(call.ctx, _whole(call.query, customer_id=call.path["customer_id"]))


async def read_provider_stats(call: Call) -> Any:
    return await stats.read(call.ctx, _whole(call.query, provider_id=call.path["provider_id"]))


async def read_customer_summary(call: Call) -> Any:
    return await summary.of_customer(call.ctx, call.path["customer_id"], call.query)


async def read_provider_summary(call: Call) -> Any:
    return await summary.of_provider(call.ctx, call.path["provider_id"], call.query)


async def read_own_stats(call: Call) -> Any:
    return await portal_stats.read(call.ctx, call.query)


async def read_own_summary(call: Call) -> Any:
    return await portal_stats.read_summary(call.ctx)


async def follow(call: Call) -> Any:
    customer_id = call.query.customer_id
    await live_figures.check(call.ctx, customer_id)
    key = bearer_of(call.request)

    async def is_allowed() -> bool:
        return await authenticate(call.ctx, key) is not None

    return _stream(call, customer_id, lambda look: live_figures.figures(look, customer_id), is_allowed, is_own=False)


async def follow_own(call: Call) -> Any:
    customer_id = own_customer_id(call.ctx)
    await live_figures.check(call.ctx, customer_id, is_own=True)
    token, address = bearer_of(call.request), address_of(call.request)

    async def is_allowed() -> bool:
        try:
            return await sessions.authenticate(call.ctx, token, address) is not None
        except Unauthorized:
            return False

    return _stream(call, customer_id, lambda look: live_figures.own_figures(look, customer_id), is_allowed, is_own=True)


def _stream(
    call: Call,
    customer_id: int | None,
    show: Callable[[Look], msgspec.Struct],
    is_allowed: live_figures.IsAllowed,
    *,
    is_own: bool,
) -> EventStream:
    # Who does not say that it reads events waits for the end of the answer: it gets one.
    is_endless = EVENT_STREAM in call.request.headers.get("accept", "").lower()
    return EventStream(
        live_figures.events(call.ctx, customer_id, show, is_allowed, is_own=is_own, is_endless=is_endless)
    )


class Rebuilding(msgspec.Struct, frozen=True, kw_only=True):
    calls: int
    """CDRs that are to be summed up again, in the background."""


async def rebuild(call: Call) -> Rebuilding:
    return Rebuilding(calls=await rollups.start_again(call.ctx))


def _whole(query: msgspec.Struct, **owner: int) -> StatsQuery:
    fields: dict[str, Any] = {name: getattr(query, name) for name in query.__struct_fields__}
    return StatsQuery(**fields | owner)


_EVENTS: Final = (
    "one event a second at most; whoever does not keep up gets fewer, or is let go. "
    "Asked for without `Accept: text/event-stream` there is one event"
)

STATS_ROUTES: Final = (
    Route(
        method="GET",
        path="/stats",
        handler=read_stats,
        summary="How calls went, from their sums: by time, and by customer, provider, route, prefix or code.",
        role="read-only",
        query=StatsQuery,
        reply=Stats,
    ),
    Route(
        method="GET",
        path="/customers/{customer_id:int}/stats",
        handler=read_customer_stats,
        summary="The same of one customer, on its own clocks.",
        role="read-only",
        query=OwnStatsQuery,
        reply=Stats,
    ),
    Route(
        method="GET",
        path="/providers/{provider_id:int}/stats",
        handler=read_provider_stats,
        summary="The same of attempts at one provider's gateways.",
        role="read-only",
        query=ProviderStatsQuery,
        reply=Stats,
    ),
    Route(
        method="GET",
        path="/customers/{customer_id:int}/summary",
        handler=read_customer_summary,
        summary="A customer's calls now, today, yesterday, this month and the last one, on its own clocks.",
        role="read-only",
        query=SummaryQuery,
        reply=Summary,
    ),
    Route(
        method="GET",
        path="/providers/{provider_id:int}/summary",
        handler=read_provider_summary,
        summary="A provider's attempts now, today, yesterday, this month and the last one.",
        role="read-only",
        query=SummaryQuery,
        reply=Summary,
    ),
    Route(
        method="GET",
        path="/stats/live",
        handler=follow,
        summary=f"Live figures as server-sent events, `data` as JSON: {_EVENTS}.",
        role="read-only",
        query=LiveQuery,
        reply=EVENT_STREAM,
    ),
    Route(
        method="POST",
        path="/stats/rebuild",
        handler=rebuild,
        summary="Forget all sums of calls and make them anew from the CDRs, in the background.",
        role="admin",
        reply=Rebuilding,
        status=202,
    ),
)

PORTAL_STATS_ROUTES: Final = (
    Route(
        method="GET",
        path="/portal/stats",
        handler=read_own_stats,
        summary="How the customer's calls went, by time, prefix or code.",
        role="customer",
        query=portal_stats.PortalStatsQuery,
        reply=portal_stats.OwnStats,
    ),
    Route(
        method="GET",
        path="/portal/summary",
        handler=read_own_summary,
        summary="The customer's calls now, today, yesterday, this month and the last one.",
        role="customer",
        reply=portal_stats.OwnSummary,
    ),
    Route(
        method="GET",
        path="/portal/stats/live",
        handler=follow_own,
        summary=f"The customer's own live figures as server-sent events: {_EVENTS}.",
        role="customer",
        reply=EVENT_STREAM,
    ),
)
