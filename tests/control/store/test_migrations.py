"""A store of an older release comes up to this one with everything that is in it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import func, inspect, select, text
from sqlalchemy.engine import Connection

from control.services.cdr_rows import insert_batch
from control.store import tables
from control.store.engine import open_store
from control.store.migrate import SCRIPTS, alembic_config
from tests.fakes.databases import Database
from tests.fakes.ended_calls import ended_call


def _upgrade(connection: Connection, revision: str) -> None:
    command.upgrade(alembic_config(connection), revision)


def _cdr_columns(connection: Connection) -> set[str]:
    return {column["name"] for column in inspect(connection).get_columns("cdrs")}


@pytest.mark.parametrize("batches", [[1_000], [3, 5]])
def test_calls_of_the_first_release_become_entries(tmp_path: Path, database: Database, batches: list[int]) -> None:
    async def run() -> None:
        store = open_store(await database.empty(tmp_path))
        async with store.begin() as tx:
            await tx.run_sync(_upgrade, "0001")
            # Calls are written as today; what a CDR has got since is taken off again.
            since = [name for name in tables.cdrs.c.keys() if name not in await tx.run_sync(_cdr_columns)]  # noqa: SIM118
            for name in since:
                await tx.execute(text(f"ALTER TABLE cdrs ADD COLUMN {name} TEXT"))
        number = 0
        for count in batches:
            calls = [ended_call(n, gross_nanos=n % 3, customer_id=n % 2) for n in range(number, number + count)]
            async with store.begin() as tx:
                await insert_batch(tx, list(enumerate(calls, number)))
            number += count
        async with store.begin() as tx:
            for name in since:
                await tx.execute(text(f"ALTER TABLE cdrs DROP COLUMN {name}"))
        await store.migrate()
        async with store.read() as tx:
            entries = tables.ledger_entries.c
            charged = sum(1 for n in range(number) if n % 3)
            assert (await tx.execute(select(func.count()).select_from(tables.ledger_entries))).scalar() == charged
            rows = (await tx.execute(select(tables.accounts))).all()
            assert dict(tuple(row) for row in rows) == {
                customer: -sum(n % 3 for n in range(number) if n % 2 == customer) for customer in (0, 1)
            }
            in_order = (await tx.execute(select(entries.cdr_number).order_by(entries.id))).scalars().all()
            assert in_order == sorted(in_order)
        # New rows go on with numbers of their own.
        async with store.begin() as tx:
            await insert_batch(tx, [(number + 1, ended_call(number + 1))])
        await store.close()

    asyncio.run(run())


def test_every_step_can_be_taken_alone(tmp_path: Path, database: Database) -> None:
    """An installation may stop at any release, and go on from it later."""

    async def run() -> None:
        store = open_store(await database.empty(tmp_path))
        scripts = ScriptDirectory(str(SCRIPTS))
        for script in reversed(list(scripts.walk_revisions())):
            async with store.begin() as tx:
                await tx.run_sync(_upgrade, script.revision)
        async with store.begin() as tx:
            at = set((await tx.execute(text("SELECT version_num FROM alembic_version"))).scalars())
        assert at == set(scripts.get_heads())
        await store.migrate()
        await store.close()

    asyncio.run(run())
