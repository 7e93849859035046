"""The decision that a call of the past would have met: by the prices of then, from the store.

The running switch keeps the prices in force and those ahead. So what was sold last week is decided
here, by the same code over the same records, with each card's revisions of that time. How busy and
how healthy everything was then is not known: nobody else calls, and every gateway answers.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from control.services.context import Context
from control.services.fields import ms_moment
from control.services.revision_history import records_between
from switch.frames import Simulate, Simulated
from switch.policy.live import Live
from switch.policy.simulate import simulated
from switch.policy.tables import Tables
from switch.snapshot import Record, Snapshot


async def simulate_past(ctx: Context, request: Simulate, at_ms: int) -> Simulated:
    """Decide as the switch would have at `at_ms`; needs no switch."""
    async with ctx.store.read() as tx:
        records = await records_between(tx, at_ms, at_ms)
    found = await asyncio.to_thread(_simulate, records, ctx.data_folder, request, at_ms)
    moment = ms_moment(at_ms).isoformat().replace("+00:00", "Z")
    found.steps.insert(0, f"as of {moment}: prices of then, configuration of now, no other calls")
    return found


def tables_of(records: tuple[Record, ...], data_folder: Path) -> Tables:
    """Records as calls are decided by them."""
    tables = Tables(data_folder)
    tables.load(Snapshot(version=1, records=records))
    return tables


def _simulate(records: tuple[Record, ...], data_folder: Path, request: Simulate, at_ms: int) -> Simulated:
    return simulated(tables_of(records, data_folder), Live(), request, at_ms, 0.0)
