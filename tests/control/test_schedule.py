"""What happens by itself, under a clock that the test moves."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import pytest
from sqlalchemy import insert

from control.link import SwitchLink
from control.publish import SwitchPublisher
from control.schedule import LOOK_S, Schedule
from control.services.clients import CLIENTS, ClientNew
from control.services.context import Context
from control.services.customers import CUSTOMERS, CustomerNew
from control.services.errors import Conflict
from control.services.fields import ms_moment
from control.services.rate_cards import RATE_CARDS, RateCardNew
from control.store import tables
from control.store.engine import Store
from switch.snapshot import Client, Customer, Key, RateCard, Record
from tests.fakes.databases import Database, migrated

DAY_MS = 86_400_000
START_MS = 1_795_305_600_000
"""2026-11-22T00:00:00Z."""


class Clock:
    def __init__(self) -> None:
        self.now_ms = START_MS

    def read(self) -> int:
        return self.now_ms


class Noted(SwitchPublisher):
    """Notes what would go to the switch, as one that takes everything."""

    def __init__(self, store: Store, link: SwitchLink) -> None:
        super().__init__(store, link)
        self.records: list[Record] = []
        self.in_force: int | None = None

    @property
    def version_in_force(self) -> int | None:
        return self.in_force

    async def publish(self, version: int, put: Sequence[Record], remove: Sequence[Key]) -> bool:
        self.records += put
        return True


class Scene:
    def __init__(self, store: Store, folder: Path) -> None:
        link = SwitchLink(folder / "switch.sock")
        self.clock = Clock()
        self.publisher = Noted(store, link)
        self.context = Context(store, self.publisher, switch=link, data_folder=folder, now_ms=self.clock.read)
        self.schedule = Schedule(self.context, self.publisher)

    async def pass_days(self, days: float) -> list[Record]:
        """Let time pass and run what is due; returns what was published."""
        self.clock.now_ms += int(days * DAY_MS)
        self.publisher.records.clear()
        await self.schedule.run_due()
        return list(self.publisher.records)


def play(folder: Path, database: Database, act: Callable[[Scene], Awaitable[None]]) -> None:
    async def run() -> None:
        store = await migrated(database, folder)
        try:
            await act(Scene(store, folder))
        finally:
            await store.close()

    asyncio.run(run())


def test_a_scheduled_client_becomes_active_on_its_day_and_inactive_after_its_contract(
    tmp_path: Path, database: Database
) -> None:
    async def act(scene: Scene) -> None:
        new = ClientNew(name="Quay West", status="scheduled", start_date="2026-11-24", contract_end="2026-11-30")
        client = await CLIENTS.create(scene.context, new)
        assert await scene.pass_days(1.99) == []
        (record,) = await scene.pass_days(0.01)
        assert isinstance(record, Client)
        assert (record.id, record.status) == (client.id, "active")
        assert await scene.pass_days(6.99) == []
        (record,) = await scene.pass_days(0.01)
        assert isinstance(record, Client)
        assert record.status == "inactive"
        assert (await CLIENTS.get(scene.context, client.id)).status == "inactive"

    play(tmp_path, database, act)


def test_a_scheduled_suspension_comes_to_pass(tmp_path: Path, database: Database) -> None:
    async def act(scene: Scene) -> None:
        new = ClientNew(name="Mill Court", status="active", suspend_at=ms_moment(START_MS + DAY_MS))
        await CLIENTS.create(scene.context, new)
        (record,) = await scene.pass_days(1)
        assert isinstance(record, Client)
        assert record.status == "suspended"

    play(tmp_path, database, act)


def test_a_penalty_ends_at_its_time(tmp_path: Path, database: Database) -> None:
    async def act(scene: Scene) -> None:
        new = CustomerNew(name="Acme", status="penalty", penalty_until=ms_moment(START_MS + DAY_MS))
        await CUSTOMERS.create(scene.context, new)
        assert await scene.pass_days(0.5) == []
        (record,) = await scene.pass_days(0.5)
        assert isinstance(record, Customer)
        assert record.status == "active"
        assert await scene.pass_days(1) == []

    play(tmp_path, database, act)


def test_a_card_is_published_when_its_next_revision_takes_over(tmp_path: Path, database: Database) -> None:
    async def act(scene: Scene) -> None:
        card = await RATE_CARDS.create(scene.context, RateCardNew(name="Sell", direction="sell"))
        async with scene.context.store.begin() as tx:
            for number in (1, 2):
                revision = {"id": number, "card_id": card.id, "path": f"/decks/{number}", "rows": 1}
                await tx.execute(insert(tables.revisions).values(**revision, created_ms=START_MS))
                activation = {"card_id": card.id, "revision_id": number, "active_from_ms": START_MS + number * DAY_MS}
                await tx.execute(insert(tables.activations).values(**activation, created_ms=START_MS))
        assert await scene.pass_days(0) == []
        (first,) = await scene.pass_days(1)
        assert isinstance(first, RateCard)
        assert [revision.id for revision in first.revisions] == [1, 2]
        (second,) = await scene.pass_days(1)
        assert isinstance(second, RateCard)
        assert [revision.id for revision in second.revisions] == [2]
        assert await scene.pass_days(1) == []

    play(tmp_path, database, act)


def test_it_sleeps_until_the_next_due_time_and_never_long(tmp_path: Path, database: Database) -> None:
    async def act(scene: Scene) -> None:
        assert await scene.schedule.run_due() == LOOK_S
        new = ClientNew(name="Mill Court", status="active", suspend_at=ms_moment(START_MS + 2_500))
        await CLIENTS.create(scene.context, new)
        assert await scene.schedule.run_due() == 2.5
        scene.clock.now_ms += 2_500
        assert await scene.schedule.run_due() == LOOK_S

    play(tmp_path, database, act)


def test_a_switch_that_lacks_something_catches_up_although_something_that_is_due_fails(
    tmp_path: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fails(*_: object) -> None:
        raise Conflict("it cannot be")

    caught_up: list[int | None] = []

    async def act(scene: Scene) -> None:
        new = ClientNew(name="Mill Court", status="active", suspend_at=ms_moment(START_MS + DAY_MS))
        await CLIENTS.create(scene.context, new)
        monkeypatch.setattr(CLIENTS, "update_in", fails)
        await scene.pass_days(1)
        assert caught_up == []
        scene.publisher.in_force = 0
        assert await scene.schedule.run_due() == LOOK_S
        assert caught_up == [0]

    async def catch_up(publisher: Noted) -> None:
        caught_up.append(publisher.version_in_force)

    monkeypatch.setattr(Noted, "catch_up", catch_up)
    play(tmp_path, database, act)


def test_lengths_of_calls_are_counted_beside_what_is_due(
    tmp_path: Path, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted = asyncio.Event()

    async def count(ctx: Context) -> int:
        counted.set()
        raise OSError("the store is away")

    monkeypatch.setattr("control.schedule.DURATIONS_FIRST_S", 0.0)
    monkeypatch.setattr("control.services.route_durations.refresh", count)

    async def act(scene: Scene) -> None:
        running = asyncio.create_task(scene.schedule.run())
        async with asyncio.timeout(10):
            await counted.wait()
        await asyncio.sleep(0)
        # What went wrong is tried again in an hour, and stops nothing else.
        assert not running.done()
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        assert running.cancelled()

    play(tmp_path, database, act)
