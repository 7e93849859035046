"""Waiting for something that sockets will bring about, with a limit."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


async def until(condition: Callable[[], object], limit_s: float = 20.0) -> None:
    """Return when `condition` holds; AssertionError after `limit_s`."""
    loop = asyncio.get_running_loop()
    end = loop.time() + limit_s
    while not condition():
        assert loop.time() < end, "it never came about"
        await asyncio.sleep(0.002)
