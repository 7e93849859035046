"""Entries: appended with their balance, never changed, and calls' own written once with their CDRs."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import func, select, text
from sqlalchemy.exc import DatabaseError

from control.feed import begin_ids_above, read_balances
from control.services import ledger
from control.services.errors import Conflict, NotFound
from control.sinks import Sink, SqliteSink, StoreSink
from control.store import tables
from control.store.engine import Store, open_store
from tests.fakes.control import ControlPlane, with_control
from tests.fakes.databases import Database
from tests.fakes.ended_calls import ended_call

SINKS: dict[str, Callable[[Store], Sink]] = {"sqlite": SqliteSink, "store": StoreSink}


async def append(plane: ControlPlane, amount_nanos: int, customer_id: int = 1, kind: ledger.BookedKind = "fee") -> int:
    async with plane.ctx.change() as change:
        return await ledger.append(change, customer_id=customer_id, kind=kind, amount_nanos=amount_nanos)


async def sums(plane: ControlPlane) -> dict[int, int]:
    entries = tables.ledger_entries.c
    async with plane.store.read() as tx:
        query = select(entries.customer_id, func.sum(entries.amount_nanos)).group_by(entries.customer_id)
        return {customer_id: int(total) for customer_id, total in (await tx.execute(query)).all()}


async def balances(plane: ControlPlane) -> dict[int, int]:
    async with plane.store.read() as tx:
        return (await read_balances(tx))[1]


@with_control
async def test_an_entry_moves_its_balance_and_is_in_the_switch_when_the_change_ends(plane: ControlPlane) -> None:
    first = await append(plane, 5)
    second = await append(plane, -7, customer_id=2)
    assert second > first
    assert plane.publisher.booked == [first, second]
    assert await balances(plane) == await sums(plane) == {1: 5, 2: -7}


@with_control
async def test_a_change_that_fails_leaves_neither_entry_nor_balance(plane: ControlPlane) -> None:
    with contextlib.suppress(RuntimeError):
        async with plane.ctx.change() as change:
            await ledger.append(change, customer_id=1, kind="fee", amount_nanos=5)
            raise RuntimeError
    assert await balances(plane) == await sums(plane) == {}
    assert plane.publisher.booked == []


@with_control
async def test_entries_appended_at_once_have_the_order_of_their_ids(plane: ControlPlane) -> None:
    made = await asyncio.gather(*(append(plane, 1) for _ in range(20)))
    assert sorted(made) == sorted(plane.publisher.booked) == list(range(min(made), min(made) + 20))
    assert await balances(plane) == {1: 20}


@pytest.mark.parametrize("statement", ["UPDATE ledger_entries SET amount_nanos = 0", "DELETE FROM ledger_entries"])
def test_nobody_edits_the_ledger(statement: str, tmp_path: Path, database: Database) -> None:
    @with_control
    async def run(plane: ControlPlane) -> None:
        await append(plane, 5)
        with pytest.raises(DatabaseError, match="append-only"):
            async with plane.store.begin() as tx:
                await tx.execute(text(statement))
        assert await sums(plane) == {1: 5}

    run(tmp_path, database)


@with_control
async def test_a_balance_that_could_not_be_counted_is_refused(plane: ControlPlane) -> None:
    await append(plane, ledger.BALANCE_NANOS_MAX)
    with pytest.raises(Conflict, match="beyond"):
        await append(plane, 1)
    assert await balances(plane) == {1: ledger.BALANCE_NANOS_MAX}


@with_control
async def test_an_entry_is_taken_back_once_by_its_opposite(plane: ControlPlane) -> None:
    entry = await append(plane, 5, kind="adjustment")
    async with plane.ctx.change() as change:
        taken_back = await ledger.reverse(change, entry)
    assert await balances(plane) == {1: 0}
    for wrong, reason in ((entry, "before"), (taken_back, "reversal")):
        with pytest.raises(Conflict, match=reason):
            async with plane.ctx.change() as change:
                await ledger.reverse(change, wrong)
    with pytest.raises(NotFound):
        async with plane.ctx.change() as change:
            await ledger.reverse(change, 999)


@with_control
async def test_new_ids_can_be_made_to_begin_above_a_number_and_never_go_back(plane: ControlPlane) -> None:
    first = await append(plane, 1)
    for least in (first + 500, first + 3):
        async with plane.store.begin() as tx:
            await begin_ids_above(tx, least)
    assert await append(plane, 1) == first + 501


@pytest.mark.parametrize("sink", sorted(SINKS))
def test_a_charged_call_becomes_one_entry_however_often_it_is_stored(sink: str, tmp_path: Path) -> None:
    @with_control
    async def run(plane: ControlPlane) -> None:
        feed = SINKS[sink](plane.store)
        calls = [
            ended_call(1, gross_nanos=12, tax_nanos=2),
            ended_call(2, gross_nanos=0),
            ended_call(3, gross_nanos=5, customer_id=2),
        ]
        await feed.write([(1, calls[1]), (2, calls[0])], 2)
        await append(plane, 100)
        await feed.write([(2, calls[0]), (1, calls[1]), (3, calls[2])], 3)
        feed.close()
        assert await balances(plane) == await sums(plane) == {1: 88, 2: -5}
        async with plane.store.read() as tx:
            query = select(tables.ledger_entries).where(tables.ledger_entries.c.kind == "call")
            rows = (await tx.execute(query)).mappings().all()
        assert [(row["amount_nanos"], row["net_nanos"], row["tax_nanos"]) for row in rows] == [(-12, 10, 2), (-5, 5, 0)]
        assert [row["at_ms"] for row in rows] == [call.cdr.ended_ms for call in (calls[0], calls[2])]

    run(tmp_path)


@pytest.mark.parametrize("sink", sorted(SINKS))
def test_a_batch_that_fails_leaves_no_entry_and_no_balance(sink: str, tmp_path: Path) -> None:
    @with_control
    async def run(plane: ControlPlane) -> None:
        full = "CREATE TRIGGER full BEFORE INSERT ON ingest_position BEGIN SELECT RAISE(ABORT, 'disk full'); END"
        async with plane.store.begin() as tx:
            await tx.execute(text(full))
        feed = SINKS[sink](plane.store)
        with pytest.raises(Exception, match="disk full"):
            await feed.write([(1, ended_call(1))], 1)
        feed.close()
        assert await balances(plane) == await sums(plane) == {}

    run(tmp_path)


steps = st.one_of(
    st.tuples(st.just("call"), st.integers(1, 3), st.integers(-3, 50), st.integers(1, 12)),
    st.tuples(st.just("entry"), st.integers(1, 3), st.integers(-50, 50), st.just(0)),
)


@settings(max_examples=15, deadline=None)
@given(sink=st.sampled_from(sorted(SINKS)), plan=st.lists(steps, max_size=15))
def test_balances_are_the_sums_of_entries_whatever_comes_in_whatever_order(
    tmp_path_factory: pytest.TempPathFactory, sink: str, plan: list[tuple[str, int, int, int]]
) -> None:
    @with_control
    async def run(plane: ControlPlane) -> None:
        feed = SINKS[sink](plane.store)
        calls: dict[int, tuple[int, int]] = {}
        wanted: Counter[int] = Counter()
        for sequence, (what, customer_id, amount, number) in enumerate(plan, 1):
            if what == "entry":
                await append(plane, amount, customer_id)
                wanted[customer_id] += amount
                continue
            # A call that comes again is the call that it was.
            customer_id, amount = calls.setdefault(number, (customer_id, amount))
            await feed.write([(sequence, ended_call(number, gross_nanos=amount, customer_id=customer_id))], sequence)
        feed.close()
        for customer_id, amount in calls.values():
            wanted[customer_id] -= amount
        assert {**await sums(plane), **await balances(plane)} == await sums(plane)
        assert Counter(await balances(plane)) - wanted == wanted - Counter(await balances(plane)) == Counter()

    run(tmp_path_factory.mktemp("ledger"))


def test_calls_that_were_stored_before_there_was_a_ledger_become_entries(tmp_path: Path) -> None:
    """A store of the first schema, with calls in it, is brought up to this one."""

    async def run() -> None:
        from alembic import command

        from control.store.migrate import alembic_config

        store = open_store(f"sqlite:///{tmp_path / 'old.db'}")
        async with store.begin() as tx:
            await tx.run_sync(lambda connection: command.upgrade(alembic_config(connection), "0001"))
        columns = "sequence, id, customer_id, gross_nanos, net_nanos, tax_nanos, ended_ms"
        rest = {
            column.name: (0 if column.type.python_type is int else "")
            for column in tables.cdrs.c
            # What has a default came with a later release.
            if not column.nullable
            and column.server_default is None
            and column.name not in {"number", *columns.split(", ")}
        }
        names = ", ".join([columns, *rest])
        marks = ", ".join(["?"] * (7 + len(rest)))
        rows = [
            (1, "a" * 32, 1, 12, 10, 2, 500, *rest.values()),
            (2, "b" * 32, 2, 0, 0, 0, 600, *rest.values()),
            (3, "c" * 32, 1, 3, 3, 0, 700, *rest.values()),
        ]
        async with store.begin() as tx:
            for row in rows:
                await tx.exec_driver_sql(f"INSERT INTO cdrs ({names}) VALUES ({marks})", row)
        await store.migrate()
        async with store.read() as tx:
            assert await read_balances(tx) == (0, {1: -15})
            query = select(tables.ledger_entries).order_by(tables.ledger_entries.c.id)
            found = (await tx.execute(query)).mappings().all()
        assert [(row["kind"], row["amount_nanos"], row["cdr_number"], row["at_ms"]) for row in found] == [
            ("call", -12, 1, 500),
            ("call", -3, 3, 700),
        ]
        await store.close()

    asyncio.run(run())
