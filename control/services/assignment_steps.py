"""Assignments worked through a few at a time, so that whoever else writes waits for a few and not for all.

Who is due is found by reading, which holds up nobody; each transaction then reads a few of them again and
does what is due by then. Where one is refused (a balance would pass what can be counted), those of its
transaction are done one by one, and it alone is left out and named in the log.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, NamedTuple

import structlog
from sqlalchemy.exc import SQLAlchemyError

from control.services.context import Change, Context
from control.services.errors import ServiceError
from control.services.package_terms import Assignment, with_owner
from control.store.package_tables import customer_packages

AT_ONCE: Final = 50
"""Assignments in one transaction."""

log = structlog.get_logger("control.packages")


class Done(NamedTuple):
    """What one assignment took."""

    booked: int
    work: int
    """Of what a transaction does `most`."""
    is_whole: bool = True
    """False: there is more of it, for a further transaction."""


Act = Callable[[Change, Assignment, int], Awaitable[Done]]
"""Does what is due of an assignment by now, so much work at most."""


async def work_through(ctx: Context, ids: Sequence[int], act: Act, most: int) -> int:
    """Do what is due of these assignments; how many entries or charges that took.

    Args:
        most: work in one transaction, after which the next one begins.
    """
    waiting = deque(list(ids[at : at + AT_ONCE]) for at in range(0, len(ids), AT_ONCE))
    count = 0
    while waiting:
        some = waiting.popleft()
        try:
            booked, rest = await _step(ctx, some, act, most)
        except (ServiceError, SQLAlchemyError) as error:
            if len(some) == 1:
                log.error("a package was not billed", customer_package_id=some[0], reason=str(error))
            else:
                waiting.extendleft([each] for each in reversed(some))
            continue
        count += booked
        if rest:
            waiting.appendleft(rest)
    return count


async def _step(ctx: Context, ids: list[int], act: Act, most: int) -> tuple[int, list[int]]:
    """One transaction: how much it booked, and of which assignments something is left."""
    booked = work = 0
    query = with_owner().where(customer_packages.c.id.in_(ids)).order_by(customer_packages.c.id)
    async with ctx.change() as change:
        found = [Assignment(row) for row in (await change.tx.execute(query)).mappings()]
        for place, assignment in enumerate(found):
            done = await act(change, assignment, most - work)
            booked, work = booked + done.booked, work + done.work
            if work >= most or not done.is_whole:
                left = found[place + 1 :] if done.is_whole else found[place:]
                return booked, [each.id for each in left]
    return booked, []
