"""The store: SQLite in WAL mode by default, PostgreSQL where the URL says so; one set of queries.

SQLite has one writer at a time whatever we do, so the store says it aloud: one connection writes,
behind a lock that queues in order of arrival, and a few others read beside it from their own
snapshot. PostgreSQL is used the same way: changes wait for each other there too, and a lock of our own
lets them go on in the order of their commits, which the answers of several connections would not keep.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Final

import msgspec
from sqlalchemy import event
from sqlalchemy.engine import Connection, make_url
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from control.store import postgres

Tx = AsyncConnection
"""A connection inside a transaction: what every query function takes first."""

READERS_MAX: Final = 4
"""SQLite connections that read; each is a thread."""
BUSY_TIMEOUT_MS: Final = 10_000
"""How long a statement waits for another process's lock (a backup, a command-line tool)."""
CACHE_KIB: Final = 65_536
CHECKPOINT_PAGES: Final = 4_000
"""WAL pages between checkpoints: fewer rewrites of the index pages that every CDR touches."""

# Python's driver looks for an adapter of every NULL, with two failed attribute look-ups: half a microsecond
# each, and a CDR has a dozen. Found at once, the search is over; `get` of an empty dict gives None for None.
sqlite3.register_adapter(type(None), dict[None, None]().get)

DRIVERS: Final = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+asyncpg", "postgres": "postgresql+asyncpg"}


class Store:
    """Transactions over one database."""

    def __init__(
        self, writer: AsyncEngine, reader: AsyncEngine, *, is_sqlite: bool, sqlite_file: str | None = None
    ) -> None:
        self.sqlite_file = sqlite_file
        """Where the database is, for those that write it past SQLAlchemy in their own `turn`."""
        self.writes = 0
        """Writing transactions that have ended, one way or the other; those of CDRs past SQLAlchemy are not counted."""
        self._writer = writer
        self._reader = reader
        self._is_sqlite = is_sqlite
        self._write_lock = asyncio.Lock()

    @property
    def is_sqlite(self) -> bool:
        return self._is_sqlite

    @property
    def url(self) -> str:
        """What opens the same database in another process; it may hold a password."""
        return self._writer.url.render_as_string(hide_password=False)

    def turn(self) -> AbstractAsyncContextManager[Any]:
        """The right to write: who holds it waits for no other transaction of this process."""
        return self._write_lock

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[Tx]:
        """One writing transaction: committed at the end of the block, rolled back by an exception."""
        try:
            async with self.turn(), self._writer.begin() as tx:
                yield tx
        finally:
            self.writes += 1

    @asynccontextmanager
    async def read(self) -> AsyncIterator[Tx]:
        """One reading transaction: a steady view of the store that blocks no writer."""
        async with self._reader.begin() as tx:
            yield tx

    async def migrate(self) -> None:
        """Bring the schema to what this release needs; a store that is there already is kept."""
        from control.store.migrate import upgrade  # Alembic costs 0.2 s to import; readers need none of it.

        if self._is_sqlite:
            async with self.begin() as tx:
                await tx.run_sync(upgrade)
            return
        # A migration may take its time over millions of rows.
        engine = postgres.writing_engine(self._writer.url, command_timeout_s=None, **JSON)
        try:
            async with engine.begin() as tx:
                await postgres.check_encoding(tx)
                await tx.run_sync(upgrade)
        finally:
            await engine.dispose()

    async def close(self) -> None:
        await self._reader.dispose()
        await self._writer.dispose()


def open_store(url: str) -> Store:
    """Open a store by its SQLAlchemy URL; nothing is connected or created yet.

    `sqlite:///file` and `postgresql://…` get their asynchronous drivers by themselves.

    Raises:
        ValueError: a database that is neither of these, an option that PostgreSQL does not have, or
            SQLite in memory, which no second connection could share.
    """
    parsed = make_url(url)
    backend = parsed.get_backend_name()
    if backend not in DRIVERS:
        raise ValueError(f"store.url: {backend} is not supported; use sqlite or postgresql")
    parsed = parsed.set(drivername=DRIVERS[backend])
    if backend != "sqlite":
        parsed = postgres.postgres_url(parsed)
        writer, reader = postgres.writing_engine(parsed, **JSON), postgres.reading_engine(parsed, **JSON)
        return Store(writer, reader, is_sqlite=False)
    if parsed.database in (None, "", ":memory:"):
        raise ValueError("store.url: SQLite needs a file")
    writer = _sqlite_engine(parsed.render_as_string(hide_password=False), connections=1)
    reader = _sqlite_engine(parsed.render_as_string(hide_password=False), connections=READERS_MAX)
    _prepare_sqlite(writer, begin="BEGIN IMMEDIATE", is_query_only=False)
    _prepare_sqlite(reader, begin="BEGIN", is_query_only=True)
    return Store(writer, reader, is_sqlite=True, sqlite_file=parsed.database)


def to_json(value: Any) -> str:
    return msgspec.json.encode(value).decode()


def from_json(text: str | bytes) -> Any:
    return msgspec.json.decode(text)


JSON: Final[dict[str, Any]] = {"json_serializer": to_json, "json_deserializer": from_json}


def _sqlite_engine(url: str, *, connections: int) -> AsyncEngine:
    return create_async_engine(
        url,
        hide_parameters=True,
        **JSON,
        pool_size=connections,
        max_overflow=0,
        # The driver must not open transactions by itself: it would open deferred ones, and a
        # deferred transaction that turns to writing late can only fail.
        connect_args={"isolation_level": None},
    )


WRITER_PRAGMAS: Final = (
    f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}",
    # Persistent, and set by writers alone: a reader that came first would need to write.
    "PRAGMA journal_mode = WAL",
    # FULL: the switch drops journal segments once a commit is reported, so it must be on the disk.
    "PRAGMA synchronous = FULL",
    "PRAGMA foreign_keys = ON",
    f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}",
    f"PRAGMA cache_size = -{CACHE_KIB}",
)
READER_PRAGMAS: Final = (
    f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}",
    "PRAGMA query_only = ON",
    f"PRAGMA cache_size = -{CACHE_KIB // 8}",
)


def _prepare_sqlite(engine: AsyncEngine, *, begin: str, is_query_only: bool) -> None:
    @event.listens_for(engine.sync_engine, "connect")
    def set_pragmas(connection: Any, _record: Any) -> None:
        cursor = connection.cursor()
        for pragma in READER_PRAGMAS if is_query_only else WRITER_PRAGMAS:
            cursor.execute(pragma)
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def begin_transaction(connection: Connection) -> None:
        connection.exec_driver_sql(begin)
