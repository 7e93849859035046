"""Brings the store's ledger entries into the switch's balances: in the order of their ids, each once.

What is sent is read from the store, beginning after the highest entry that the switch has, never
from what the caller has at hand: so it does not matter in which order payments come here, nor
whether an answer was lost. Calls' entries are not sent, for the switch made them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

import structlog
from sqlalchemy import bindparam, func, select, text

from control.link import SwitchLink, SwitchRefused
from control.services.context import nothing_unread
from control.services.errors import SwitchAway
from control.store import tables
from control.store.engine import Store, Tx
from switch.frames import Entry, Hello

ENTRIES_MAX: Final = 1_000
"""In one request; the switch takes them between two batches of messages."""
INGEST_WAIT_S: Final = 10.0
"""How long a switch without balances waits for calls of its journal to be read before it is asked again."""

log = structlog.get_logger("control.feed")


class EntriesRefused(Exception):
    """The switch takes no entries now, as while its disk is full; whatever else it is asked, it does."""


class EntryFeed:
    """One store, one switch; one request is on its way at a time."""

    def __init__(self, store: Store, link: SwitchLink) -> None:
        self._store = store
        self._link = link
        # Fair: whoever waits longest is next, and finds its entry sent by whoever was before.
        self._turn = asyncio.Lock()
        self._booked: int | None = None
        """Highest entry in the switch's balances; None until its first Hello."""
        self._is_open = False
        self.wait_read: Callable[[float], Awaitable[bool]] = nothing_unread
        """Awaits, so many seconds, that all calls of the journal are in the store."""
        self._behind = ""
        self._refusal = ""

    def faults(self) -> list[str]:
        """What is wrong between the two ledgers, a line each."""
        return [each for each in (self._behind, self._refusal) if each]

    def is_booked(self, entry_id: int) -> bool:
        return self._booked is not None and entry_id <= self._booked

    async def book(self, entry_id: int) -> bool:
        """As `control.services.context.Publisher.book`."""
        async with self._turn:
            if not self._is_open:
                return self.is_booked(entry_id)
            try:
                await self._send_above()
            except EntriesRefused as error:
                log.warning("entry stored, not yet in the switch", entry=entry_id, reason=str(error))
            except SwitchAway as error:
                log.warning("entry stored, not yet in the switch", entry=entry_id, reason=str(error))
                self._is_open = False
                self._link.drop("Ledger entries were not acknowledged.")
            return self.is_booked(entry_id)

    async def greet(self, hello: Hello) -> None:
        """Give a new connection's switch its balances, or the entries that it lacks.

        Raises:
            SwitchAway: it did not take them; the connection is of no use.
        """
        async with self._turn:
            self._is_open = False
            if hello.entry_id is None:
                await self._put_balances()
            else:
                await self._check_known(hello.entry_id)
                self._booked = hello.entry_id
            try:
                await self._send_above()
            except EntriesRefused as error:
                log.error("entries are sent again later", reason=str(error))
            self._is_open = True

    def lose(self) -> None:
        """The connection is gone; what the switch had acknowledged stays acknowledged."""
        self._is_open = False

    async def _put_balances(self) -> None:
        # Calls that ended under an earlier switch are in no balance until the store has read them.
        if not await self.wait_read(INGEST_WAIT_S):
            self._refusal = "the switch has no balances, and gets them when its journal has been read"
            raise SwitchAway(self._refusal)
        async with self._store.read() as tx:
            entry_id, balances = await read_balances(tx)
        try:
            await self._link.put_balances(entry_id, balances)
        except SwitchRefused as error:
            raise SwitchAway(f"The switch refused its balances: {error}.") from error
        self._booked, self._behind, self._refusal = entry_id, "", ""
        log.info("balances sent", accounts=len(balances), entry=entry_id)

    async def _check_known(self, entry_id: int) -> None:
        """The switch's last entry is one of the store's, unless that was restored from an older copy.

        Then calls may have taken the ids of entries that it has lost.
        """
        self._behind = ""
        async with self._store.read() as tx:
            is_known = not entry_id or (await tx.execute(_BOOKED_ID, {"entry_id": entry_id})).first() is not None
            highest = (await tx.execute(select(LAST_BOOKED))).scalar_one()
        if not is_known:
            self._behind = f"the switch has ledger entry {entry_id}, the store's last but for calls is {highest}"
            log.error("the store's ledger is behind the switch", switch=entry_id, store=highest)
            async with self._store.begin() as tx:
                await begin_ids_above(tx, entry_id)

    async def _send_above(self) -> None:
        entries = tables.ledger_entries
        columns = (entries.c.id, entries.c.customer_id, entries.c.amount_nanos)
        while True:
            above = select(*columns).where(_IS_BOOKED, entries.c.id > self._booked)
            async with self._store.read() as tx:
                rows = (await tx.execute(above.order_by(entries.c.id).limit(ENTRIES_MAX))).all()
            if not rows:
                return
            try:
                await self._link.book_entries([Entry(*row) for row in rows])
            except SwitchRefused as error:
                self._refusal = f"the switch refused ledger entries: {error}"
                raise EntriesRefused(self._refusal) from error
            self._booked, self._refusal = rows[-1][0], ""


_IS_BOOKED: Final = text("kind <> 'call'")
"""As the index has it, so that the planner knows it again."""
_BOOKED_ID: Final = select(tables.ledger_entries.c.id).where(
    _IS_BOOKED, tables.ledger_entries.c.id == bindparam("entry_id")
)
LAST_BOOKED: Final = select(func.coalesce(func.max(tables.ledger_entries.c.id), 0)).where(_IS_BOOKED).scalar_subquery()
"""The highest entry that no call made; 0: there is none."""


async def read_balances(tx: Tx) -> tuple[int, dict[int, int]]:
    """The highest entry that no call made (0: none) and every balance, as of one moment."""
    accounts = tables.accounts
    # One statement, for on PostgreSQL each sees the latest commits; where nothing has a balance,
    # nothing has an entry.
    rows = (await tx.execute(select(LAST_BOOKED, accounts.c.customer_id, accounts.c.balance_nanos))).all()
    return rows[0][0] if rows else 0, {customer_id: balance for _, customer_id, balance in rows}


async def begin_ids_above(tx: Tx, entry_id: int) -> None:
    """Make the next entry's id greater than `entry_id`."""
    if tx.dialect.name == "sqlite":
        values = {"name": tables.ledger_entries.name, "seq": entry_id}
        await tx.execute(text("DELETE FROM sqlite_sequence WHERE name = :name AND seq < :seq"), values)
        await tx.execute(
            text(
                "INSERT INTO sqlite_sequence (name, seq) SELECT :name, :seq"
                " WHERE NOT EXISTS (SELECT 1 FROM sqlite_sequence WHERE name = :name)"
            ),
            values,
        )
    else:
        # Its last value stands in the sequence itself, which is never set back.
        raised = "SELECT setval('ledger_entries_id_seq', greatest(last_value, :seq)) FROM ledger_entries_id_seq"
        await tx.execute(text(raised), {"seq": entry_id})
