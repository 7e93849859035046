"""The part of the control plane that talks to the switch: a real store and a real link to a `SwitchSocket`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from control.feed import read_balances
from control.link import SwitchLink
from control.publish import SwitchPublisher
from control.services import ledger
from control.services.context import Context
from control.store.engine import Store
from switch.snapshot import Customer
from tests.fakes.databases import Database, migrated
from tests.fakes.switch_socket import SwitchSocket, running
from tests.fakes.waiting import until

ACME = Customer(id=1, name="Acme", status="active")


class LinkedPlane:
    def __init__(self, store: Store, folder: Path) -> None:
        self.store = store
        self.link = SwitchLink(folder / "switch.sock")
        self.publisher = SwitchPublisher(store, self.link)
        self.feed = self.publisher.feed
        self.context = Context(store, self.publisher, switch=self.link, data_folder=folder)
        self._task = asyncio.get_running_loop().create_task(self.link.run())

    async def change(self, record: Customer = ACME) -> bool:
        """Publish one change; True: it is in force."""
        async with self.context.change() as change:
            change.put.append(record)
        return not change.is_pending

    async def append(self, amount_nanos: int, customer_id: int = 1) -> bool:
        """Book one payment; True: the switch has it."""
        async with self.context.change() as change:
            await ledger.append(change, customer_id=customer_id, kind="payment", amount_nanos=amount_nanos)
        return not change.is_pending

    async def balances(self) -> dict[int, int]:
        async with self.store.read() as tx:
            return (await read_balances(tx))[1]

    async def stop(self) -> None:
        self._task.cancel()
        with suppress(asyncio.CancelledError):
            await self._task


@asynccontextmanager
async def _linked(folder: Path, database: Database) -> AsyncIterator[tuple[SwitchSocket, LinkedPlane]]:
    store = await migrated(database, folder)
    async with running(SwitchSocket(folder / "switch.sock")) as switch:
        plane = LinkedPlane(store, folder)
        try:
            yield switch, plane
        finally:
            await plane.stop()
            await store.close()


def play(folder: Path, database: Database, scene: Callable[[SwitchSocket, LinkedPlane], Awaitable[None]]) -> None:
    """One scene, from the moment on at which the two are connected."""

    async def run() -> None:
        async with _linked(folder, database) as (switch, plane):
            await until(lambda: plane.link.is_connected)
            await scene(switch, plane)

    asyncio.run(run())
