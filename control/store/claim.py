"""One control process a database: a second one would read another journal into the same books.

The data folder has a lock of its own, which is enough where the store is a file in it. A PostgreSQL may
be named by two installations, on two machines even; there a lock of the database's is held by a
connection that stays open for nothing else, and is taken again when that breaks.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final

import structlog
from sqlalchemy import pool
from sqlalchemy.engine import make_url
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from control.store import postgres
from control.store.engine import Store

KEY: Final = 0x74616E64656D
"""Of the advisory lock: "tandem" in ASCII. Such locks count within one database."""
LOOK_S: Final = 5.0
WAIT_S: Final = 20.0
"""How long a start waits for a predecessor's connection: the server hears of its end by and by."""
TRY_S: Final = 0.5
COMMAND_TIMEOUT_S: Final = 10.0
KEEPALIVES: Final = {"tcp_keepalives_idle": "10", "tcp_keepalives_interval": "5", "tcp_keepalives_count": "3"}
"""The server lets go of the lock of a machine that is gone within half a minute."""

log = structlog.get_logger("control.claim")


class ClaimLost(Exception):
    """Another control process has the database."""


class Claim:
    """`take` once, `hold` as a task of its own, `close`."""

    def __init__(self, store: Store) -> None:
        self._engine: AsyncEngine | None = None
        self._connection: AsyncConnection | None = None
        if not store.is_sqlite:
            own: dict[str, Any] = {"poolclass": pool.NullPool, "isolation_level": "AUTOCOMMIT"}
            self._engine = postgres.make_engine(
                make_url(store.url), KEEPALIVES, command_timeout_s=COMMAND_TIMEOUT_S, **own
            )

    async def take(self, wait_s: float = WAIT_S) -> None:
        """Raises ClaimLost: another process holds it, and did not let go in time."""
        loop = asyncio.get_running_loop()
        last = loop.time() + wait_s
        while self._engine is not None and self._connection is None and not await self._try(self._engine):
            if loop.time() >= last:
                raise ClaimLost("another control process uses this database")
            await asyncio.sleep(TRY_S)

    async def hold(self) -> None:
        """Look after it until cancelled; returns at once where there is nothing to hold.

        Raises:
            ClaimLost: the connection broke, and somebody else was faster.
        """
        is_held = True
        task = asyncio.current_task()
        # Dropping a broken connection, the driver may swallow that we were cancelled.
        while self._engine is not None and not (task is not None and task.cancelling()):
            if is_held:
                await asyncio.sleep(LOOK_S)
            try:
                if self._connection is None:
                    await self.take()
                    log.info("the database is held again")
                else:
                    await self._connection.exec_driver_sql("SELECT 1")
                is_held = True
            except SQLAlchemyError as error:
                await self._drop()
                if is_held:
                    log.warning("the connection that holds the database broke", reason=str(error).splitlines()[0])
                is_held = False
                await asyncio.sleep(TRY_S)

    async def close(self) -> None:
        await self._drop()
        if self._engine is not None:
            await self._engine.dispose()

    async def _try(self, engine: AsyncEngine) -> bool:
        connection = await engine.connect()
        try:
            taken = (await connection.exec_driver_sql(f"SELECT pg_try_advisory_lock({KEY})")).scalar_one()
        except BaseException:
            await connection.close()
            raise
        if taken:
            self._connection = connection
        else:
            await connection.close()
        return bool(taken)

    async def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                await connection.close()
            except SQLAlchemyError as error:
                log.debug("a broken connection was closed", reason=str(error))
