"""What only PostgreSQL has: connections that break, locks between processes, values that it does not take."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from sqlalchemy import func, insert, select, text
from sqlalchemy.exc import DataError, IntegrityError, OperationalError

from control.services import ledger
from control.services.context import SYSTEM, Change, lock_changes
from control.sinks import StoreSink, make_sink
from control.store import claim as claim_module
from control.store import tables
from control.store.claim import Claim, ClaimLost
from control.store.engine import Store, open_store
from tests.fakes.control import ControlPlane, with_control
from tests.fakes.databases import Database, migrated
from tests.fakes.ended_calls import ended_call
from tests.fakes.postgres import shared_server

on_postgresql = pytest.mark.parametrize(
    "database", [pytest.param("postgresql", marks=pytest.mark.slow)], indirect=True, ids=["postgresql"]
)


@asynccontextmanager
async def two_processes(database: Database, folder: Path) -> AsyncIterator[tuple[Store, Store]]:
    """Two stores over one database, as two control processes would have them."""
    stores = await migrated(database, folder), open_store(await database.empty(folder))
    try:
        yield stores
    finally:
        for store in stores:
            await store.close()


async def break_connections(store: Store) -> None:
    """As a restart of the server does, or a firewall that forgets."""
    async with store.begin() as tx:
        others = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
        await tx.execute(text(f"{others} AND pid <> pg_backend_pid()"))


async def append(store: Store, amount_nanos: int) -> int:
    async with store.begin() as tx:
        await lock_changes(tx)
        change = Change(tx, SYSTEM, 0)
        entry_id = await ledger.append(change, customer_id=1, kind="fee", amount_nanos=amount_nanos)
        await asyncio.sleep(0.001)  # a moment in which another one could be faster
        return entry_id


@on_postgresql
def test_no_lower_entry_is_committed_after_a_higher_one_whoever_writes(tmp_path: Path, database: Database) -> None:
    async def run() -> None:
        async with two_processes(database, tmp_path) as stores:
            entries = tables.ledger_entries.c
            seen: list[int] = []

            async def follow() -> None:
                """As the feed does: what lies below the last one seen is never looked at again."""
                while len(seen) < 60:
                    async with stores[0].read() as tx:
                        query = select(entries.id).where(entries.id > (seen or [0])[-1]).order_by(entries.id)
                        seen.extend((await tx.execute(query)).scalars())

            async def ingest(sink: StoreSink, first: int) -> None:
                for number in range(first, first + 10):
                    await sink.write([(number, ended_call(number))], number)

            async with asyncio.timeout(60), asyncio.TaskGroup() as group:
                group.create_task(follow())
                for store in stores:
                    for _ in range(20):
                        group.create_task(append(store, 1))
                group.create_task(ingest(StoreSink(stores[0]), 1))
                group.create_task(ingest(StoreSink(stores[1]), 100))
            async with stores[0].read() as tx:
                stored = list((await tx.execute(select(entries.id).order_by(entries.id))).scalars())
                balance = await ledger.balance_of(tx, 1)
            assert seen == stored
            assert balance == 40 - 20 * 4_900_000

    asyncio.run(run())


@on_postgresql
def test_a_connection_that_broke_costs_one_transaction_at_most(tmp_path: Path, database: Database) -> None:
    async def run() -> None:
        async with two_processes(database, tmp_path) as (store, other):
            async with store.read() as tx:
                await tx.execute(select(1))
            await append(store, 1)
            # Broken while nobody used them: nobody notices.
            await break_connections(other)
            assert await append(store, 2) > 0
            async with store.read() as tx:
                assert await ledger.balance_of(tx, 1) == 3

            # Broken within a transaction: that one fails, as a whole.
            async def cut_off() -> None:
                async with store.begin() as tx:
                    await ledger.append(Change(tx, SYSTEM, 0), customer_id=1, kind="fee", amount_nanos=4)
                    await break_connections(other)
                    await tx.execute(select(1))

            with pytest.raises(OperationalError):
                await cut_off()
            async with store.read() as tx:
                assert await ledger.balance_of(tx, 1) == 3

    asyncio.run(run())


@on_postgresql
def test_a_database_has_one_control_process(
    tmp_path: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claim_module, "LOOK_S", 0.02)
    monkeypatch.setattr(claim_module, "TRY_S", 0.02)

    async def run() -> None:
        async with two_processes(database, tmp_path) as stores:
            first, second = (Claim(store) for store in stores)
            await first.take()
            with pytest.raises(ClaimLost):
                await second.take(0.1)
            # A broken connection is made again, and with it the claim.
            holding = asyncio.create_task(first.hold())
            for _ in range(2):
                await break_connections(stores[1])
                await asyncio.sleep(0.3)
                with pytest.raises(ClaimLost):
                    await second.take(0.0)
            assert not holding.done()
            await break_connections(stores[1])
            holding.cancel()
            async with asyncio.timeout(10):
                await asyncio.wait([holding])
            await first.close()
            await second.take()
            await second.close()

    asyncio.run(run())


@on_postgresql
def test_who_lost_the_database_to_another_says_so(
    tmp_path: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claim_module, "LOOK_S", 0.5)
    monkeypatch.setattr(claim_module, "WAIT_S", 0.05)
    monkeypatch.setattr(Claim.take, "__defaults__", (0.05,))

    async def run() -> None:
        async with two_processes(database, tmp_path) as stores:
            first, second = (Claim(store) for store in stores)
            await first.take()
            holding = asyncio.create_task(first.hold())
            await break_connections(stores[1])
            await second.take(5.0)
            with pytest.raises(ClaimLost):
                async with asyncio.timeout(20):
                    await holding
            await first.close()
            await second.close()

    asyncio.run(run())


def test_a_file_needs_no_claim(tmp_path: Path) -> None:
    async def run() -> None:
        claim = Claim(open_store(f"sqlite:///{tmp_path / 'tandem.db'}"))
        await claim.take()
        await claim.hold()
        await claim.close()

    asyncio.run(run())


@with_control
async def test_a_call_whose_texts_hold_a_nul_is_stored_like_any_other(plane: ControlPlane) -> None:
    sink = make_sink(plane.store)
    awkward: dict[str, Any] = {
        "user_agent": "a\0b",
        "call_id": "\0@x",
        "cli_in": "1\0",
        "destination": "\ud7ff\uffff\U0010ffff'\\",
    }
    await sink.write([(1, ended_call(1, **awkward)), (2, ended_call(2))], 2)
    sink.close()
    items = (await plane.get("/cdrs"))["items"]
    assert [item["call_id"][-2:] for item in items] == ["st", "@x"]
    assert items[1]["destination"] == awkward["destination"]
    assert items[1]["user_agent"] in ("a\0b", "a\u2400b")


@with_control
async def test_what_no_row_can_hold_is_refused_or_not_found(plane: ControlPlane) -> None:
    customer = await plane.make_customer()
    for path in (
        "/customers?search=%00",
        "/cdrs?number=%00",
        "/cdrs?call_id=a%00",
        "/cdrs?source=%00",
        "/audit?noun=%00",
        f"/customers/{2**63 - 1}",
        f"/customers/{2**63}",
        f"/cdrs?customer_id={2**62}",
    ):
        assert (await plane.request("GET", path)).status_code in (200, 400, 404), path
    for body in ({"name": "a\0"}, {"notes_public": "\0"}, {"channels": 2**31}, {"row_version": 2**40, "name": "b"}):
        answer = await plane.request("PATCH", f"/customers/{customer}", body)
        assert answer.status_code in (200, 400, 409), (body, answer.text)


@with_control
async def test_a_search_for_a_file_minds_no_case(plane: ControlPlane) -> None:
    """LIKE does on PostgreSQL, and does not on SQLite."""
    card = await plane.make_sell_card()
    async with plane.store.begin() as tx:
        row = {"card_id": card, "path": "/decks/1", "rows": 1, "file_name": "Vendor May.CSV", "created_ms": 1}
        await tx.execute(insert(tables.revisions).values(**row))
    for search, count in (("vendor", 1), ("may.csv", 1), ("%25", 0)):
        assert len((await plane.get(f"/rate-cards/{card}/revisions?search={search}"))["items"]) == count


@on_postgresql
def test_errors_have_the_names_that_the_rest_knows(tmp_path: Path, database: Database) -> None:
    async def run() -> None:
        store = await migrated(database, tmp_path)

        async def fails(statement: str) -> None:
            async with store.begin() as tx:
                await tx.execute(text(statement))

        cases: list[tuple[str, type[Exception]]] = [
            ("SELECT CAST(3000000000 AS integer)", DataError),
            ("SELECT CAST('x' AS bigint)", DataError),
            ("INSERT INTO snapshot_version (id, version) VALUES (1, 1)", IntegrityError),
            ("SELECT pg_terminate_backend(pg_backend_pid())", OperationalError),
        ]
        for statement, error in cases:
            with pytest.raises(error):
                await fails(statement)
        with pytest.raises(DataError):
            async with store.begin() as tx:
                await tx.execute(select(tables.customers).where(tables.customers.c.channels == 2**40))
        with pytest.raises(IntegrityError, match="append-only"):
            await fails("TRUNCATE ledger_entries")
        await store.close()

    asyncio.run(run())


@on_postgresql
def test_a_server_that_does_not_wait_for_its_disk_is_made_to(tmp_path: Path, database: Database) -> None:
    """The switch lets go of journal segments once we say that they are stored."""

    async def run() -> None:
        store = await migrated(database, tmp_path)
        async with store.begin() as tx:
            assert (await tx.execute(select(func.current_setting("synchronous_commit")))).scalar() == "on"
        await store.close()

    asyncio.run(run())


def test_a_server_that_is_not_there_is_a_store_that_failed(tmp_path: Path) -> None:
    async def run() -> None:
        store = open_store(f"postgresql://tandem@/tandem?host={tmp_path}")
        for act in (store.begin, store.read):
            with pytest.raises(OperationalError, match="no connection"):
                async with act():
                    pass
        await store.close()

    asyncio.run(run())


@pytest.mark.parametrize(
    ("given", "used"),
    [
        ("postgres://a:b@h/d", "postgresql+asyncpg://a:b@h/d"),
        ("postgresql://a@h:1/d?sslmode=require", "postgresql+asyncpg://a@h:1/d?ssl=require"),
        ("postgresql+asyncpg://a@/d?host=/run/postgresql", "postgresql+asyncpg://a@/d?host=/run/postgresql"),
    ],
)
def test_addresses_are_taken_as_others_write_them(given: str, used: str) -> None:
    assert open_store(given).url.replace("%2F", "/") == used


def test_an_option_that_nobody_knows_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="has no option colour"):
        open_store("postgresql://a@h/d?colour=red")


@pytest.mark.slow
def test_a_database_of_another_encoding_is_refused() -> None:
    async def run() -> None:
        server = shared_server()
        connection = await asyncpg.connect(**server.parameters("postgres"))
        await connection.execute(
            "CREATE DATABASE latin ENCODING 'LATIN1' LOCALE_PROVIDER libc LOCALE 'C' TEMPLATE template0"
        )
        store = open_store(server.url("latin"))
        with pytest.raises(ValueError, match="must be UTF8"):
            await store.migrate()
        await store.close()
        await connection.execute("DROP DATABASE latin WITH (FORCE)")
        await connection.close()

    asyncio.run(run())
