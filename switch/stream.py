"""TCP and TLS listeners: who may connect, which connection a message leaves by, and opening new ones.

Source: RFC 3261 §18.1.1, §18.2.2; RFC 5923 for reuse, held to the very address and port.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from typing import Final

from config.settings import Limits, Listener, Tls
from switch.connection import Connection, Peer
from switch.outputs import Address, Flow, Send
from switch.pump import Pump
from switch.tls import Certificates
from switch.wire.limits import Limits as WireLimits

CONNECT_TIMEOUT_S: Final = 4.0
"""Less than a vendor's time to its first reply, so that the call can go on to the next one."""
CONNECTIONS_PER_ADDRESS_MAX: Final = 1_024
"""Of the connections allowed at all, what one address may take."""
SWEEP_S: Final = 0.5
BACKLOG: Final = 1_024


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

    def flush(self) -> None:
        """Connections write at once."""

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
            connection.close(os.strerror(error.errno) if error.errno else str(error))

    def _sweep(self) -> None:
        now = time.monotonic()
        for connection in self.connections():
            connection.check_limits(now)
        self._sweeper = self._loop.call_later(SWEEP_S, self._sweep)


def _bind(listener: Listener) -> socket.socket:
    is_ipv6 = ":" in listener.host
    bound = socket.socket(socket.AF_INET6 if is_ipv6 else socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        # A second start takes the port at once, while connections of the first are in TIME_WAIT.
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if is_ipv6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bound.bind((listener.host, listener.port))
        bound.listen(BACKLOG)
    except OSError:
        bound.close()
        raise
    return bound
