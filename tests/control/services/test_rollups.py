"""Sums of calls are those of the calls, whatever the batches, the restarts and the age of the store."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import msgspec
from alembic import command
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import func, insert, inspect, select, text
from sqlalchemy.engine import Connection

from control.services import rollups
from control.services.call_entries import insert_entries, last_numbers
from control.services.cdr_rows import insert_batch
from control.services.quality import is_effective
from control.services.store_checks import CHECKS, run_check
from control.sinks import SqliteSink, StoreSink, make_sink
from control.store import tables
from control.store.engine import Store, open_store
from control.store.migrate import alembic_config
from control.store.rollup_tables import KEYS, SUMS, call_rollups
from switch.records import CallEnded
from tests.fakes.control import START_MS, ControlPlane, with_control
from tests.fakes.databases import Database, migrated
from tests.fakes.ended_calls import ended_call
from tests.fakes.journal_records import attempt
from tests.fakes.priced_calls import Exchange

MINUTE = 60_000


def tried(number: int, provider_id: int, status: int, invited_ms: int, cost_nanos: int = 0) -> Any:
    """An attempt of a call; 200 is answered, and 487 rang."""
    return msgspec.structs.replace(
        attempt(),
        provider_id=provider_id,
        gateway_id=provider_id * 10,
        started_ms=invited_ms + 100,
        progress_ms=invited_ms + 400 if status == 487 else None,
        answered_ms=invited_ms + 500 if status == 200 else None,
        ended_ms=invited_ms + 900,
        status=status,
        billed_s=30 if status == 200 else 0,
        cost_nanos=cost_nanos,
    )


STATUSES = (200, 486, 487, 503)
calls = st.tuples(
    st.integers(1, 12),
    st.integers(1, 2),
    st.none() | st.integers(1, 2),
    st.integers(0, 40),
    st.sampled_from(STATUSES),
    st.lists(st.sampled_from(((1, 503), (2, 486), (3, 0))), max_size=2),
    st.sampled_from(("", "44", "4420")),
)
"""Number, customer, route, minute, status, attempts that failed, prefix."""


def made(facts: Any) -> CallEnded:
    number, customer, route, minute, status, tries, prefix = facts
    invited_ms = START_MS + minute * MINUTE + number
    is_answered = status == 200
    attempts = [tried(number, provider, code, invited_ms) for provider, code in tries]
    if is_answered:
        attempts.append(tried(number, 4, 200, invited_ms, 1_000_000 + number))
    return ended_call(
        number,
        customer_id=customer,
        route_id=route,
        prefix=prefix,
        destination=f"to {prefix}",
        invited_ms=invited_ms,
        progress_ms=invited_ms + 400 if status == 487 else None,
        answered_ms=invited_ms + 500 if is_answered else None,
        ended_ms=invited_ms + 30_500,
        duration_ms=30_000 if is_answered else 0,
        billed_s=30 if is_answered else 0,
        gross_nanos=4_900_000 + number if is_answered else 0,
        tax_nanos=900_000 if is_answered else 0,
        cost_nanos=1_000_000 + number if is_answered else 0,
        pdd_ms=None if status == 503 else 400,
        status=status,
        attempts=tuple(attempts),
    )


def expected(ended: list[CallEnded], step_ms: int = MINUTE) -> dict[tuple[Any, ...], tuple[int, ...]]:
    """`call_rollups` by the words of SPEC, one call at a time."""
    found: dict[tuple[Any, ...], list[int]] = {}
    for cdr in {each.cdr.id: each.cdr for each in reversed(ended)}.values():
        key = (cdr.customer_id, cdr.invited_ms // step_ms * step_ms, cdr.route_id or 0, cdr.currency, cdr.status)
        effective = is_effective(
            cdr.status, is_answered=cdr.answered_ms is not None, has_rung=cdr.progress_ms is not None
        )
        more = [1, cdr.answered_ms is not None, effective, cdr.duration_ms, cdr.billed_s]
        more += [cdr.pdd_ms or 0, cdr.pdd_ms is not None]
        more += [cdr.net_nanos, cdr.tax_nanos, cdr.gross_nanos, cdr.cost_nanos]
        sums = found.setdefault(key, [0] * len(more))
        found[key] = [a + b for a, b in zip(sums, more, strict=True)]
    return {key: tuple(sums) for key, sums in found.items()}


async def rows_of(store: Store, name: str) -> dict[tuple[Any, ...], tuple[int, ...]]:
    table = tables.METADATA.tables[name]
    async with store.read() as tx:
        found = (await tx.execute(select(table))).mappings().all()
    rows = {tuple(row[key] for key in KEYS[name]): tuple(row[each] for each in SUMS[name]) for row in found}
    # All customers together are `assert_sound`'s.
    return {key: sums for key, sums in rows.items() if key[0] != rollups.ALL}


async def all_rows(store: Store) -> dict[str, Any]:
    return {name: await rows_of(store, name) for name in SUMS}


async def assert_sound(store: Store) -> None:
    """The store's own check says so too."""
    async with store.read() as tx:
        for each in CHECKS:
            if each.name.startswith("sums_"):
                assert await run_check(tx, each) == []


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(batches=st.lists(st.lists(calls, min_size=1, max_size=6), min_size=1, max_size=4))
def test_sums_are_those_of_the_calls_whatever_the_batches(tmp_path_factory: Any, batches: list[list[Any]]) -> None:
    """Calls that come twice, in one batch or in another, count once."""
    folder = tmp_path_factory.mktemp("sums")

    async def run() -> None:
        for kind in (SqliteSink, StoreSink):
            place = folder / kind.__name__
            place.mkdir()
            store = open_store(f"sqlite:///{place / 'tandem.db'}")
            async with store.begin() as tx:
                await tx.run_sync(lambda connection: tables.METADATA.create_all(connection))
                await tx.execute(insert(tables.snapshot_version).values(id=1, version=1))
                state = {"id": 1, "cursor_number": 0, "upto_number": 0, "folded_ms": 0}
                await tx.execute(insert(tables.METADATA.tables["rollup_state"]).values(state))
            sink = kind(store)
            for place_no, batch in enumerate(batches):
                ended = [made(facts) for facts in batch]
                await sink.write([(place_no * 10 + n, each) for n, each in enumerate(ended)], place_no * 10 + 9)
            everything = [made(facts) for batch in batches for facts in batch]
            assert await rows_of(store, "call_rollups") == expected(everything)
            await assert_sound(store)
            sink.close()
            await store.close()

    asyncio.run(run())


