"""How busy the switch is now: looked at every second, shown live, and kept as each minute's most.

One look serves everybody. Who follows gets the newest look when it has taken the one before, so a slow
reader misses some and holds up nobody. What was the most of a minute is stored when the minute is over:
a figure by looking, which a burst between two looks may pass.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter
from collections.abc import AsyncGenerator, Callable
from typing import Final, Literal, Protocol

import msgspec
import structlog
from sqlalchemy import case
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import SQLAlchemyError

from control.services.errors import SwitchAway
from control.store.engine import Store
from control.store.rollup_tables import load_peaks
from switch.frames import Account, Load

LOOK_S: Final = 1.0
FRESH_MS: Final = 3_000
"""An older look is not what is now."""
MINUTE_MS: Final = 60_000
FOLLOWERS_MAX: Final = 200
CONTACTS_MAX: Final = 150
"""Of them, contacts of customers: whatever these do, staff still see how busy the switch is …"""
CONTACTS_OF_ONE_MAX: Final = 10
"""… and no customer keeps the others out."""
SHOWN_MAX: Final = 200
"""Customers of one event, the busiest first."""

Owner = Literal["customer", "provider"]
log = structlog.get_logger("control.load")


class Watched(Protocol):
    """What is asked of the switch."""

    async def load(self) -> Load: ...

    async def read_accounts(self, customer_ids: list[int] | None = None) -> list[Account]: ...


class Busy(msgspec.Struct, frozen=True):
    channels: int = 0
    """Calls that are up."""
    cps: float = 0.0
    """New calls a second since the look before."""


class Look(msgspec.Struct, frozen=True, kw_only=True):
    number: int = 0
    at_ms: int = 0
    is_live: bool = False
    """False: the switch is away, and nothing is known."""
    total: Busy = Busy()
    customers: dict[int, Busy] = {}
    providers: dict[int, Busy] = {}
    accounts: dict[int, Account] = {}
    """Of those whom somebody follows."""


class TooMany(Exception):
    """No more followers are taken."""


class LoadWatch:
    """One per control process."""

    def __init__(self, store: Store, switch: Watched, now_ms: Callable[[], int]) -> None:
        self._store = store
        self._switch = switch
        self._now_ms = now_ms
        self._looked = asyncio.Event()
        self._followers: dict[object, int | None] = {}
        """Whom each follows; None: all."""
        self._contacts: Counter[int] = Counter()
        """Those of them that are a customer's own contacts."""
        self._minute_ms = 0
        self._most: dict[tuple[Owner, int], tuple[int, int]] = {}
        self.look = Look()

    async def run(self, look_s: float = LOOK_S) -> None:
        """Look until cancelled."""
        try:
            while True:
                await self.take()
                await asyncio.sleep(look_s)
        finally:
            with contextlib.suppress(SQLAlchemyError, OSError):
                await self._store_most()

    async def now(self) -> Look:
        """The newest look, or one that is taken now."""
        if self._now_ms() - self.look.at_ms > FRESH_MS:
            await self.take()
        return self.look

    async def take(self) -> None:
        """Look once, and tell who follows."""
        before, at_ms = self.look, self._now_ms()
        try:
            load = await self._switch.load()
            customers = {row_id: _busy(counts, load.since_s) for row_id, counts in load.customers.items()}
            accounts = await self._read_accounts(customers)
        except SwitchAway:
            self._tell(Look(number=before.number + 1, at_ms=at_ms))
            return
        look = Look(
            number=before.number + 1,
            at_ms=at_ms,
            is_live=True,
            total=_busy(load.total, load.since_s),
            customers=customers,
            providers={row_id: _busy(counts, load.since_s) for row_id, counts in load.providers.items()},
            accounts={account.customer_id: account for account in accounts},
        )
        try:
            await self._note(look)
        except (SQLAlchemyError, OSError) as error:
            log.error("how busy the switch was is not stored", reason=str(error))
        self._tell(look)

    async def follow(self, customer_id: int | None, *, is_own: bool = False) -> AsyncGenerator[Look, None]:
        """Each new look that is taken while the one before has gone out, the newest one first.

        Args:
            is_own: for a contact of that customer.
        Raises:
            TooMany: others follow already, as many as may.
        """
        self.check_room(customer_id, is_own=is_own)
        me = object()
        self._followers[me] = customer_id
        if is_own and customer_id is not None:
            self._contacts[customer_id] += 1
        try:
            seen = 0
            await self._begin()
            while True:
                if self.look.number > seen:
                    seen = self.look.number
                    yield self.look
                else:
                    await self._looked.wait()
        finally:
            del self._followers[me]
            if is_own and customer_id is not None:
                self._contacts -= Counter({customer_id: 1})

    async def _begin(self) -> None:
        """The first look of a follower, with the account that nobody may have followed before."""
        look = self.look
        if not look.is_live or self._now_ms() - look.at_ms > FRESH_MS:
            await self.take()
            return
        with contextlib.suppress(SwitchAway):
            accounts = {account.customer_id: account for account in await self._read_accounts(look.customers)}
            self._tell(msgspec.structs.replace(look, number=self.look.number + 1, accounts=accounts))

    def check_room(self, customer_id: int | None, *, is_own: bool) -> None:
        """Raises TooMany: others follow already, as many as may."""
        if len(self._followers) >= FOLLOWERS_MAX:
            raise TooMany
        if is_own and customer_id is not None:
            of_one = self._contacts[customer_id]
            if of_one >= CONTACTS_OF_ONE_MAX or self._contacts.total() >= CONTACTS_MAX:
                raise TooMany

    @property
    def followers(self) -> int:
        return len(self._followers)

    def _tell(self, look: Look) -> None:
        self.look = look
        self._looked.set()
        self._looked = asyncio.Event()

    async def _read_accounts(self, customers: dict[int, Busy]) -> list[Account]:
        if not self._followers:
            return []
        wanted = {each for each in self._followers.values() if each is not None}
        if None in self._followers.values():
            wanted.update(busiest(customers))
        return await self._switch.read_accounts(sorted(wanted)) if wanted else []

    async def _note(self, look: Look) -> None:
        minute_ms = look.at_ms - look.at_ms % MINUTE_MS
        if minute_ms != self._minute_ms:
            await self._store_most()
            self._minute_ms = minute_ms
        rows: list[tuple[Owner, int, Busy]] = [("customer", 0, look.total)]
        rows += [("customer", row_id, busy) for row_id, busy in look.customers.items()]
        rows += [("provider", row_id, busy) for row_id, busy in look.providers.items()]
        for owner, row_id, busy in rows:
            channels, cps = self._most.get((owner, row_id), (0, 0))
            most = max(channels, busy.channels), max(cps, round(busy.cps))
            if most != (0, 0):
                self._most[owner, row_id] = most

    async def _store_most(self) -> None:
        """What the minute before came to."""
        most, self._most = self._most, {}
        if not most:
            return
        rows = [
            {"owner": owner, "owner_id": row_id, "at_ms": self._minute_ms, "channels": channels, "cps": cps}
            for (owner, row_id), (channels, cps) in most.items()
        ]
        insert = (sqlite if self._store.is_sqlite else postgresql).insert(load_peaks)
        c, new = load_peaks.c, insert.excluded
        # Of a minute in which we were started again both halves count.
        statement = insert.on_conflict_do_update(
            index_elements=[c.owner, c.owner_id, c.at_ms],
            set_={
                "channels": case((new.channels > c.channels, new.channels), else_=c.channels),
                "cps": case((new.cps > c.cps, new.cps), else_=c.cps),
            },
        )
        async with self._store.begin() as tx:
            await tx.execute(statement, rows)


def busiest(customers: dict[int, Busy]) -> list[int]:
    """Those that one event shows."""
    return sorted(customers, key=lambda row_id: (-customers[row_id].channels, row_id))[:SHOWN_MAX]


def _busy(counts: tuple[int, int], since_s: float) -> Busy:
    channels, begun = counts
    # Two looks within a second are no reason to make more of a call than it was.
    return Busy(channels, round(begun / max(since_s, 1.0), 2))
