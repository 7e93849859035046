"""What every service works with: the store, the way to the switch, and who is asking.

A service that changes something opens `ctx.change()`. Row changes, audit rows, ledger entries and the
snapshot's next version are one SQL transaction; once it is committed records and entries go to the
switch, and the block ends when the switch has acknowledged them. A switch that is away costs nothing
but that: the change stands, `change.is_pending` says so, and the switch gets a whole snapshot and the
entries that it lacks when it is back.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Final, Literal, Protocol

import msgspec
from sqlalchemy import insert, select, update

from config.settings import Billing, Events
from control.services.load_watch import LoadWatch
from control.services.mail import Mailer
from control.services.portal_gate import PortalGate
from control.services.replay_runs import Replays
from control.store import tables
from control.store.engine import Store, Tx, to_json
from switch.frames import Account, CallDecision, Entry, LiveCall, Load, RegistrationRow, Simulated, Stats
from switch.outputs import Alarm
from switch.policy.verdicts import MAX_DURATION_S
from switch.snapshot import Key, Record

Role = Literal["admin", "operator", "billing", "read-only"]
"""Of keys; `control.services.roles` says what each may do."""


SIMULATIONS_KEPT: Final = 200


class Actor(msgspec.Struct, frozen=True):
    """Who does it, as the audit names them."""

    kind: Literal["key", "system", "contact"]
    name: str
    role: Role | Literal["customer"] = "admin"
    id: int | None = None
    customer_id: int | None = None
    """Of a contact: whose data it may see, and no other."""


SYSTEM = Actor(kind="system", name="system")


class Publisher(Protocol):
    async def publish(self, version: int, put: Sequence[Record], remove: Sequence[Key]) -> bool:
        """Bring a committed change to the switch, and wait until it is in force there.

        Calls come in order of `version`, each one above the last: whoever implements this keeps
        that order (enter a queue or a fair lock before the first await). Raises nothing: where the
        switch is away, refuses or does not answer in time, the answer is False, and a whole
        snapshot of at least this version follows when it can.
        """

    async def book(self, entry_id: int) -> bool:
        """Bring committed ledger entries up to this one into the switch's balances, and wait until they are in.

        Raises nothing: False where the switch is away or does not answer; they follow when it can.
        """

    def is_booked(self, entry_id: int) -> bool:
        """Whether the switch has acknowledged this entry, as far as is known here."""


class Switch(Protocol):
    """Questions that only the running switch can answer. Each raises `errors.SwitchAway` if it cannot."""

    @property
    def is_connected(self) -> bool: ...

    async def list_calls(self, customer_id: int | None = None, *, with_waiting: bool = False) -> list[LiveCall]:
        """INVITEs too that wait for their route's call rate, where they are asked for."""

    async def read_call(self, cdr_id: str) -> CallDecision | None:
        """How a live call was decided; None where no such call is up."""

    async def end_call(self, cdr_id: str, by: str) -> bool:
        """Ask for BYE both ways; False where no such call is up."""

    async def list_registrations(self, sip_user_id: int) -> list[RegistrationRow]: ...

    async def remove_registration(self, sip_user_id: int, registration_id: str) -> bool:
        """False where the user has no such contact."""

    async def simulate(
        self,
        *,
        dialled: str,
        cli: str = "",
        source_ip: str = "",
        transport: str = "udp",
        username: str = "",
        at_ms: int | None = None,
        pai: str = "",
        is_private: bool = False,
        codecs: tuple[str, ...] = (),
    ) -> Simulated: ...

    async def stats(self) -> Stats: ...

    async def read_accounts(self, customer_ids: Sequence[int] | None = None) -> list[Account]:
        """Balances and holds as the switch has them; customers that it does not know are left out."""

    async def load(self) -> Load:
        """Calls that are up and calls let in since it was asked last: for `load_watch` alone."""


class Change:
    """One transaction of changes, and what it brings to the switch."""

    def __init__(self, tx: Tx, actor: Actor, now_ms: int) -> None:
        self.tx = tx
        self.actor = actor
        self.now_ms = now_ms
        self.put: list[Record] = []
        self.remove: list[Key] = []
        self.entries: list[Entry] = []
        """Of the ledger, ids ascending; appended by `control.services.ledger.append` alone."""
        self.subscribers: list[Any] | None = None
        """Webhooks that hear of events, once they were read; kept by `control.services.outbox` alone."""
        self.is_pending = False
        self.memo: dict[Hashable, Any] = {}
        """What services note for the length of this change; `control.services.memos`."""

    async def audit(self, action: str, noun: str, noun_id: object, before: object = None, after: object = None) -> None:
        """Write who did what. `before` and `after` are what the API would show: never a secret."""
        row = {
            "at_ms": self.now_ms,
            "actor_kind": self.actor.kind,
            "actor_id": self.actor.id,
            "actor_name": self.actor.name,
            "action": action,
            "noun": noun,
            "noun_id": str(noun_id),
            "before": None if before is None else to_json(before),
            "after": None if after is None else to_json(after),
        }
        await self.tx.execute(_AUDIT, row)


# One statement for all: making one takes longer than the database does with it, and files bring thousands.
_AUDIT: Final = insert(tables.audit)


