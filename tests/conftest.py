"""Fixtures for tests anywhere in the tree."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from tests.fakes.databases import SQLITE, Database, PostgresDatabase
from tests.fakes.postgres import shared_server


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def database(request: pytest.FixtureRequest) -> Iterator[Database]:
    """Where the test's stores are: it is played on SQLite and, in the whole run, on PostgreSQL."""
    if request.param == "sqlite":
        yield SQLITE
        return
    made = PostgresDatabase()
    yield made
    asyncio.run(made.close())


@pytest.fixture(scope="session", autouse=True)
def _no_server_is_left() -> Iterator[None]:
    yield
    if shared_server.cache_info().currsize:
        shared_server().remove()
