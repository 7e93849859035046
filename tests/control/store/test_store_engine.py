"""The store: migrations, one writer beside many readers, what can never be edited."""

from __future__ import annotations

import asyncio
import contextlib
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import delete, insert, select, text, update
from sqlalchemy.exc import DatabaseError, IntegrityError

from control.services.context import current_version, lock_changes, next_version
from control.store import tables
from control.store.engine import Store, open_store
from tests.fakes.databases import Database, migrated


def test_migrations_make_exactly_the_tables_that_the_code_has(tmp_path: Path, database: Database) -> None:
    async def run() -> None:
        store = await migrated(database, tmp_path)
        async with store.begin() as tx:
            differences = await tx.run_sync(
                lambda connection: compare_metadata(MigrationContext.configure(connection), tables.METADATA)
            )
        assert differences == []
        await store.close()

    asyncio.run(run())


def test_migrating_again_keeps_what_is_there(tmp_path: Path, database: Database) -> None:
    async def run() -> None:
        store = await migrated(database, tmp_path)
        async with store.begin() as tx:
            assert await next_version(tx) == 2
        await store.close()
        store = await migrated(database, tmp_path)
        async with store.read() as tx:
            assert await current_version(tx) == 2
        await store.close()

    asyncio.run(run())


def test_a_transaction_is_there_whole_or_not_at_all(tmp_path: Path, database: Database) -> None:
    async def run() -> None:
        store = await migrated(database, tmp_path)
        with contextlib.suppress(RuntimeError):
            async with store.begin() as tx:
                await next_version(tx)
                raise RuntimeError
        async with store.read() as tx:
            assert await current_version(tx) == 1
        await store.close()

    asyncio.run(run())


def test_a_reader_sees_the_state_that_it_began_with_and_blocks_no_writer(tmp_path: Path, database: Database) -> None:
    async def run() -> None:
        store = await migrated(database, tmp_path)
        async with store.read() as reading:
            assert await current_version(reading) == 1
            async with store.begin() as tx:
                await next_version(tx)
            assert await current_version(reading) == 1
        async with store.read() as reading:
            assert await current_version(reading) == 2
        await store.close()

    asyncio.run(run())


def test_writers_take_turns(tmp_path: Path, database: Database) -> None:
    async def run() -> None:
        store = await migrated(database, tmp_path)

        async def count() -> None:
            async with store.begin() as tx:
                seen = await current_version(tx)
                await asyncio.sleep(0)
                await tx.execute(update(tables.snapshot_version).values(version=seen + 1))

        await asyncio.gather(*(count() for _ in range(20)))
        async with store.read() as tx:
            assert await current_version(tx) == 21
        await store.close()

    asyncio.run(run())


def test_writers_of_two_processes_take_turns_too(tmp_path: Path, database: Database) -> None:
    async def run() -> None:
        stores = [await migrated(database, tmp_path), open_store(await database.empty(tmp_path))]

        async def count(store: Store) -> None:
            async with store.begin() as tx:
                # On PostgreSQL it is this that makes them wait for each other.
                await lock_changes(tx)
                seen = await current_version(tx)
                await asyncio.sleep(0)
                await tx.execute(update(tables.snapshot_version).values(version=seen + 1))

        await asyncio.gather(*(count(store) for store in stores * 10))
        async with stores[1].read() as tx:
            assert await current_version(tx) == 21
        for store in stores:
            await store.close()

    asyncio.run(run())


def test_a_reader_cannot_write(tmp_path: Path, database: Database) -> None:
    async def run() -> None:
        store = await migrated(database, tmp_path)
        with pytest.raises(DatabaseError, match=r"read-?only"):
            async with store.read() as tx:
                await next_version(tx)
        await store.close()

    asyncio.run(run())


def test_foreign_keys_count_and_the_disk_is_waited_for(tmp_path: Path, database: Database) -> None:
    async def run() -> None:
        store = await migrated(database, tmp_path)
        row = {"customer_id": 99, "direction": "egress", "host": "192.0.2.1", "created_ms": 1, "updated_ms": 1}
        with pytest.raises(IntegrityError):
            async with store.begin() as tx:
                await tx.execute(insert(tables.endpoints).values(**row))
        async with store.begin() as tx:
            if store.is_sqlite:
                assert (await tx.execute(text("PRAGMA journal_mode"))).scalar() == "wal"
                assert (await tx.execute(text("PRAGMA synchronous"))).scalar() == 2
            else:
                # The tests' server has it off; we ask for it whatever the server says.
                assert (await tx.execute(text("SHOW synchronous_commit"))).scalar() == "on"
        await store.close()

    asyncio.run(run())


def test_an_error_of_the_store_does_not_say_what_was_to_be_stored(tmp_path: Path, database: Database) -> None:
    async def run() -> None:
        store = await migrated(database, tmp_path)
        row = {
            "customer_id": 99,
            "username": "alice",
            "realm": "x",
            "ha1_md5": "5ec2e7",
            "created_ms": 1,
            "updated_ms": 1,
        }
        with pytest.raises(IntegrityError) as caught:
            async with store.begin() as tx:
                await tx.execute(insert(tables.sip_users).values(**row))
        assert "5ec2e7" not in str(caught.value)
        await store.close()

    asyncio.run(run())


def test_the_audit_trail_is_only_ever_added_to(tmp_path: Path, database: Database) -> None:
    async def run() -> None:
        store = await migrated(database, tmp_path)
        row = {
            "at_ms": 1,
            "actor_kind": "key",
            "actor_name": "a",
            "action": "create",
            "noun": "customer",
            "noun_id": "1",
        }
        async with store.begin() as tx:
            await tx.execute(insert(tables.audit).values(**row))
        for statement in (update(tables.audit).values(actor_name="b"), delete(tables.audit)):
            with pytest.raises(DatabaseError, match="append-only"):
                async with store.begin() as tx:
                    await tx.execute(statement)
        async with store.read() as tx:
            assert (await tx.execute(select(tables.audit.c.actor_name))).scalars().all() == ["a"]
        await store.close()

    asyncio.run(run())


def test_a_fresh_store_has_the_management_client_and_version_one(tmp_path: Path, database: Database) -> None:
    async def run() -> None:
        store = await migrated(database, tmp_path)
        async with store.read() as tx:
            rows = (await tx.execute(select(tables.clients))).mappings().all()
            assert [(row["is_management"], row["status"]) for row in rows] == [(True, "active")]
            assert await current_version(tx) == 1
        await store.close()

    asyncio.run(run())


@pytest.mark.parametrize("url", ["mysql://localhost/x", "sqlite://", "sqlite:///:memory:"])
def test_a_store_that_cannot_work_is_refused_when_it_is_named(url: str) -> None:
    with pytest.raises(ValueError, match=r"store\.url"):
        open_store(url)


def test_both_kinds_of_store_get_their_asynchronous_driver(tmp_path: Path) -> None:
    assert open_store(f"sqlite:///{tmp_path}/a.db").is_sqlite
    assert not open_store("postgresql://tandem@localhost/tandem").is_sqlite