class _TakenBack(Exception):
    """All went well, and none of it shall stay."""


def wall_ms() -> int:
    return time.time_ns() // 1_000_000


async def nothing_unread(_timeout_s: float) -> bool:
    """Of a store that no journal feeds."""
    return True


class Context:
    """Handed to each service function first."""

    def __init__(
        self,
        store: Store,
        publisher: Publisher,
        actor: Actor = SYSTEM,
        *,
        switch: Switch,
        data_folder: Path,
        realm: str = "tandem",
        now_ms: Callable[[], int] = wall_ms,
        faults: Callable[[], list[str]] = list,
        alarms: Callable[[], list[Alarm]] = list,
        wait_read: Callable[[float], Awaitable[bool]] = nothing_unread,
        max_duration_s: int = MAX_DURATION_S,
        replays: Replays | None = None,
        mail: Mailer | None = None,
        portal: PortalGate | None = None,
        billing: Billing | None = None,
        events: Events | None = None,
        simulations: deque[Any] | None = None,
        raise_alarm: Callable[[Alarm], None] = lambda alarm: None,
        load: LoadWatch | None = None,
    ) -> None:
        self.store = store
        self.publisher = publisher
        self.actor = actor
        self.switch = switch
        self.data_folder = data_folder
        self.realm = realm
        self.now_ms = now_ms
        self.faults = faults
        """What is wrong with the installation now, a line each; empty while all is well."""
        self.alarms = alarms
        """What the switch has complained about, the newest first."""
        self.raise_alarm = raise_alarm
        """Tells of something that nobody is there to be answered about; it stands beside the switch's alarms."""
        self.wait_read = wait_read
        """Awaits, so many seconds, that what is in the journal now is in the store; False: it is not."""
        self.max_duration_s = max_duration_s
        """The switch's limit of calls whose route sets none."""
        self.replays = Replays(data_folder / "replays", now_ms) if replays is None else replays
        self.mail = mail
        """None: the installation sends no mail."""
        self.portal = PortalGate(data_folder, now_ms) if portal is None else portal
        self.events = Events() if events is None else events
        """How others' servers are told of what happens."""
        self.simulations: deque[Any] = deque(maxlen=SIMULATIONS_KEPT) if simulations is None else simulations
        """The latest first; of `simulation_log`."""
        self.billing = Billing() if billing is None else billing
        """Who sends the invoices, and what stands on them."""
        self.load = LoadWatch(store, switch, now_ms) if load is None else load
        self.is_pending = False
        """Something that this context changed is not yet in force in the switch."""
        self.is_rehearsal = False
        """What is asked of it is taken back and made another time: what will not be so by then must not be refused."""
        self._outer: Change | None = None

    def acting(self, actor: Actor) -> Context:
        """The same, in somebody else's name: one a request."""
        return Context(
            self.store,
            self.publisher,
            actor,
            switch=self.switch,
            data_folder=self.data_folder,
            realm=self.realm,
            now_ms=self.now_ms,
            faults=self.faults,
            alarms=self.alarms,
            wait_read=self.wait_read,
            max_duration_s=self.max_duration_s,
            replays=self.replays,
            mail=self.mail,
            portal=self.portal,
            billing=self.billing,
            events=self.events,
            simulations=self.simulations,
            raise_alarm=self.raise_alarm,
            load=self.load,
        )

    def within(self, change: Change, *, is_rehearsal: bool = False) -> Context:
        """The same, whose changes are all part of this one: made with it or not at all."""
        inner = self.acting(self.actor)
        inner.is_rehearsal = is_rehearsal
        inner._outer = change
        return inner

    @asynccontextmanager
    async def change(self, *, is_trial: bool = False) -> AsyncIterator[Change]:
        """A transaction whose records reach the switch before the block ends.

        Args:
            is_trial: all of it is taken back at the end of the block, which has then shown that it can be done.
        """
        if self._outer is not None:
            assert not is_trial, "what is part of a change cannot be taken back alone"
            yield self._outer
            return
        version = 0
        with suppress(_TakenBack):
            async with self.store.begin() as tx:
                await lock_changes(tx)
                change = Change(tx, self.actor, self.now_ms())
                yield change
                if is_trial:
                    raise _TakenBack
                if change.put or change.remove:
                    version = await next_version(tx)
        if is_trial:
            return
        if version:
            # No await stands between the commit and this call: versions arrive in their order.
            change.is_pending = not await self.publisher.publish(version, change.put, change.remove)
        if change.entries and not await self.publisher.book(change.entries[-1].id):
            change.is_pending = True
        self.is_pending = self.is_pending or change.is_pending


async def lock_changes(tx: Tx) -> None:
    """Let one change be checked and written at a time, on PostgreSQL too, by locking the version's row."""
    await tx.execute(update(tables.snapshot_version).values(version=tables.snapshot_version.c.version))


async def next_version(tx: Tx) -> int:
    """Count the snapshot's version up by one; it only ever grows."""
    await tx.execute(update(tables.snapshot_version).values(version=tables.snapshot_version.c.version + 1))
    return await current_version(tx)


async def current_version(tx: Tx) -> int:
    """The version of what is stored: 1 in a fresh store."""
    return int((await tx.execute(select(tables.snapshot_version.c.version))).scalar_one())
