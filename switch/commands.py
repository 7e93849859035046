"""What the control plane may ask of the switch, each answered at once, between two batches of messages."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

import msgspec
import structlog

from switch.configuration import Configuration
from switch.frames import (
    Account,
    BookEntries,
    CallDecision,
    EndCall,
    Entry,
    JournalIngested,
    ListCalls,
    ListRegistrations,
    LiveCall,
    Load,
    PutBalances,
    PutDelta,
    PutSnapshot,
    ReadAccounts,
    ReadCall,
    ReadLoad,
    ReadStats,
    RegistrationRow,
    RemoveRegistration,
    Reply,
    Request,
    Simulate,
    Simulated,
    Stats,
)
from switch.pump import Core, Pump
from switch.snapshot import Delta, Gateway, Snapshot

Asks = (
    PutSnapshot
    | PutDelta
    | ListCalls
    | ReadCall
    | EndCall
    | Simulate
    | ReadStats
    | BookEntries
    | PutBalances
    | ReadAccounts
    | ListRegistrations
    | RemoveRegistration
    | ReadLoad
)
"""Requests that are replied to."""
MOVES_MONEY: Final = (BookEntries, PutBalances)
"""Requests that are only done once they are in the journal."""

log = structlog.get_logger("switch.commands")


class Asked(Core, Protocol):
    """The engine as the control plane sees it."""

    def load(self, snapshot: Snapshot) -> None: ...
    def apply(self, delta: Delta) -> None: ...
    def list_calls(self, customer_id: int | None, now: float, with_waiting: bool = False) -> list[LiveCall]: ...
    def read_call(self, cdr_id: str, now: float) -> CallDecision | None: ...
    def end_call(self, cdr_id: str, now: float) -> bool: ...
    def simulate(self, request: Simulate, now: float) -> Simulated: ...
    def stats(self) -> Stats: ...
    def book(self, entries: Sequence[Entry], now: float) -> None: ...
    def put_balances(self, entry_id: int, balances: dict[int, int], now: float) -> bool: ...
    def accounts(self, customer_ids: Sequence[int] | None, now: float) -> list[Account]: ...
    def entry_id(self) -> int | None: ...
    def list_registrations(self, user_id: int, now: float) -> list[RegistrationRow]: ...
    def remove_registration(self, user_id: int, registration_id: str, now: float) -> bool: ...
    def read_load(self, now: float) -> Load: ...


class Commands:
    """Handles requests on one engine.

    `handle_changed` hears of a configuration once it is in force, with the gateways it replaced (None:
    all of it); `handle_ingested` of journal sequences; `add_stats` adds what the shells count;
    `journal_failure` says why the journal takes no more records, or nothing.
    """

    def __init__(
        self,
        engine: Asked,
        pump: Pump,
        configuration: Configuration,
        handle_changed: Callable[[list[int] | None], None],
        handle_ingested: Callable[[int], None],
        add_stats: Callable[[Stats], None],
        journal_failure: Callable[[], str] = str,
    ) -> None:
        self._engine = engine
        self._pump = pump
        self._configuration = configuration
        self._handle_changed = handle_changed
        self._handle_ingested = handle_ingested
        self._add_stats = add_stats
        self._journal_failure = journal_failure

    def handle(self, request: Request) -> Reply | None:
        """Do what was asked; a request that names no reply gets none."""
        if isinstance(request, JournalIngested):
            self._handle_ingested(request.sequence)
            return None
        now = time.monotonic()
        if isinstance(request, MOVES_MONEY) and (failure := self._journal_failure()):
            return Reply(id=request.id, error=f"no money is moved: {failure}")
        try:
            result = self._do(request, now)
        except Exception as error:
            log.exception("request failed", kind=type(request).__name__)
            return Reply(id=request.id, error=str(error) or type(error).__name__)
        finally:
            self._pump.flush(now)
        if isinstance(result, Refusal):
            return Reply(id=request.id, error=result.reason)
        if isinstance(request, MOVES_MONEY) and (failure := self._journal_failure()):
            # It was this very write that failed. The balances have it, and perhaps the next start will not:
            # whoever asks again then, or after the disk has room, does no harm.
            return Reply(id=request.id, error=f"not known to be kept: {failure}")
        return Reply(id=request.id, result=msgspec.Raw(msgspec.msgpack.encode(result)))

    def _do(self, request: Asks, now: float) -> Any:
        if isinstance(request, PutDelta):
            return self._apply(request.delta)
        if isinstance(request, PutSnapshot):
            self._engine.load(request.snapshot)
            self._configuration.replace(request.snapshot)
            self._handle_changed(None)
            return None
        if isinstance(request, ListCalls):
            return self._engine.list_calls(request.customer_id, now, request.with_waiting)
        if isinstance(request, ReadCall):
            return self._engine.read_call(request.cdr_id, now)
        if isinstance(request, EndCall):
            log.info("call ended by order", cdr=request.cdr_id, by=request.by)
            return self._engine.end_call(request.cdr_id, now)
        if isinstance(request, Simulate):
            return self._engine.simulate(request, now)
        if isinstance(request, BookEntries):
            if self._engine.entry_id() is None:
                return Refusal("there are no balances yet")
            return self._engine.book(request.entries, now)
        if isinstance(request, PutBalances):
            if not self._engine.put_balances(request.entry_id, request.balances, now):
                return Refusal("balances are here already")
            return None
        if isinstance(request, ReadAccounts):
            return self._engine.accounts(request.customer_ids, now)
        if isinstance(request, ListRegistrations):
            return self._engine.list_registrations(request.sip_user_id, now)
        if isinstance(request, RemoveRegistration):
            return self._engine.remove_registration(request.sip_user_id, request.registration_id, now)
        if isinstance(request, ReadLoad):
            return self._engine.read_load(now)
        stats = self._engine.stats()
        self._add_stats(stats)
        return stats

    def _apply(self, delta: Delta) -> Any:
        here = self._configuration.version
        if delta.version != here + 1:
            return Refusal(f"delta {delta.version} does not follow version {here}")
        self._engine.apply(delta)
        self._configuration.apply(delta)
        self._handle_changed([record.id for record in delta.put if isinstance(record, Gateway)])
        return None


class Refusal:
    """A request that was understood and cannot be done."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
