"""Ends a switch's work without dropping calls: no new ones, time for those that are up, then BYE."""

from __future__ import annotations

import asyncio
import time
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


async def drain(engine: Drains, pump: Pump, limit_s: float) -> None:
    """Refuse new calls and return when there are none left, within `limit_s` and `BYE_S`."""
    log.info("draining", calls=engine.live_calls(), limit_s=limit_s)
    engine.set_draining()
    await _wait(engine, limit_s)
    if engine.live_calls():
        now = time.monotonic()
        for call in engine.list_calls(None, now):
            engine.end_call(call.cdr_id, now)
        pump.flush(now)
        await _wait(engine, BYE_S)


async def _wait(engine: Drains, limit_s: float) -> None:
    until = time.monotonic() + limit_s
    while engine.live_calls() and time.monotonic() < until:  # noqa: ASYNC110 -- the engine knows no events
        await asyncio.sleep(LOOK_S)
