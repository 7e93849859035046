"""Scheduled work done row by row, a transaction each: one that fails is named, and holds up no other.

Who is due is found by reading; what fails stays due, so the next look tries it again.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from typing import Final

import structlog
from sqlalchemy.exc import SQLAlchemyError

from control.services.context import Change, Context
from control.services.errors import ServiceError
from switch.outputs import Alarm

ALARM: Final = "scheduled_work_failed"
DETAIL_CHARACTERS_MAX: Final = 500

log = structlog.get_logger("control.schedule")


async def work_through(
    ctx: Context, what: str, ids: Iterable[int], act: Callable[[Change, int], Awaitable[int]]
) -> int:
    """Do `act` with each row in a transaction of its own; the sum of what it returned.

    Args:
        what: kind of row, as alarms and the log name it.
    """
    count = 0
    for row_id in ids:
        try:
            async with ctx.change() as change:
                done = await act(change, row_id)
        except (ServiceError, SQLAlchemyError) as error:
            log.error("scheduled work failed", what=what, id=row_id, reason=str(error))
            _tell(ctx, f"{what} {row_id}: {error}"[:DETAIL_CHARACTERS_MAX])
            continue
        count += done
    return count


def _tell(ctx: Context, detail: str) -> None:
    """Once: at every look again, it would push all other alarms out of sight."""
    if not any(each.name == ALARM and each.detail == detail for each in ctx.alarms()):
        ctx.raise_alarm(Alarm(name=ALARM, detail=detail, at_ms=ctx.now_ms()))
