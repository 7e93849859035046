"""The process that replays calls: a job on standard input, progress on standard output, results in files.

It reads the store by itself, at a low priority, and shares nothing with the control process but
the machine: neither the API nor the reading of the journal waits for it, and it ends with its parent.
"""

from __future__ import annotations

import asyncio
import os
import sys
import time
from pathlib import Path
from typing import Any, Final

import msgspec
from sqlalchemy import Select, or_, select

from control.services.replay_calls import PastCall, Replayer
from control.services.replay_job import ReplayJob, Told
from control.services.replay_sums import ReplaySums
from control.services.revision_history import records_between
from control.store import tables
from control.store.engine import Store, open_store
from control.with_parent import end_with

NICENESS: Final = 10
PAGE_CALLS: Final = 1_000
TOLD_EVERY_S: Final = 0.5


def main() -> None:
    job = msgspec.json.decode(sys.stdin.buffer.read(), type=ReplayJob)
    end_with(job.parent)
    os.nice(NICENESS)
    try:
        calls = asyncio.run(replay(job))
    except Exception as error:
        _tell(Told(0, error=f"{type(error).__name__}: {error}"))
        sys.exit(1)
    _tell(Told(calls, is_done=True))


async def replay(job: ReplayJob) -> int:
    """Replay all calls of the job and write its results; returns how many there were."""
    store = open_store(job.store_url)
    try:
        return await _replay(job, store)
    finally:
        await store.close()


async def _replay(job: ReplayJob, store: Store) -> int:
    providers = tables.providers.c
    async with store.read() as tx:
        records = await records_between(tx, job.from_ms, job.to_ms)
        names = {row.id: row.name for row in await tx.execute(select(providers.id, providers.name))}
    replayer = Replayer(records, Path(job.data_folder), job.changes, job.max_duration_s)
    sums = ReplaySums(names)
    since_ms, after = job.from_ms, 0
    told_at = time.monotonic()
    while True:
        # A short transaction a page: a long one would keep the store from folding its log together.
        async with store.read() as tx:
            calls = [PastCall(*row) for row in await tx.execute(_page(job, since_ms, after))]
        for call in calls:
            sums.add(call, replayer.replay(call))
        if len(calls) < PAGE_CALLS:
            break
        since_ms, after = calls[-1].invited_ms, calls[-1].number
        if time.monotonic() >= told_at + TOLD_EVERY_S:
            told_at = time.monotonic()
            _tell(Told(sums.calls))
    _write(job, sums, [f"{kind} {number}: {text}" for (kind, number), text in replayer.tables.problems.items()])
    return sums.calls


def _page(job: ReplayJob, since_ms: int, after: int) -> Select[Any]:
    """The next calls by the time of their INVITE, then their number: along an index, from where it was left."""
    cdrs = tables.cdrs.c
    columns = [cdrs[name] for name in PastCall.__struct_fields__]
    query = select(*columns).where(cdrs.invited_ms >= since_ms, cdrs.invited_ms < job.to_ms)
    query = query.where(or_(cdrs.invited_ms > since_ms, cdrs.number > after))
    if job.customer_id is not None:
        query = query.where(cdrs.customer_id == job.customer_id)
    return query.order_by(cdrs.invited_ms, cdrs.number).limit(PAGE_CALLS)


def _write(job: ReplayJob, sums: ReplaySums, notes: list[str]) -> None:
    """Both files, each whole or not there."""
    base = Path(job.base)
    table = base.with_suffix(".csv.part")
    sums.write_csv(table)
    table.replace(base.with_suffix(".csv"))
    found = base.with_suffix(".json.part")
    found.write_bytes(msgspec.json.encode(sums.result(notes)))
    found.replace(base.with_suffix(".json"))


def _tell(told: Told) -> None:
    sys.stdout.buffer.write(msgspec.json.encode(told) + b"\n")
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
