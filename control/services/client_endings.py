"""What becomes of a client's things when it becomes inactive, and when it is deleted.

What it had ends on the day that it ended itself; its history stays.
"""

from __future__ import annotations

from datetime import date, timedelta

from sqlalchemy.engine import RowMapping

from control.services import occupancies
from control.services.context import Change, Context
from control.services.errors import Reference
from control.services.occupancies import OCCUPANCIES
from control.services.periods import day_at
from control.store.engine import Tx


async def end_owned(ctx: Context, change: Change, client: RowMapping) -> None:
    """Of a client that became inactive: its rooms are free again from the day after its last one."""
    await occupancies.release(change, client["id"], day_after_last(client))


async def archive_owned(change: Change, client: RowMapping) -> None:
    """Of a client that is deleted: what belongs to it alone goes with it."""
    for row in await OCCUPANCIES.rows_of(change.tx, "client_id", client["id"]):
        written = await OCCUPANCIES.write(change, row, {"archived_ms": change.now_ms})
        await change.audit("archive", "occupancy", row["id"], before=OCCUPANCIES.struct(written))


async def kept_for(tx: Tx, client_id: int) -> list[Reference]:
    """What a client must be kept for."""
    return []


def day_after_last(client: RowMapping) -> date:
    """The first day that an inactive client has nothing more of: its last one counts as a whole."""
    return day_at(client["ended_ms"] - 1, client["time_zone"]) + timedelta(days=1)
