"""TCP and TLS: listeners, the connections that come in, and those that we open.

Messages are cut out of the stream by `switch.wire.framing` and given to the engine with the number
of their connection. Everything that a peer can hold open is bounded: connections, handshakes, time
to finish a message, idle time, and what it leaves unread.

Source: RFC 3261 §18.1.1, §18.2, §18.3, §18.4, §26.3.1; RFC 5626 §3.5.1 for keep-alive.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import time
from typing import Final, cast

import structlog

from config.settings import Limits, Listener, Tls
from switch.outputs import Address, Flow, Send
from switch.pump import Pump
from switch.tls import Certificates, TlsChannel
from switch.wire.framing import FramingError, StreamFramer
from switch.wire.limits import Limits as WireLimits

CONNECT_TIMEOUT_S: Final = 4.0
"""Less than a vendor's time to its first reply, so that the call can go on to the next one."""
CONNECTIONS_PER_ADDRESS_MAX: Final = 1_024
"""Of the connections allowed at all, what one address may take."""
WRITE_BUFFER_BYTES_MAX: Final = 1_048_576
"""A peer that leaves this much unread is cut."""
WAITING_SENDS_MAX: Final = 256
"""Messages that wait for one connection to be opened."""
UNCONFIRMED_S: Final = 4.0
"""A connection lost this soon after a message, with nothing heard since, has lost the message too."""
UNCONFIRMED_MAX: Final = 256
HANDSHAKE_GRACE_S: Final = 0.5
"""With all handshakes taken, the oldest that has had this long gives way to a new one."""
CLOSE_TIMEOUT_S: Final = 5.0
SWEEP_S: Final = 0.5
BACKLOG: Final = 1_024
PONG: Final = b"\r\n"

log = structlog.get_logger("switch.stream")


class Connections:
    """What all stream listeners share: numbers, limits and the handshakes under way."""

    def __init__(self, limits: Limits, tls: Tls, certificates: Certificates) -> None:
        self.limits = limits
        self.tls = tls
        self.certificates = certificates
        self.by_number: dict[int, Connection] = {}
        self.by_host: dict[str, int] = {}
        self.wire_limits = WireLimits(
            limits.header_bytes_max,
            limits.header_lines_max,
            limits.line_bytes_max,
            limits.vias_max,
            limits.body_bytes_max,
        )
        self.handshakes: dict[Connection, float] = {}
        """TLS handshakes that peers have under way, the oldest first, with the times of their begin."""
        self.refused = 0
        """Connections closed at once because a limit was reached."""
        self._last_number = 0

    def next_number(self) -> int:
        self._last_number += 1
        return self._last_number

    def has_room_for(self, host: str) -> bool:
        total = len(self.by_number) < self.limits.stream_connections_max
        return total and self.by_host.get(host, 0) < CONNECTIONS_PER_ADDRESS_MAX

    def add(self, connection: Connection) -> None:
        self.by_number[connection.number] = connection
        host = connection.address[0]
        self.by_host[host] = self.by_host.get(host, 0) + 1

    def remove(self, connection: Connection) -> None:
        if self.by_number.pop(connection.number, None) is None:
            return
        host = connection.address[0]
        self.by_host[host] -= 1
        if not self.by_host[host]:
            del self.by_host[host]


Peer = tuple[Address, str, bool]
"""Address, name its certificate was checked for, and whether it was: what a connection may be used for again."""