def test_sums_hold_and_are_made_anew_on_either_database(tmp_path: Path, database: Database) -> None:
    async def run() -> None:
        store = await migrated(database, tmp_path)
        plane = ControlPlane(store, tmp_path)
        sink = make_sink(store)
        ended = [made((n, 1 + n % 2, n % 3 or None, n, STATUSES[n % 4], [(1, 503)], "44")) for n in range(1, 50)]
        await sink.write(list(enumerate(ended[:30], 1)), 30)
        await sink.write(list(enumerate(ended[20:], 21)), 49)
        assert await rows_of(store, "call_rollups") == expected(ended)
        before = await all_rows(store)
        await assert_sound(store)
        assert await rollups.start_again(plane.ctx) > 0
        assert await rows_of(store, "call_rollups") == {}
        # Calls that end meanwhile are in the sums at once, and once.
        await sink.write([(50, made((50, 1, 1, 3, 200, [], "44")))], 50)
        while await rollups.build(plane.ctx):
            pass
        await sink.write([(51, made((51, 1, 1, 3, 200, [], "44")))], 51)
        assert await rows_of(store, "call_rollups") == expected(
            [*ended, made((50, 1, 1, 3, 200, [], "44")), made((51, 1, 1, 3, 200, [], "44"))]
        )
        for name in ("prefix_rollups", "provider_rollups"):
            assert set(before[name]) <= set(await rows_of(store, name))
        await assert_sound(store)
        sink.close()
        await store.close()

    asyncio.run(run())


def test_wrong_sums_are_told(tmp_path: Path, database: Database) -> None:
    async def run() -> None:
        store = await migrated(database, tmp_path)
        sink = make_sink(store)
        await sink.write([(1, made((1, 1, 1, 0, 200, [], "44")))], 1)
        async with store.begin() as tx:
            await tx.execute(call_rollups.update().values(cost_nanos=call_rollups.c.cost_nanos + 1))
        # Of the customer and of all together, so that these two agree.
        async with store.read() as tx:
            found = {each.name: await run_check(tx, each) for each in CHECKS}
        assert [name for name, violations in found.items() if violations] == ["sums_are_those_of_calls"]
        assert found["sums_are_those_of_calls"][0].noun == "customer"
        sink.close()
        await store.close()

    asyncio.run(run())


