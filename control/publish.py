"""Brings the store's configuration to the switch: deltas in order, whole snapshots where order broke.

The store's version is the truth. The switch's version is known from its Hello and from what it
acknowledged since; when the two cannot be joined by one delta, a whole snapshot goes. So nothing
here needs to be remembered over a restart of either side.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import structlog
from sqlalchemy import update

from control.feed import EntryFeed
from control.link import SwitchLink, SwitchRefused
from control.services.context import current_version
from control.services.errors import SwitchAway
from control.services.records import read_snapshot
from control.store import tables
from control.store.engine import Store
from switch.frames import Hello
from switch.snapshot import Delta, Key, Record

log = structlog.get_logger("control.publish")


class SwitchPublisher:
    """`control.services.context.Publisher` over the link; one change is on its way at a time."""

    def __init__(self, store: Store, link: SwitchLink) -> None:
        self._store = store
        self._link = link
        # Fair: changes leave in the order in which their transactions were committed.
        self._turn = asyncio.Lock()
        self._in_force: int | None = None
        """The version that the switch runs; None while nothing is known of it."""
        self._has_sent_whole = False
        self.refusal = ""
        """Why the switch did not take the last whole snapshot; empty: it did."""
        self.feed = EntryFeed(store, link)
        link.handle_hello = self._handle_hello
        link.handle_lost = self._handle_lost

    @property
    def version_in_force(self) -> int | None:
        return self._in_force

    async def publish(self, version: int, put: Sequence[Record], remove: Sequence[Key]) -> bool:
        async with self._turn:
            if self._in_force is None:
                return False
            if version <= self._in_force:
                return True  # a whole snapshot that was read after this commit went before it
            try:
                if version == self._in_force + 1 and await self._send_delta(version, put, remove):
                    return True
                return await self._send_whole()
            except SwitchAway as error:
                log.warning("change stored, not yet in force", version=version, reason=str(error))
                self._link.drop("A change was not acknowledged.")
                return False

    async def book(self, entry_id: int) -> bool:
        return await self.feed.book(entry_id)

    def is_booked(self, entry_id: int) -> bool:
        return self.feed.is_booked(entry_id)

    async def catch_up(self) -> None:
        """Send a whole snapshot if the switch does not run what is stored; asked from time to time."""
        async with self._turn:
            if self._in_force is None:
                return
            async with self._store.read() as tx:
                stored = await current_version(tx)
            if stored != self._in_force:
                try:
                    await self._send_whole()
                except SwitchAway:
                    self._link.drop("A snapshot was not acknowledged.")

    async def _handle_hello(self, hello: Hello) -> None:
        # Money first: with a configuration, calls come, and what they may cost must be known by then.
        await self.feed.greet(hello)
        async with self._turn:
            self._in_force = None
            async with self._store.read() as tx:
                stored = await current_version(tx)
            # A process that has just started does not know what its predecessor left unsent, nor
            # whether the store is a restored older one: its first word is the whole of it.
            if (not self._has_sent_whole and hello.snapshot_version >= stored) or hello.snapshot_version > stored:
                await self._raise_version(hello.snapshot_version + 1)
            elif self._has_sent_whole and hello.snapshot_version == stored:
                self._in_force = stored
                return
            self._in_force = hello.snapshot_version
            await self._send_whole()

    def _handle_lost(self) -> None:
        self._in_force = None
        self.feed.lose()

    async def _send_delta(self, version: int, put: Sequence[Record], remove: Sequence[Key]) -> bool:
        try:
            await self._link.put_delta(Delta(version=version, put=tuple(put), remove=tuple(remove)))
        except SwitchRefused as error:
            log.error("switch refused a change; it gets the whole configuration", version=version, reason=str(error))
            return False
        self._in_force = version
        return True

    async def _send_whole(self) -> bool:
        async with self._store.read() as tx:
            snapshot = await read_snapshot(tx)
        try:
            await self._link.put_snapshot(snapshot)
        except SwitchRefused as error:
            self.refusal = str(error)
            log.error("switch refused the configuration", version=snapshot.version, reason=str(error))
            return False
        self.refusal = ""
        self._has_sent_whole = True
        self._in_force = snapshot.version
        log.info("configuration sent", version=snapshot.version, records=len(snapshot.records))
        return True

    async def _raise_version(self, least: int) -> None:
        async with self._store.begin() as tx:
            version = tables.snapshot_version.c.version
            await tx.execute(update(tables.snapshot_version).values(version=least).where(version < least))
