"""A peer's UDP socket with the transactions of RFC 3261 §17, on asyncio.

What peers do beyond it stands in `caller.py` and `vendor.py`. Errors of the socket are no news: a
switch that is dead refuses packets, and retransmission is what brings a call through that.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from switch.wire.errors import ParseError
from switch.wire.message import Request, Response, parse_message

T1_S: Final = 0.5
T2_S: Final = 4.0
TIMEOUT_S: Final = 64 * T1_S
"""Timers B, D, F, H, J and L of RFC 3261 §17 and RFC 6026: how long a peer tries, and remembers."""

Address = tuple[str, int]
Key = tuple[bytes, bytes]
"""Branch and method of a transaction (RFC 3261 §17.1.3)."""


class Resender:
    """Sends bytes again and again, at doubling intervals, until stopped or `TIMEOUT_S` are over."""

    def __init__(
        self,
        send: Callable[[bytes], None],
        data: bytes,
        *,
        cap_s: float = T2_S,
        on_timeout: Callable[[], None] | None = None,
        is_sent: bool = False,
    ) -> None:
        self._send = send
        self._data = data
        self._cap_s = cap_s
        self._on_timeout = on_timeout
        self._loop = asyncio.get_running_loop()
        self._interval_s = T1_S
        self._ends = self._loop.time() + TIMEOUT_S
        if not is_sent:
            send(data)
        self._timer: asyncio.TimerHandle | None = None
        self._wait()

    def slow_down(self) -> None:
        """From now on at the longest interval (RFC 3261 §17.1.2.2, Proceeding)."""
        self._interval_s = self._cap_s

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _wait(self) -> None:
        left_s = self._ends - self._loop.time()
        is_last = left_s <= self._interval_s
        self._timer = self._loop.call_later(min(self._interval_s, left_s), self._give_up if is_last else self._again)

    def _again(self) -> None:
        self._send(self._data)
        self._interval_s = min(2 * self._interval_s, self._cap_s)
        self._wait()

    def _give_up(self) -> None:
        self._timer = None
        if self._on_timeout is not None:
            self._on_timeout()


class ClientTransaction:
    """A request under way; `final` is its last response, or None where nobody answered in time."""

    def __init__(self, send: Callable[[bytes], None], data: bytes, method: bytes) -> None:
        self.method = method
        self.is_heard = False
        """A response of any kind has come."""
        self.progress: asyncio.Event = asyncio.Event()
        self.final: asyncio.Future[Response | None] = asyncio.get_running_loop().create_future()
        self.ack = b""
        """INVITE: what each final response is answered with, the first and all copies of it."""
        self._send = send
        is_invite = method == b"INVITE"
        self._resender = Resender(
            send, data, cap_s=TIMEOUT_S if is_invite else T2_S, on_timeout=lambda: self._finish(None)
        )

    def receive(self, response: Response) -> None:
        self.is_heard = True
        if response.status < 200:
            if self.method == b"INVITE":
                self._resender.stop()
            else:
                self._resender.slow_down()
            if response.status > 100:
                self.progress.set()
            return
        self._resender.stop()
        if self.ack:
            self._send(self.ack)
        self._finish(response)

    def abandon(self) -> None:
        """Wait no longer."""
        self._resender.stop()
        self._finish(None)

    def _finish(self, response: Response | None) -> None:
        if not self.final.done():
            self.final.set_result(response)


class Endpoint(asyncio.DatagramProtocol):
    """One socket. Requests that begin a transaction go to `on_request`; copies get the last answer again."""

    def __init__(self, switch: Address, on_request: Callable[[Request], None]) -> None:
        self.at: Address = ("", 0)
        self.switch = switch
        self._on_request = on_request
        self._transport: asyncio.DatagramTransport | None = None
        self._clients: dict[Key, ClientTransaction] = {}
        self._answers: dict[Key, bytes] = {}
        self._loop = asyncio.get_running_loop()

    async def open(self, at: Address) -> None:
        await self._loop.create_datagram_endpoint(lambda: self, local_addr=at)

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
        self._transport = transport
        host, port = transport.get_extra_info("sockname")
        self.at = (host, port)

    def close(self) -> None:
        for transaction in list(self._clients.values()):
            transaction.abandon()
        if self._transport is not None:
            self._transport.close()

    def send(self, data: bytes) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.sendto(data, self.switch)

    def request(self, data: bytes, branch: bytes, method: bytes) -> ClientTransaction:
        """Send a request until it is answered."""
        transaction = ClientTransaction(self.send, data, method)
        key = (branch, method)
        self._clients[key] = transaction
        # A little longer than the peer may repeat its answer.
        transaction.final.add_done_callback(lambda _: self._forget_later(key))
        return transaction

    def answer(self, request: Request, data: bytes) -> None:
        """Answer a request, and each copy of it alike."""
        self._answers[request.via.branch, request.method] = data
        self.send(data)

    def datagram_received(self, data: bytes, addr: Address) -> None:
        try:
            message = parse_message(data)
        except ParseError:
            return
        if isinstance(message, Response):
            transaction = self._clients.get((message.via.branch, message.cseq_method))
            if transaction is not None:
                transaction.receive(message)
            return
        key = (message.via.branch, message.method)
        known = self._answers.get(key)
        if known is not None:
            if known:
                self.send(known)
            return
        if message.method != b"ACK":
            self._answers[key] = b""
            self._loop.call_later(2 * TIMEOUT_S, self._answers.pop, key, None)
        self._on_request(message)

    def error_received(self, exc: Exception) -> None:
        """Nobody listens there, for now."""

    def _forget_later(self, key: Key) -> None:
        if not self._loop.is_closed():
            self._loop.call_later(TIMEOUT_S, self._clients.pop, key, None)