def test_calls_of_an_older_store_are_added_in_the_background(tmp_path: Path, database: Database) -> None:
    async def run() -> None:
        store = open_store(await database.empty(tmp_path))

        def older(connection: Connection) -> None:
            command.upgrade(alembic_config(connection), "0101")

        async with store.begin() as tx:
            await tx.run_sync(older)
            # Calls are written as today; what a CDR has got since is taken off again.
            there = await tx.run_sync(lambda connection: inspect(connection).get_columns("cdrs"))
            since = set(tables.cdrs.c.keys()) - {column["name"] for column in there}
            for name in since:
                await tx.execute(text(f"ALTER TABLE cdrs ADD COLUMN {name} TEXT"))
            ended = [made((n, 1, 1, n % 7, 200, [(2, 486)], "4420")) for n in range(1, 30)]
            last = await last_numbers(tx)
            await insert_batch(tx, list(enumerate(ended, 1)))
            await insert_entries(tx, *last)
        async with store.begin() as tx:
            for name in since:
                await tx.execute(text(f"ALTER TABLE cdrs DROP COLUMN {name}"))
        await store.migrate()
        ctx = ControlPlane(store, tmp_path).ctx
        assert await rows_of(store, "call_rollups") == {}
        while await rollups.build(ctx):
            pass
        assert not await rollups.build(ctx)
        assert await rows_of(store, "call_rollups") == expected(ended)
        await assert_sound(store)
        await store.close()

    asyncio.run(run())


@with_control
async def test_old_minutes_become_quarters_with_the_same_sums(plane: ControlPlane) -> None:
    first, second = await plane.make_customer(), await plane.make_customer(name="Other")
    ids = {1: first, 2: second}
    ended = [made((n, ids[1 + n % 2], 1, n * 3, 200, [(2, 486)], "44")) for n in range(1, 60)]
    sink = make_sink(plane.store)
    await sink.write(list(enumerate(ended, 1)), 60)
    plane.clock.ms = START_MS + rollups.MINUTES_KEPT_MS + 2 * 3_600_000
    assert await rollups.fold(plane.ctx)
    while await rollups.fold(plane.ctx):
        pass
    # Two hours are old enough, the third is not.
    border = START_MS + 2 * 3_600_000
    old = expected([each for each in ended if each.cdr.invited_ms < border], 15 * MINUTE)
    young = expected([each for each in ended if each.cdr.invited_ms >= border])
    assert await rows_of(plane.store, "call_rollups") == {**old, **young}
    # A call of long ago that ends now counts all the same, and again nothing is lost.
    late = made((99, first, 1, 4, 200, [], "44"))
    await sink.write([(99, late)], 99)
    async with plane.store.read() as tx:
        everything = select(func.sum(call_rollups.c.attempts)).where(call_rollups.c.customer_id != rollups.ALL)
        assert (await tx.execute(everything)).scalar_one() == 60
    await assert_sound(plane.store)
    sink.close()


@with_control
async def test_what_a_recalculation_changes_is_in_the_sums_and_undone_with_it(plane: ControlPlane) -> None:
    exchange = await Exchange(plane).open()
    for _ in range(3):
        await exchange.call(90_000)
    before = await all_rows(plane.store)
    runs = []
    for card in (exchange.sell, exchange.buy):
        revision = await exchange.load(card, b"prefix,name,rate,increment\n44,UK,0.5,60/60\n", activate=False)
        rule = {"card_id": card, "revision_id": revision}
        asked = {"filters": {"day": "2027-01-15"}, "rule": rule, "reason": "wrong card"}
        run = await plane.post("/recalculations", asked)
        done = await plane.post(f"/recalculations/{run['id']}/apply", None, status=200)
        assert done["booked"] == 3
        runs.append(done)
    moved = await all_rows(plane.store)
    assert moved != before
    await assert_sound(plane.store)
    await rollups.start_again(plane.ctx)
    while await rollups.build(plane.ctx):
        pass
    assert await all_rows(plane.store) == moved
    for run in reversed(runs):
        await plane.post(f"/recalculations/{run['id']}/undo", {"reason": "it was right"}, status=200)
    assert await all_rows(plane.store) == before
