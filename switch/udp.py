"""UDP listeners: a non-blocking socket each, read and written directly. The product's speed is here.

A wake-up reads what the kernel holds, up to a cap and in one call, feeds the engine, and flushes once:
all that it has to say leaves in one call too (`datagrams`). There is no coroutine, protocol object or
queue between; `now` is read once a wake-up.

Under load the socket is not watched but looked at every two milliseconds (`Pace`). Much of what a datagram
costs is the wake-up for it, and finding the processor's caches cold: 22 µs each at 8,000 a second, 13 µs when
a millisecond's worth shares one, less with more.

Source: RFC 3261 §18.1, §18.2; §18.4 for ICMP errors.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import select
import socket
import struct
import time
from collections import deque
from collections.abc import Callable
from typing import Final, Protocol

import structlog

from config.settings import Listener
from switch.datagrams import RECEIVE_SLOTS, SEND_SLOTS, Receiver, Sender
from switch.outputs import Address, Flow, Send
from switch.pump import Pump, Receive

DATAGRAMS_PER_WAKE: Final = RECEIVE_SLOTS
"""Read in one go before timers and other sockets have their turn."""
GATHER_S: Final = 0.002
"""Between two looks under load; what a message may wait for that is far below any SIP timer. Twice as long
costs a message a tenth less at 3,000 a second, and no less from 6,000 on."""
GATHER_ABOVE: Final = 3_000.0
"""Datagrams a second from which gathering is cheaper; below, a wake-up for each costs less."""
GATHER_BELOW: Final = 2_000.0
RATE_WINDOW_S: Final = 0.05
RECEIVE_BUFFER_BYTES: Final = 8_388_608
"""Asked of the kernel: a second of traffic at the rates this switch is made for."""
SEND_QUEUE_MAX: Final = 1_024
"""Datagrams that wait while the kernel takes none; more are dropped, as any network may."""
KNOWN_HOSTS_MAX: Final = 8_192
ECHO_BYTES: Final = 256
"""How much of a request an ICMP error must quote for us to believe it; the branch is within."""
ECHOES_MAX: Final = 2_048

IP_MTU_DISCOVER: Final = 10
IP_PMTUDISC_DONT: Final = 0
IP_RECVERR: Final = 11
IPV6_RECVERR: Final = 25
SO_RCVBUFFORCE: Final = 33
_EXTENDED_ERROR: Final = struct.Struct("=IBBBBII")
_ORIGIN_ICMP: Final = (2, 3)
_AGAIN: Final = (errno.EAGAIN, errno.ENOBUFS)

log = structlog.get_logger("switch.udp")


class Loop(Protocol):
    """What is asked of an event loop. uvloop's answers are not all those that asyncio declares."""

    def add_reader(self, fd: int, callback: Callable[[], None], /) -> object: ...
    def remove_reader(self, fd: int, /) -> object: ...
    def call_later(self, delay: float, callback: Callable[[], None], /) -> asyncio.TimerHandle: ...


class Pace:
    """Counts datagrams, and says whether to watch for the next ones or to let them gather."""

    def __init__(self) -> None:
        self.above: float = GATHER_ABOVE
        self.below: float = GATHER_BELOW
        self.window_s: float = RATE_WINDOW_S
        self.gathers: bool = False
        self._since: float = 0.0
        self._count: int = 0

    def note(self, count: int, now: float) -> None:
        self._count += count
        passed = now - self._since
        if passed < self.window_s:
            return
        rate = self._count / passed
        self._since = now
        self._count = 0
        self.gathers = rate > (self.below if self.gathers else self.above)


