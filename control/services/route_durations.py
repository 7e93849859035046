"""How long each ingress route's calls are: what the profit mode `expected` weighs margins by.

Counted from the route's own CDRs: its last 10,000 answered calls of the last 30 days. A route with
fewer than 30 has no distribution, and `expected` is `worst_case` there. It is kept with the route,
so that each snapshot has it, and goes to the switch only once it has moved enough to matter.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec
from sqlalchemy import Select, func, select, update

from control.services.context import Context
from control.services.ingress_routes import INGRESS_ROUTES
from control.services.records import ingress_route_record
from control.store import tables

Durations = tuple[tuple[int, int], ...]
"""Pairs of a length in seconds and how many calls had it, by length."""

DAYS: Final = 30
CALLS_MAX: Final = 10_000
CALLS_MIN: Final = 30
BUCKETS_MAX: Final = 32
SCANNED_MAX: Final = 100_000
"""Newest CDRs of a customer that are looked at: what one refresh may cost the store."""
MOVED_PART: Final = 20
"""A distribution has moved when calls are longer or shorter by more than a twentieth of the mean."""

_DAY_MS: Final = 86_400_000


class Length(msgspec.Struct, frozen=True, kw_only=True):
    length_s: int
    """In seconds; of several lengths taken together their mean."""
    calls: int


class RouteDurations(msgspec.Struct, frozen=True, kw_only=True):
    """How long a route's answered calls were of late; empty while there are too few to judge by."""

    calls: int
    mean_s: int
    lengths: list[Length]


async def read(ctx: Context, route_id: int) -> RouteDurations:
    """What `expected` goes by."""
    async with ctx.store.read() as tx:
        row = await INGRESS_ROUTES.row(tx, route_id)
    lengths = [Length(length_s=length, calls=calls) for length, calls in row["durations"]]
    calls = sum(each.calls for each in lengths)
    talked_s = sum(each.length_s * each.calls for each in lengths)
    return RouteDurations(calls=calls, mean_s=talked_s // calls if calls else 0, lengths=lengths)


async def refresh(ctx: Context) -> int:
    """Count all routes' calls anew; returns how many routes were sent to the switch."""
    routes = tables.ingress_routes
    query = select(routes.c.customer_id).where(routes.c.archived_ms.is_(None), routes.c.enabled).distinct()
    async with ctx.store.read() as tx:
        customer_ids = sorted((await tx.execute(query)).scalars())
    sent = 0
    for customer_id in customer_ids:
        sent += await refresh_customer(ctx, customer_id)
    return sent


async def refresh_customer(ctx: Context, customer_id: int) -> int:
    """The same for one customer's routes, in one change of the configuration."""
    routes = tables.ingress_routes
    query = select(routes.c.id, routes.c.durations).where(
        routes.c.customer_id == customer_id, routes.c.archived_ms.is_(None), routes.c.enabled
    )
    lengths: dict[int, dict[int, int]] = {}
    async with ctx.store.read() as tx:
        before = {route_id: _pairs(durations) for route_id, durations in await tx.execute(query)}
        for route_id, length_s, calls in await tx.execute(_lengths(customer_id, ctx.now_ms() - DAYS * _DAY_MS)):
            lengths.setdefault(route_id, {})[max(1, int(length_s))] = calls
    after = {route_id: distribution(lengths.get(route_id, {})) for route_id in before}
    moved = [route_id for route_id in before if has_moved(before[route_id], after[route_id])]
    if not moved:
        return 0
    async with ctx.change() as change:
        for route_id in moved:
            is_it = (routes.c.id == route_id) & routes.c.archived_ms.is_(None)
            # No new version of the row: nobody's edit is in the way of a count.
            await change.tx.execute(update(routes).where(is_it).values(durations=[list(p) for p in after[route_id]]))
            row = (await change.tx.execute(select(routes).where(is_it))).mappings().first()
            if row is not None:
                change.put.append(ingress_route_record(row))
    return len(moved)


def distribution(lengths: Mapping[int, int]) -> Durations:
    """Calls by length in seconds, in few buckets: exact while there are few lengths, else parts of about
    as many calls, each at its mean. Empty for too few calls."""
    total = sum(lengths.values())
    if total < CALLS_MIN:
        return ()
    if len(lengths) <= BUCKETS_MAX:
        return tuple(sorted(lengths.items()))
    seconds: dict[int, int] = {}
    calls: dict[int, int] = {}
    counted = 0
    for length, weight in sorted(lengths.items()):
        # Where the middle of this length's calls falls: rises with the length, and stays below the limit.
        place = (2 * counted + weight) * BUCKETS_MAX // (2 * total)
        seconds[place] = seconds.get(place, 0) + length * weight
        calls[place] = calls.get(place, 0) + weight
        counted += weight
    means: dict[int, int] = {}
    for place, weight in calls.items():
        mean = (2 * seconds[place] + weight) // (2 * weight)
        means[mean] = means.get(mean, 0) + weight
    return tuple(means.items())


def has_moved(before: Durations, after: Durations) -> bool:
    """Whether calls have become longer or shorter, by the area between both cumulated shares."""
    if not before or not after:
        return before != after
    calls_before = sum(weight for _, weight in before)
    calls_after = sum(weight for _, weight in after)
    starts = sorted({length for length, _ in (*before, *after)})
    steps = {length: weight * calls_after for length, weight in before}
    for length, weight in after:
        steps[length] = steps.get(length, 0) - weight * calls_before
    area = 0
    apart = 0
    for place, length in enumerate(starts[:-1]):
        apart += steps[length]
        area += abs(apart) * (starts[place + 1] - length)
    # area ÷ (calls before · calls after) against (talk time before ÷ calls before) ÷ MOVED_PART.
    return area * MOVED_PART > calls_after * sum(length * weight for length, weight in before)


def _lengths(customer_id: int, since_ms: int) -> Select[Any]:
    """Route, length in seconds and number of calls: one walk back along the customer's index."""
    cdrs = tables.cdrs.c
    newest = (
        select(cdrs.route_id, cdrs.duration_ms, cdrs.answered_ms, cdrs.invited_ms)
        .where(cdrs.customer_id == customer_id, cdrs.invited_ms >= since_ms)
        .order_by(cdrs.invited_ms.desc())
        .limit(SCANNED_MAX)
        .subquery()
    )
    place = func.row_number().over(partition_by=newest.c.route_id, order_by=newest.c.invited_ms.desc())
    answered = (
        select(newest.c.route_id, ((newest.c.duration_ms + 999) // 1000).label("length_s"), place.label("place"))
        .where(newest.c.answered_ms.is_not(None), newest.c.route_id.is_not(None))
        .subquery()
    )
    return (
        select(answered.c.route_id, answered.c.length_s, func.count())
        .where(answered.c.place <= CALLS_MAX)
        .group_by(answered.c.route_id, answered.c.length_s)
    )


def _pairs(stored: list[list[int]]) -> Durations:
    return tuple((length, calls) for length, calls in stored)