class StreamListener:
    """One TCP or TLS listener, with every connection that came to it or that it opened."""

    _pump: Pump
    _loop: asyncio.AbstractEventLoop

    def __init__(self, index: int, listener: Listener, connections: Connections) -> None:
        self.index = index
        self.shared = connections
        self.is_tls = listener.transport == "tls"
        self.by_peer: dict[Peer, Connection] = {}
        if self.is_tls:
            connections.certificates.server()
        self._host = listener.host
        self._socket = _bind(listener)
        self._server: asyncio.Server | None = None
        self._sweeper: asyncio.TimerHandle | None = None
        self._opening: set[asyncio.Task[None]] = set()

    @property
    def address(self) -> Address:
        host, port = self._socket.getsockname()[:2]
        return host, port

    @property
    def pump(self) -> Pump:
        return self._pump

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        return self._loop

    async def start(self, pump: Pump, loop: asyncio.AbstractEventLoop) -> None:
        self._pump = pump
        self._loop = loop
        self._server = await loop.create_server(lambda: Connection(self), sock=self._socket, backlog=BACKLOG)
        self._sweeper = loop.call_later(SWEEP_S, self._sweep)

    def close(self) -> None:
        if self._server is not None:
            self._server.close()
        if self._sweeper is not None:
            self._sweeper.cancel()
        for task in self._opening:
            task.cancel()
        for connection in self.connections():
            connection.close("the switch ends")
        self._socket.close()

    def connections(self) -> list[Connection]:
        return [connection for connection in self.shared.by_number.values() if connection.listener is self]

    def send(self, send: Send) -> None:
        """Send over the connection named, over one to the same peer, or over a new one."""
        flow = send.flow
        if flow.connection:
            connection = self.shared.by_number.get(flow.connection)
            if connection is None or connection.listener is not self:
                self._pump.fail(send.token, "the connection is gone")
                return
        else:
            peer = self._peer_of(flow)
            found = self.by_peer.get(peer)
            connection = found if found is not None else self._open(peer)
        connection.send(send.data, send.token)

    def close_flow(self, flow: Flow) -> None:
        connection = self.shared.by_number.get(flow.connection)
        if connection is not None and connection.listener is self:
            connection.close("closed by the engine")

    def _peer_of(self, flow: Flow) -> Peer:
        if not self.is_tls:
            return flow.address, "", False
        return flow.address, flow.server_name or flow.address[0], flow.tls_verify

    def _open(self, peer: Peer) -> Connection:
        connection = Connection(self, peer)
        self.by_peer[peer] = connection
        if not self.shared.has_room_for(peer[0][0]):
            self.shared.refused += 1
            self._loop.call_soon(connection.close, "too many connections")
            return connection
        self.shared.add(connection)
        task = self._loop.create_task(self._connect(connection))
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)
        return connection

    async def _connect(self, connection: Connection) -> None:
        host, port = connection.address
        # Our own address as peers know it; a wildcard leaves the choice to the kernel.
        local = None if self._host in ("0.0.0.0", "::") else (self._host, 0)  # noqa: S104
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT_S):
                opened = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
                try:
                    opened.setblocking(False)
                    if local is not None:
                        opened.bind(local)
                    await self._loop.sock_connect(opened, (host, port))
                    await self._loop.create_connection(lambda: connection, sock=opened)
                except BaseException:
                    opened.close()
                    raise
        except TimeoutError:
            connection.close("no connection within the time limit")
        except OSError as error:
            connection.close(error.strerror or str(error))

    def _sweep(self) -> None:
        now = time.monotonic()
        for connection in self.connections():
            connection.check_limits(now)
        self._sweeper = self._loop.call_later(SWEEP_S, self._sweep)


