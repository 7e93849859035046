"""Stores for tests, on either database: empty ones, migrated ones, and copies of one that was filled.

SQLite's are files in the test's folder. PostgreSQL's are databases of the run's own server, made from
a template, which takes some forty milliseconds where migrating would take a second.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Awaitable, Callable
from itertools import count
from pathlib import Path
from typing import Any, Protocol

import asyncpg

from control.store.engine import Store, open_store
from tests.fakes.postgres import shared_server

Fill = Callable[[Store], Awaitable[Any]]


class Database(Protocol):
    kind: str

    async def empty(self, folder: Path) -> str:
        """URL of a store without a table. The same folder has the same one: what is there is kept."""

    async def copy(self, folder: Path, name: str, fill: Fill) -> tuple[str, Any]:
        """URL of a copy of the template `name`, which `fill` makes once a run; and what `fill` returned."""

    async def close(self) -> None:
        """Drop what was made for one test; its stores are closed."""


async def migrated(database: Database, folder: Path) -> Store:
    """A store with all tables in `folder`, or the one that is there."""
    store = open_store(await database.empty(folder))
    await store.migrate()
    return store


class SqliteDatabase:
    kind = "sqlite"

    def __init__(self) -> None:
        self._templates: dict[str, tuple[Path, Any]] = {}
        self._kept: list[tempfile.TemporaryDirectory[str]] = []

    async def empty(self, folder: Path) -> str:
        return f"sqlite:///{folder / 'tandem.db'}"

    async def copy(self, folder: Path, name: str, fill: Fill) -> tuple[str, Any]:
        if name not in self._templates:
            self._kept.append(tempfile.TemporaryDirectory())
            path = Path(self._kept[-1].name) / "tandem.db"
            self._templates[name] = path, await _filled(f"sqlite:///{path}", fill)
        path, filled = self._templates[name]
        shutil.copy(path, folder / "tandem.db")
        return f"sqlite:///{folder / 'tandem.db'}", filled

    async def close(self) -> None:
        pass


class PostgresDatabase:
    """One test's; templates are the run's."""

    kind = "postgresql"

    def __init__(self) -> None:
        self._server = shared_server()
        self._made: dict[Path, str] = {}

    async def empty(self, folder: Path) -> str:
        return self._server.url(await self._make(folder, "template0"))

    async def copy(self, folder: Path, name: str, fill: Fill) -> tuple[str, Any]:
        if name not in _templates:
            await self._run(f'CREATE DATABASE "template_{name}" TEMPLATE template0')
            _templates[name] = await _filled(self._server.url(f"template_{name}"), fill)
        return self._server.url(await self._make(folder, f"template_{name}")), _templates[name]

    async def close(self) -> None:
        for name in self._made.values():
            await self._run(f'DROP DATABASE "{name}" WITH (FORCE)')
        self._made.clear()

    async def _make(self, folder: Path, template: str) -> str:
        if folder not in self._made:
            name = f"test_{next(_numbers)}"
            await self._run(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
            self._made[folder] = name
        return self._made[folder]

    async def _run(self, statement: str) -> None:
        connection = await asyncpg.connect(**self._server.parameters("postgres"))
        try:
            await connection.execute(statement)
        finally:
            await connection.close()


async def _filled(url: str, fill: Fill) -> Any:
    store = open_store(url)
    await store.migrate()
    try:
        return await fill(store)
    finally:
        await store.close()


_templates: dict[str, Any] = {}
_numbers = count(1)
SQLITE = SqliteDatabase()
