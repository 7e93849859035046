"""Looks at the store are left out while they could find nothing, and never when they could."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from sqlalchemy import text

from control.services.looks import ANYWAY_S, Looks
from control.store.engine import Store, open_store


class Scene:
    def __init__(self, folder: Path) -> None:
        self.store: Store = open_store(f"sqlite:///{folder / 'tandem.db'}")
        self.now_ms = 1_000
        self.monotonic_s = 5.0
        self.looks = Looks(self.store, lambda: self.now_ms, lambda: self.monotonic_s)

    def write(self, statement: str) -> None:
        async def run() -> None:
            try:
                async with self.store.begin() as tx:
                    await tx.execute(text(statement))
            finally:
                await self.store.close()

        asyncio.run(run())


@pytest.fixture
def scene(tmp_path: Path) -> Scene:
    return Scene(tmp_path)


def test_a_look_that_has_not_found_everything_done_is_taken_again(scene: Scene) -> None:
    assert scene.looks.is_needed()
    assert scene.looks.is_needed()
    scene.looks.rest()
    assert not scene.looks.is_needed()


def test_what_is_written_is_looked_at(scene: Scene) -> None:
    assert scene.looks.is_needed()
    scene.looks.rest()
    scene.write("CREATE TABLE news (id INTEGER)")
    assert scene.looks.is_needed()


def test_what_is_written_during_a_look_makes_the_next_one_needed(scene: Scene) -> None:
    assert scene.looks.is_needed()
    scene.write("CREATE TABLE news (id INTEGER)")
    scene.looks.rest()
    assert scene.looks.is_needed()


def test_a_transaction_that_failed_may_have_been_stored(scene: Scene) -> None:
    assert scene.looks.is_needed()
    scene.looks.rest()
    with pytest.raises(Exception, match="nonsense"):
        scene.write("nonsense")
    assert scene.looks.is_needed()


def test_what_becomes_due_is_looked_at_in_time(scene: Scene) -> None:
    assert scene.looks.is_needed()
    scene.looks.rest(2_000)
    scene.now_ms = 1_999
    assert not scene.looks.is_needed()
    scene.now_ms = 2_000
    assert scene.looks.is_needed()


def test_others_may_have_written(scene: Scene) -> None:
    assert scene.looks.is_needed()
    scene.looks.rest()
    scene.monotonic_s += ANYWAY_S
    assert scene.looks.is_needed()
