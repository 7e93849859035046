"""The journal reaches the store: every call once, whatever restarts, damage never stepped over."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select, text

from config.settings import Journal as JournalSettings
from control.ingest import FAULTS, Ingest
from control.link import SwitchLink
from control.services import cdr_rows
from control.sinks import Sink, SqliteSink, StoreSink
from control.store import tables
from control.store.engine import Store
from switch.journal import Journal
from switch.journal_read import JournalCorrupt
from switch.records import CallEnded, Candidate, DeltaApplied
from tests.fakes.cdrs import make_attempt
from tests.fakes.databases import Database, migrated
from tests.fakes.ended_calls import ended_call


def ended(number: int) -> CallEnded:
    attempt = make_attempt(
        prefix="4420", rate_nanos=6_100_000, started_ms=1_000, answered_ms=1_500, ended_ms=31_500, cost_nanos=3_050_000
    )
    return ended_call(
        number,
        cost_nanos=3_050_000,
        margin_nanos=1_850_000,
        attempts=(attempt,),
        explanation=(Candidate(2, 1, "taken", 6_100_000, 3_700_000),),
    )


MakeSink = Callable[[Store], Sink]

# Every way into the store obeys the same rules.
pytestmark = pytest.mark.parametrize(
    ("database", "sink"),
    [
        pytest.param("sqlite", SqliteSink, id="sqlite"),
        pytest.param("sqlite", StoreSink, id="store"),
        pytest.param("postgresql", StoreSink, id="postgresql", marks=pytest.mark.slow),
    ],
    indirect=["database"],
)

FULL = {
    "sqlite": ["CREATE TRIGGER is_full BEFORE INSERT ON ingest_position BEGIN SELECT RAISE(ABORT, 'disk full'); END"],
    "postgresql": [
        "CREATE OR REPLACE FUNCTION is_full() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE EXCEPTION 'disk full'; END $$",
        "CREATE TRIGGER is_full BEFORE INSERT ON ingest_position FOR EACH ROW EXECUTE FUNCTION is_full()",
    ],
}
ROOM = {"sqlite": "DROP TRIGGER is_full", "postgresql": "DROP TRIGGER is_full ON ingest_position"}


class Bench:
    """A journal that is written, and a store that is fed from it."""

    def __init__(self, store: Store, folder: Path, sink: MakeSink) -> None:
        self.store = store
        self.sink: Sink = sink(store)
        self.folder = folder
        self.journal = open_journal(folder)
        self.ingest = self.fresh_ingest()

    def fresh_ingest(self) -> Ingest:
        """What a restarted control process begins with."""
        return Ingest(self.store, SwitchLink(self.folder / "switch.sock"), self.folder / "journal", self.sink)

    async def refuse_positions(self, refuse: bool) -> None:
        """Make the store fail between CDRs and commit, as a full disk would."""
        async with self.store.begin() as tx:
            for statement in FULL[tx.dialect.name] if refuse else [ROOM[tx.dialect.name]]:
                await tx.execute(text(statement))

    async def stored(self) -> list[str]:
        async with self.store.read() as tx:
            return list((await tx.execute(select(tables.cdrs.c.call_id).order_by(tables.cdrs.c.number))).scalars())

    async def position(self) -> int:
        async with self.store.read() as tx:
            return await cdr_rows.read_position(tx)


def open_journal(folder: Path) -> Journal:
    return Journal.open(folder / "journal", JournalSettings(sync="os"), lambda reason: None)


@asynccontextmanager
async def benches(folder: Path, database: Database, sink: MakeSink) -> AsyncIterator[Bench]:
    store = await migrated(database, folder)
    bench = Bench(store, folder, sink)
    try:
        yield bench
    finally:
        bench.journal.close()
        bench.ingest.close()
        await store.close()


def play(folder: Path, database: Database, sink: MakeSink, scene: Callable[[Bench], Awaitable[None]]) -> None:
    async def run() -> None:
        async with benches(folder, database, sink) as bench:
            await scene(bench)

    asyncio.run(run())


def calls(*numbers: int) -> list[str]:
    return [f"{number}@test" for number in numbers]


def test_records_are_stored_with_the_position_they_reach(tmp_path: Path, database: Database, sink: MakeSink) -> None:
    async def scene(bench: Bench) -> None:
        last = bench.journal.append([ended(1), DeltaApplied(version=4, at_ms=9), ended(2)])
        assert await bench.ingest.ingest_batch() == 3
        assert await bench.stored() == calls(1, 2)
        assert await bench.position() == last == bench.ingest.state.sequence
        assert await bench.ingest.ingest_batch() == 0

    play(tmp_path, database, sink, scene)


def test_a_restarted_reader_goes_on_where_the_store_is(tmp_path: Path, database: Database, sink: MakeSink) -> None:
    async def scene(bench: Bench) -> None:
        bench.journal.append([ended(1), ended(2)])
        await bench.ingest.drain()
        bench.journal.append([ended(3)])
        await bench.fresh_ingest().drain()
        assert await bench.stored() == calls(1, 2, 3)

    play(tmp_path, database, sink, scene)


def test_a_restarted_switch_goes_on_in_a_new_segment(tmp_path: Path, database: Database, sink: MakeSink) -> None:
    async def scene(bench: Bench) -> None:
        bench.journal.append([ended(1)])
        await bench.ingest.drain()
        bench.journal.close()
        bench.journal = open_journal(bench.folder)
        bench.journal.append([ended(2)])
        await bench.ingest.drain()
        assert await bench.stored() == calls(1, 2)

    play(tmp_path, database, sink, scene)


def test_a_batch_that_the_store_did_not_take_is_read_again_whole(
    tmp_path: Path, database: Database, sink: MakeSink
) -> None:
    async def scene(bench: Bench) -> None:
        bench.journal.append([ended(1), ended(2)])
        await bench.refuse_positions(True)
        with pytest.raises(FAULTS):
            await bench.ingest.ingest_batch()
        assert await bench.stored() == []
        await bench.refuse_positions(False)
        assert await bench.ingest.ingest_batch() == 2
        assert await bench.stored() == calls(1, 2)

    play(tmp_path, database, sink, scene)


def test_only_what_outlives_a_loss_of_power_is_stored(
    tmp_path: Path, database: Database, sink: MakeSink, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without it the switch might end a stored call once more after the next boot, at another price."""

    def fail(fd: int) -> None:
        raise OSError(errno.EIO, "no disk")

    async def scene(bench: Bench) -> None:
        bench.journal.append([ended(1), ended(2)])
        with monkeypatch.context() as patch:
            patch.setattr(os, "fdatasync", fail)
            with pytest.raises(FAULTS):
                await bench.ingest.ingest_batch()
        assert await bench.stored() == []
        assert await bench.ingest.ingest_batch() == 2
        assert await bench.stored() == calls(1, 2)

    play(tmp_path, database, sink, scene)


