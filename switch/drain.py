"""Ends a switch's work without dropping calls: no new ones, and time for those that are up.

What outlives it is ended by BYE, or left up for the next process, which takes it over from the journal.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final, Protocol

import structlog

from switch.frames import LiveCall
from switch.pump import Core, Pump

LOOK_S: Final = 0.1
BYE_S: Final = 2.0
"""Calls that outlive the drain are ended by BYE both ways; their last messages have this long."""

log = structlog.get_logger("switch.drain")


class Drains(Core, Protocol):
    """The engine as a drain sees it."""

    def set_draining(self) -> None: ...
    def live_calls(self) -> int: ...
    def list_calls(self, customer_id: int | None, now: float) -> list[LiveCall]: ...
    def end_call(self, cdr_id: str, now: float) -> bool: ...


async def drain(engine: Drains, pump: Pump, limit_s: float, *, keeps_calls: bool = False) -> None:
    """Refuse new calls and return when there is nothing left to wait for, within `limit_s` and `BYE_S`.

    Args:
        keeps_calls: answered calls stay up and are not waited for; only those that are still being
            set up are, and ended when the time is over: nobody else could answer their callers.
    """
    log.info("draining", calls=engine.live_calls(), limit_s=limit_s, keeps_calls=keeps_calls)
    engine.set_draining()
    pump.flush(time.monotonic())
    leaving = _unsettled if keeps_calls else _live
    await _wait(engine, leaving, limit_s)
    left = leaving(engine)
    if left:
        now = time.monotonic()
        for call in left:
            engine.end_call(call.cdr_id, now)
        pump.flush(now)
        await _wait(engine, leaving, BYE_S)
    if keeps_calls:
        log.info("calls are left up for the next process", calls=engine.live_calls())


def _live(engine: Drains) -> list[LiveCall]:
    return engine.list_calls(None, time.monotonic()) if engine.live_calls() else []


def _unsettled(engine: Drains) -> list[LiveCall]:
    return [call for call in _live(engine) if call.state != "answered"]


async def _wait(engine: Drains, leaving: Callable[[Drains], list[LiveCall]], limit_s: float) -> None:
    until = time.monotonic() + limit_s
    while leaving(engine) and time.monotonic() < until:  # noqa: ASYNC110 -- the engine knows no events
        await asyncio.sleep(LOOK_S)
