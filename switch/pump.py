"""Carries the engine's outputs to where they belong; every shell feeds the engine and then flushes.

The order within a flush is the switch's promise: records go to the journal in one write, then the
messages leave. There is one timer for the whole engine.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Sequence
from typing import Final, Protocol

import structlog

from switch.outputs import Address, Close, Event, Flow, Outputs, Send
from switch.records import JournalRecord
from switch.registrations import Registration

ROUNDS_MAX: Final = 8
"""Sends that fail at once give the engine new input, and that new outputs; the rest waits for the next turn."""
TIMER_SLACK_S: Final = 0.004
"""SIP timers are tenths of seconds and more: firing this much late lets one wake-up serve several."""

log = structlog.get_logger("switch.pump")


class Core(Protocol):
    """The part of the engine that shells drive."""

    def receive(self, data: bytes, listener: int, source: Address, now: float, connection: int = 0) -> None: ...
    def handle_timer(self, now: float) -> None: ...
    def next_deadline(self) -> float | None: ...
    def take_outputs(self) -> Outputs: ...
    def send_failed(self, token: int, reason: str, now: float) -> None: ...
    def connection_closed(self, listener: int, connection: int, now: float) -> None: ...


class Transport(Protocol):
    """What a listener's shell does with the engine's messages; no call may feed the engine."""

    def send(self, send: Send) -> None: ...
    def flush(self) -> None:
        """All that a wake-up has to say was given to `send`."""

    def close_flow(self, flow: Flow) -> None: ...


class Receive(Protocol):
    """How a shell hands a message in."""

    def __call__(self, data: bytes, listener: int, source: Address, now: float, connection: int = 0) -> None: ...


class Keeps(Protocol):
    """What keeps messages, both ways (`switch/tap.py`)."""

    def receive(self, data: bytes, listener: int, source: Address, now: float, connection: int = 0) -> None: ...
    def note_sends(self, sends: Sequence[Send | Close], now: float) -> None: ...


class Appends(Protocol):
    def append(self, records: Sequence[JournalRecord]) -> int: ...


class Pump:
    """One engine with its journal, its transports by listener index, and its timer."""

    def __init__(
        self, engine: Core, journal: Appends | None, loop: asyncio.AbstractEventLoop, tap: Keeps | None = None
    ) -> None:
        self.engine = engine
        self.receive: Receive = engine.receive if tap is None else tap.receive
        """For the listeners; it goes by the tap where there is one."""
        self._tap = tap
        self.transports: list[Transport] = []
        self.handle_event: Callable[[Event], None] | None = None
        self.handle_registrations: Callable[[list[Registration]], None] | None = None
        self._journal = journal
        self._loop = loop
        self._take = engine.take_outputs
        self._next_deadline = engine.next_deadline
        self._timer: asyncio.TimerHandle | None = None
        self._fires_at = math.inf
        self._failed: list[tuple[int, str]] = []
        self._is_flush_due = False

    def flush(self, now: float) -> None:
        """Handle what is due, write and send all that the engine has to say, set the timer anew.

        Args:
            now: `time.monotonic()` of this wake-up.
        """
        if now >= self._fires_at - TIMER_SLACK_S:
            self._run_timers(now)
        self._deliver(now)
        deadline = self._next_deadline()
        # A timer that fires early is harmless and cheaper than moving it with every message.
        if deadline is not None and deadline + TIMER_SLACK_S < self._fires_at:
            self._set_timer(deadline, now)

    def flush_soon(self) -> None:
        """Flush at the loop's next turn; for input that comes in many small pieces."""
        if not self._is_flush_due:
            self._is_flush_due = True
            self._loop.call_soon(self._flush_due)

    def fail(self, token: int, reason: str) -> None:
        """A message with `token` cannot be delivered; the engine hears of it soon."""
        if token:
            self._failed.append((token, reason))
            self.flush_soon()

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = None
        self._fires_at = -math.inf  # nothing sets it again

    def carry(self, outputs: Outputs) -> None:
        """Records first, then all else."""
        if outputs.records and self._journal is not None:
            self._journal.append(outputs.records)
        if self._tap is not None and outputs.sends:
            self._tap.note_sends(outputs.sends, time.monotonic())
        if outputs.registrations and self.handle_registrations is not None:
            self.handle_registrations(outputs.registrations)
        transports = self.transports
        for item in outputs.sends:
            if type(item) is Send:
                transports[item.flow.listener].send(item)
            else:
                transports[item.flow.listener].close_flow(item.flow)
        if outputs.sends:
            for transport in transports:
                transport.flush()
        if outputs.events and self.handle_event is not None:
            for event in outputs.events:
                self.handle_event(event)

    def _deliver(self, now: float) -> None:
        for _ in range(ROUNDS_MAX):
            self.carry(self._take())
            if not self._failed:
                return
            failed, self._failed = self._failed, []
            for token, reason in failed:
                self.engine.send_failed(token, reason, now)
        self.flush_soon()

    def _flush_due(self) -> None:
        self._is_flush_due = False
        now = time.monotonic()
        failed, self._failed = self._failed, []
        for token, reason in failed:
            self.engine.send_failed(token, reason, now)
        self.flush(now)

    def _set_timer(self, deadline: float, now: float) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._fires_at = max(deadline, now) + TIMER_SLACK_S
        self._timer = self._loop.call_later(self._fires_at - now, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        self._fires_at = math.inf
        now = time.monotonic()
        self._run_timers(now)
        self.flush(now)

    def _run_timers(self, now: float) -> None:
        try:
            self.engine.handle_timer(now)
        except Exception:
            # One timer has hit a fault of ours; what the others had to say still goes out.
            log.exception("fault in the engine's timers")