class UdpListener:
    """One bound socket: bound when made, read from `start` on; `send` is what the pump calls.

    Raises:
        OSError: the address cannot be bound.
    """

    def __init__(self, index: int, listener: Listener, bytes_max: int) -> None:
        self.index: int = index
        self.dropped: int = 0
        """Datagrams that neither the kernel nor the queue took."""
        self.pace: Pace = Pace()
        self._pump: Pump | None = None
        self._loop: Loop | None = None
        self._receive: Receive | None = None
        self._bytes_max: int = bytes_max
        self._is_ipv6: bool = ":" in listener.host
        self._queue: deque[Send] = deque()
        self._outgoing: list[Send] = []
        """What `flush` sends."""
        self._look: asyncio.TimerHandle | None = None
        """The next look at the socket while gathering; None: the loop watches it."""
        self._known: set[str] = set()
        self._echoes: dict[tuple[Address, bytes], int] = {}
        self._echoes_before: dict[tuple[Address, bytes], int] = {}
        self._socket: socket.socket = _bind(listener)
        # libuv stops watching a descriptor that reports an error, as this one does with each ICMP message.
        # So the loop watches an epoll descriptor around it, which costs nothing that can be measured.
        self._ready: select.epoll = select.epoll()
        self._ready.register(self._socket.fileno(), select.EPOLLIN)
        self._sender: Sender = Sender(self._socket)
        self._take: Callable[[], list[tuple[bytes, Address]]] = Receiver(self._socket).receive
        self._sendto: Callable[[bytes, Address], int] = self._socket.sendto
        self._send_slots: Callable[[int, int], int] = self._sender.send

    @property
    def address(self) -> Address:
        host, port = self._socket.getsockname()[:2]
        return host, port

    def start(self, pump: Pump, loop: Loop) -> None:
        self._pump = pump
        self._loop = loop
        self._receive = pump.receive
        loop.add_reader(self._ready.fileno(), self._on_readable)

    def close(self) -> None:
        if self._ready.closed:
            return
        if self._look is not None:
            self._look.cancel()
            self._look = None
        elif self._loop is not None:
            self._loop.remove_reader(self._ready.fileno())
        self._ready.close()
        self._socket.close()

    @property
    def is_gathering(self) -> bool:
        return self._look is not None

    def _on_readable(self) -> None:
        self._read(time.monotonic())
        if self.pace.gathers and self._loop is not None:
            self._loop.remove_reader(self._ready.fileno())
            self._look = self._loop.call_later(GATHER_S, self._on_look)

    def _on_look(self) -> None:
        is_more = self._read(time.monotonic())
        loop = self._loop
        assert loop is not None
        if self.pace.gathers:
            self._look = loop.call_later(0.0 if is_more else GATHER_S, self._on_look)
        else:
            self._look = None
            loop.add_reader(self._ready.fileno(), self._on_readable)

    def _read(self, now: float) -> bool:
        """Read what is there, give it to the engine, flush; True: the cap was reached first."""
        receive, pump, index, bytes_max = self._receive, self._pump, self.index, self._bytes_max
        assert receive is not None
        assert pump is not None
        count = 0
        try:
            found = self._take()
            count = len(found)
            for data, source in found:
                try:
                    receive(data if len(data) <= bytes_max else data[:bytes_max], index, source, now)
                except Exception:
                    # One message has hit a fault of ours; the others of the batch are nobody's fault.
                    log.exception("fault while handling a datagram", source=source)
        except BlockingIOError:
            if self._queue or not self._look:
                self._on_other_readiness()
        except OSError:
            self._take_errors()
        self.pace.note(count, now)
        pump.flush(now)
        return count == DATAGRAMS_PER_WAKE

    def send(self, send: Send) -> None:
        """Have a datagram leave with the next `flush`, or from a short queue while the kernel takes none."""
        address = send.flow.address
        if address[0] not in self._known and not self._is_literal(address[0]):
            self._fail(send.token, f"{address[0]} is no address")
            return
        if send.token:
            if len(self._echoes) >= ECHOES_MAX:
                self._echoes_before, self._echoes = self._echoes, {}
            self._echoes[address, send.data[:ECHO_BYTES]] = send.token
        if self._queue:
            self._enqueue(send)
        else:
            self._outgoing.append(send)

    def flush(self) -> None:
        """Hand what was given to `send` to the kernel."""
        if self._queue:
            # Under load each look finds datagrams, so none is left to notice that the kernel has room again.
            self._send_queue()
        outgoing = self._outgoing
        if not outgoing:
            return
        self._outgoing = []
        if len(outgoing) == 1:
            self._send_one(outgoing[0])
            return
        for first in range(0, len(outgoing), SEND_SLOTS):
            self._send_batch(outgoing[first : first + SEND_SLOTS])

    def _send_one(self, send: Send) -> None:
        if self._queue:
            self._enqueue(send)
            return
        try:
            self._sendto(send.data, send.flow.address)
        except BlockingIOError:
            self._enqueue(send)
        except OSError as error:
            self._retry(send, error)

    def _send_batch(self, sends: list[Send]) -> None:
        sender = self._sender
        count = sent = 0
        try:
            for send in sends:
                sender.put(count, send.data, send.flow.address)
                count += 1
            while sent < count and not self._queue:
                sent += self._send_slots(sent, count)
        except BlockingIOError:
            pass
        except OSError:
            # What stands in the way of one message is told of it alone: the rest goes one by one.
            self._take_errors()
        for send in sends[sent:]:
            self._send_one(send)

    def close_flow(self, flow: Flow) -> None:
        """UDP has no connections."""

    def _fail(self, token: int, reason: str) -> None:
        if self._pump is not None:
            self._pump.fail(token, reason)

    def _is_literal(self, host: str) -> bool:
        """Let addresses through alone: the socket module would look a name up, and the loop would stand still."""
        try:
            ipaddress.ip_address(host)
        except ValueError:
            return False
        if len(self._known) >= KNOWN_HOSTS_MAX:
            self._known.clear()
        self._known.add(host)
        return True

    def _retry(self, send: Send, error: OSError) -> None:
        """After an error: it may be the echo of an earlier datagram, reported on this one, which was not sent."""
        if error.errno in _AGAIN:
            self._enqueue(send)
            return
        self._take_errors()
        try:
            self._sendto(send.data, send.flow.address)
        except OSError as again:
            if again.errno in _AGAIN:
                self._enqueue(send)
            else:
                self._fail(send.token, again.strerror or str(again))

    def _enqueue(self, send: Send) -> None:
        if len(self._queue) >= SEND_QUEUE_MAX:
            self.dropped += 1
            return
        self._queue.append(send)
        if len(self._queue) == 1:
            self._ready.modify(self._socket.fileno(), select.EPOLLIN | select.EPOLLOUT)

    def _on_other_readiness(self) -> None:
        """The socket is ready, and not with a datagram: it has room, or an error."""
        self._take_errors()
        self._send_queue()

    def _send_queue(self) -> None:
        while self._queue:
            send = self._queue[0]
            try:
                self._sendto(send.data, send.flow.address)
            except OSError as error:
                if error.errno in _AGAIN or self._ready.closed:
                    return
                self._take_errors()
                try:  # it may have been the echo of an earlier one, as in `_retry`
                    self._sendto(send.data, send.flow.address)
                except OSError as again:
                    if again.errno in _AGAIN:
                        return
                    self._fail(send.token, again.strerror or str(again))
            self._queue.popleft()
        self._ready.modify(self._socket.fileno(), select.EPOLLIN)

    def _take_errors(self) -> None:
        """Empty the socket's error queue: who could not be reached, and with which message.

        Only an error that quotes our message up to its branch is believed: ports are known, so a
        stranger could make up any other.
        """
        while True:
            try:
                quoted, ancillary, _, address = self._socket.recvmsg(self._bytes_max, 512, socket.MSG_ERRQUEUE)
            except BlockingIOError:
                break
            except OSError as error:
                log.warning("UDP error queue cannot be read", reason=error.strerror)
                break
            for _, kind, detail in ancillary:
                if kind not in (IP_RECVERR, IPV6_RECVERR) or len(detail) < _EXTENDED_ERROR.size:
                    continue
                number, origin = _EXTENDED_ERROR.unpack_from(detail)[:2]
                key = (address[:2], quoted[:ECHO_BYTES])
                token = self._echoes.pop(key, 0) or self._echoes_before.pop(key, 0)
                if origin in _ORIGIN_ICMP and number != errno.EMSGSIZE and token:
                    self._fail(token, errno.errorcode.get(number, str(number)))


def _bind(listener: Listener) -> socket.socket:
    is_ipv6 = ":" in listener.host
    bound = socket.socket(socket.AF_INET6 if is_ipv6 else socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
    try:
        if is_ipv6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            bound.setsockopt(socket.IPPROTO_IPV6, IPV6_RECVERR, 1)
        else:
            bound.setsockopt(socket.IPPROTO_IP, IP_RECVERR, 1)
            # A message above the path's MTU is cut into fragments, not refused.
            bound.setsockopt(socket.IPPROTO_IP, IP_MTU_DISCOVER, IP_PMTUDISC_DONT)
        _enlarge_buffer(bound)
        bound.bind((listener.host, listener.port))
    except OSError:
        bound.close()
        raise
    return bound


def _enlarge_buffer(bound: socket.socket) -> None:
    try:
        bound.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, RECEIVE_BUFFER_BYTES)
    except PermissionError:
        with contextlib.suppress(OSError):
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_BYTES)
    given = bound.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) // 2  # the kernel doubles what it is asked
    if given < RECEIVE_BUFFER_BYTES:
        log.info("the kernel gives a smaller receive buffer", bytes=given, asked=RECEIVE_BUFFER_BYTES)