class Connection(asyncio.Protocol):
    """One stream connection, from the accept or the first message to the close."""

    def __init__(self, listener: StreamListener, peer: Peer | None = None) -> None:
        self.listener = listener
        self.number = listener.shared.next_number()
        self.address: Address = peer[0] if peer else ("", 0)
        self._peer = peer
        self._is_outgoing = peer is not None
        self._is_closed = False
        self._is_shaking_hands = False
        self._was_open = False
        self._transport: asyncio.Transport | None = None
        self._tls: TlsChannel | None = None
        self._framer = StreamFramer(listener.shared.wire_limits)
        self._waiting: list[tuple[bytes, int]] = []
        """Sends that come before the connection is open."""
        self._unconfirmed: list[int] = []
        self._unconfirmed_at = 0.0
        self._active_at = time.monotonic()
        self._begun_at = 0.0
        """When the message that is not whole yet began; 0: there is none."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        shared = self.listener.shared
        if self._is_closed:
            self._transport.abort()
            return
        if not self._is_outgoing:
            peername = self._transport.get_extra_info("peername")
            if not peername:  # gone before it was accepted
                self._transport.abort()
                return
            self.address = peername[0], peername[1]
            if not shared.has_room_for(self.address[0]):
                shared.refused += 1
                self._transport.abort()
                return
            shared.add(self)
        self._transport.set_write_buffer_limits(high=WRITE_BUFFER_BYTES_MAX)
        self._active_at = time.monotonic()
        if self.listener.is_tls:
            self._begin_tls()
        else:
            self._opened()

    def data_received(self, data: bytes) -> None:
        if self._is_closed:
            return
        if self._tls is not None:
            try:
                data = self._tls.receive(data)
            except ssl.SSLError as error:
                self._tls_failed(error)
                return
            self._write(self._tls.outgoing())
            if self._is_shaking_hands and self._tls.is_open:
                self._end_handshake()
                self._opened()
        if data:
            self._take(data)

    def eof_received(self) -> None:
        """The peer sends no more: the transport closes, and `connection_lost` follows."""

    def connection_lost(self, error: Exception | None) -> None:
        if isinstance(error, OSError):
            self.close(error.strerror or str(error))
        else:
            self.close(str(error) if error else "closed by the peer")

    def pause_writing(self) -> None:
        log.warning("peer does not read, cut", peer=self.address, bytes=WRITE_BUFFER_BYTES_MAX)
        self.close("the peer does not read", is_abrupt=True)

    def resume_writing(self) -> None:
        """Never needed: a connection that was paused is gone."""

    def send(self, data: bytes, token: int) -> None:
        """Send one message, at once or when the connection is open."""
        if self._is_closed:
            self.listener.pump.fail(token, "the connection is gone")
        elif self._transport is None or self._is_shaking_hands:
            if len(self._waiting) < WAITING_SENDS_MAX:
                self._waiting.append((data, token))
            else:
                self.listener.pump.fail(token, "too many messages wait for this connection")
        else:
            self._send_now(data, token)

    def close(self, reason: str, *, is_abrupt: bool = False) -> None:
        """End the connection; what cannot be delivered any more is reported. May be called again."""
        if self._is_closed:
            return
        self._is_closed = True
        self._end_handshake()
        listener = self.listener
        listener.shared.remove(self)
        for peer in (self._peer, (self.address, "", False)):
            if peer is not None and listener.by_peer.get(peer) is self:
                del listener.by_peer[peer]
        if self._transport is not None:
            if self._tls is not None and self._tls.is_open and not is_abrupt:
                self._tls.shut_down()
                self._transport.write(self._tls.outgoing())
            if is_abrupt:
                self._transport.abort()
            else:
                self._transport.close()
                # What is written still goes out, but a peer that reads nothing holds no descriptor for ever.
                listener.loop.call_later(CLOSE_TIMEOUT_S, self._transport.abort)
        elif self._is_outgoing:
            log.info("connection not opened", peer=self.address, reason=reason)
        for _, token in self._waiting:
            listener.pump.fail(token, reason)
        if time.monotonic() - self._unconfirmed_at < UNCONFIRMED_S:
            for token in self._unconfirmed:
                listener.pump.fail(token, reason)
        self._waiting.clear()
        self._unconfirmed.clear()
        if self._was_open:
            listener.pump.engine.connection_closed(listener.index, self.number, time.monotonic())
            listener.pump.flush_soon()

    def check_limits(self, now: float) -> None:
        """Cut what takes too long; called every `SWEEP_S`."""
        limits = self.listener.shared.limits
        if self._is_shaking_hands:
            if now - self._active_at > self.listener.shared.tls.handshake_timeout_s:
                self.close("TLS handshake takes too long", is_abrupt=True)
        elif self._begun_at and now - self._begun_at > limits.stream_header_time_s:
            self.close("message takes too long", is_abrupt=True)
        elif self._transport is not None and now - self._active_at > limits.stream_idle_s:
            self.close("idle")

    def _opened(self) -> None:
        """Both directions work: register for reuse, send what waits."""
        self._was_open = True
        if not self._is_outgoing and not self.listener.is_tls:
            # A request to the very address and port that a peer connected from goes back that way.
            self.listener.by_peer.setdefault((self.address, "", False), self)
        waiting, self._waiting = self._waiting, []
        for data, token in waiting:
            self._send_now(data, token)

    def _begin_tls(self) -> None:
        shared = self.listener.shared
        self._is_shaking_hands = True
        if self._peer is not None:
            _, name, verify = self._peer
            self._tls = TlsChannel(shared.certificates.client(verify), name)
            self._tls.start()
            self._write(self._tls.outgoing())
            return
        if len(shared.handshakes) >= shared.tls.handshakes_open_max:
            shared.refused += 1
            oldest, begun_at = next(iter(shared.handshakes.items()))
            is_stalled = self._active_at - begun_at > HANDSHAKE_GRACE_S
            (oldest if is_stalled else self).close("too many TLS handshakes under way", is_abrupt=True)
            if not is_stalled:
                return
        shared.handshakes[self] = self._active_at
        self._tls = TlsChannel(shared.certificates.server(), None)

    def _end_handshake(self) -> None:
        self._is_shaking_hands = False
        self.listener.shared.handshakes.pop(self, None)

    def _tls_failed(self, error: ssl.SSLError) -> None:
        assert self._tls is not None
        if isinstance(error, ssl.SSLZeroReturnError):
            self.close("closed by the peer")
            return
        reason = getattr(error, "verify_message", "") or error.reason or str(error)
        if self._is_outgoing:
            log.warning("TLS to a gateway failed", peer=self.address, name=self._peer and self._peer[1], reason=reason)
        else:
            log.info("TLS handshake failed", peer=self.address, reason=reason)
        self._write(self._tls.outgoing())  # the alert
        self.close(f"TLS: {reason}")

    def _take(self, data: bytes) -> None:
        """Cut messages out and give them to the engine."""
        now = time.monotonic()
        self._active_at = now
        self._unconfirmed.clear()
        framer = self._framer
        broken: FramingError | None = None
        try:
            messages = framer.feed(data)
        except FramingError as error:
            broken, messages = error, error.messages
        if framer.pings:
            framer.pings = 0
            self._send_now(PONG, 0)
        if not framer.has_partial:
            self._begun_at = 0.0
        elif messages or not self._begun_at:
            self._begun_at = now
        pump, index = self.listener.pump, self.listener.index
        for message in messages:
            try:
                pump.engine.receive(message, index, self.address, now, self.number)
            except Exception:
                log.exception("fault while handling a message", peer=self.address)
        pump.flush(now)
        if broken is not None and not self._is_closed:
            if broken.reply is not None:
                self._send_now(broken.reply, 0)
            self.close(broken.reason)

    def _send_now(self, data: bytes, token: int) -> None:
        if token:
            if len(self._unconfirmed) >= UNCONFIRMED_MAX:
                del self._unconfirmed[: UNCONFIRMED_MAX // 2]
            self._unconfirmed.append(token)
            self._unconfirmed_at = time.monotonic()
        if self._tls is not None:
            self._tls.send(data)
            data = self._tls.outgoing()
        self._write(data)

    def _write(self, data: bytes) -> None:
        if data and self._transport is not None and not self._is_closed:
            self._transport.write(data)


def _bind(listener: Listener) -> socket.socket:
    is_ipv6 = ":" in listener.host
    bound = socket.socket(socket.AF_INET6 if is_ipv6 else socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        # A second start takes the port at once, while connections of the first are in TIME_WAIT.
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if is_ipv6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bound.bind((listener.host, listener.port))
    except OSError:
        bound.close()
        raise
    return bound
