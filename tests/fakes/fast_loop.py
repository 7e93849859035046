"""An event loop whose clock jumps to the next timer, and a link of two sockets that are none."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

Result = TypeVar("Result")
Address = tuple[str, int]


class _Selector(selectors.SelectSelector):
    """Waits for nothing: the clock is moved on by as much."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1_000.0

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        assert timeout is not None, "nothing will ever happen"
        self.now += timeout
        return super().select(0)


class FastLoop(asyncio.SelectorEventLoop):
    """Time is a number; nothing sleeps. Not for sockets, threads or child processes."""

    def __init__(self) -> None:
        self._fast = _Selector()
        super().__init__(self._fast)

    def time(self) -> float:
        return self._fast.now


def run_fast(work: Callable[[], Coroutine[Any, Any, Result]]) -> Result:
    with asyncio.Runner(loop_factory=FastLoop) as runner:
        return runner.run(work())


class LinkedTransport(asyncio.DatagramTransport):
    """Carries what one protocol sends to another one, unless `is_lost` says so."""

    def __init__(self, at: Address, is_lost: Callable[[bytes], bool], delay_s: float = 0.001) -> None:
        super().__init__()
        self.at = at
        self.sent: list[tuple[float, bytes]] = []
        """When, and what; lost ones too."""
        self.peer: asyncio.DatagramProtocol | None = None
        self._is_lost = is_lost
        self._delay_s = delay_s
        self._is_closed = False

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self.at if name == "sockname" else default

    def is_closing(self) -> bool:
        return self._is_closed

    def close(self) -> None:
        self._is_closed = True

    def sendto(self, data: Any, addr: Any = None) -> None:
        loop = asyncio.get_running_loop()
        self.sent.append((loop.time(), bytes(data)))
        if self.peer is not None and not self._is_lost(bytes(data)):
            loop.call_later(self._delay_s, self.peer.datagram_received, bytes(data), self.at)


def link(
    one: asyncio.DatagramProtocol, other: asyncio.DatagramProtocol, is_lost: Callable[[bytes], bool] = lambda _: False
) -> tuple[LinkedTransport, LinkedTransport]:
    """Connect two protocols; each hears what the other one sends."""
    transports = LinkedTransport(("127.0.0.1", 40_001), is_lost), LinkedTransport(("127.0.0.1", 40_002), is_lost)
    transports[0].peer, transports[1].peer = other, one
    one.connection_made(transports[0])
    other.connection_made(transports[1])
    return transports