def test_damage_is_named_with_its_place_and_stops_the_reading(
    tmp_path: Path, database: Database, sink: MakeSink
) -> None:
    async def scene(bench: Bench) -> None:
        for number in (1, 2, 3):
            bench.journal.append([ended(number)])
        (segment,) = (bench.folder / "journal").glob("*.tj")
        content = bytearray(segment.read_bytes())
        content[content.index(b"2@test")] ^= 1
        segment.write_bytes(content)
        await bench.ingest.drain()
        assert await bench.stored() == calls(1)
        assert segment.name in bench.ingest.state.fault
        with pytest.raises(JournalCorrupt):
            await bench.fresh_ingest().ingest_batch()
        assert await bench.stored() == calls(1)

    play(tmp_path, database, sink, scene)


def test_a_torn_tail_is_waited_for(tmp_path: Path, database: Database, sink: MakeSink) -> None:
    async def scene(bench: Bench) -> None:
        bench.journal.append([ended(1), ended(2)])
        (segment,) = (bench.folder / "journal").glob("*.tj")
        whole = segment.read_bytes()
        segment.write_bytes(whole[:-7])
        await bench.ingest.drain()
        assert await bench.stored() == calls(1)
        assert bench.ingest.state.fault == ""
        segment.write_bytes(whole)
        await bench.ingest.drain()
        assert await bench.stored() == calls(1, 2)

    play(tmp_path, database, sink, scene)


class Patient(Ingest):
    """Gives up where it reads and reads and lets nobody else have a turn."""

    looks = 0

    async def ingest_batch(self) -> int:
        self.looks += 1
        assert self.looks < 1_000, "nobody else gets a turn"
        return await super().ingest_batch()


def test_who_waits_for_the_end_of_the_journal_is_told_so_and_keeps_nobody_from_it(
    tmp_path: Path, database: Database, sink: MakeSink
) -> None:
    async def scene(bench: Bench) -> None:
        ingest = Patient(bench.store, SwitchLink(bench.folder / "switch.sock"), bench.folder / "journal", bench.sink)
        reading = asyncio.create_task(ingest.run())
        try:
            for number in range(3):
                bench.journal.append([ended(number)])
                assert await asyncio.wait_for(ingest.wait_read(5.0), 5.0)
                assert len(await bench.stored()) == number + 1
                assert all(await asyncio.gather(*(ingest.wait_read(5.0) for _ in range(3))))
        finally:
            reading.cancel()
            with suppress(asyncio.CancelledError):
                await reading

    play(tmp_path, database, sink, scene)


# Each example has a folder, and so a store, of its own.
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    steps=st.lists(st.sampled_from(["write", "read", "restart", "lose"]), min_size=1, max_size=12),
)
def test_every_call_is_stored_once_whatever_order_things_happen_in(
    tmp_path_factory: pytest.TempPathFactory, database: Database, sink: MakeSink, steps: list[str]
) -> None:
    async def scene(bench: Bench) -> None:
        written: list[int] = []
        for step in steps:
            if step == "write":
                numbers = [len(written) + 1, len(written) + 2]
                written += numbers
                bench.journal.append([ended(number) for number in numbers])
            elif step == "read":
                await bench.ingest.ingest_batch()
            elif step == "restart":
                bench.ingest = bench.fresh_ingest()
            else:
                await bench.refuse_positions(True)
                with suppress(*FAULTS):
                    await bench.ingest.ingest_batch()
                await bench.refuse_positions(False)
        await bench.ingest.drain()
        assert await bench.stored() == calls(*written)

    play(tmp_path_factory.mktemp("ingest"), database, sink, scene)
