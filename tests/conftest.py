"""Fixtures for tests anywhere in the tree."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fakes.databases import SQLITE, Database, PostgresDatabase
from tests.fakes.installation import Installation
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


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    """A whole Tandem that is not started yet: its settings may still be changed."""
    made = Installation(tmp_path)
    yield made
    made.kill()


@pytest.fixture
def tandem(installation: Installation) -> Installation:
    installation.start()
    return installation


@pytest.fixture(scope="session", autouse=True)
def _no_server_is_left() -> Iterator[None]:
    yield
    if shared_server.cache_info().currsize:
        shared_server().remove()
