"""One stream connection: bytes and TLS on one side, whole messages and the engine on the other.

Everything that a peer can hold open is bounded: the handshake's time, the time to finish a message,
idle time, and what it leaves unread.

Source: RFC 3261 §18.3, §18.4, §26.3.1; RFC 5626 §3.5.1 for keep-alive.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections import Counter
from typing import TYPE_CHECKING, Final, cast

import structlog

from switch.outputs import Address
from switch.tls import TlsChannel
from switch.wire.framing import FramingError, StreamFramer

if TYPE_CHECKING:
    from switch.stream import StreamListener

WRITE_BUFFER_BYTES_MAX: Final = 1_048_576
"""A peer that leaves this much unread is cut."""
WAITING_SENDS_MAX: Final = 256
"""Messages that wait for one connection to be opened."""
UNCONFIRMED_S: Final = 4.0
"""A connection lost this soon after a message, with nothing heard since, has lost the message too."""
UNCONFIRMED_MAX: Final = 256
HANDSHAKE_GRACE_S: Final = 0.5
"""With all handshakes taken and no address greedier than others, the oldest that has had this long gives way."""
CLOSE_TIMEOUT_S: Final = 5.0
PONG: Final = b"\r\n"

log = structlog.get_logger("switch.connection")

Peer = tuple[Address, str, bool]
"""Address, name its certificate was checked for, and whether it was: what a connection may be used for again."""


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
        if self._is_outgoing and not self._was_open:
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
            victim = self._handshake_in_the_way()
            (victim or self).close("too many TLS handshakes under way", is_abrupt=True)
            if victim is None:
                return
        shared.handshakes[self] = self._active_at
        self._tls = TlsChannel(shared.certificates.server(), None)

    def _handshake_in_the_way(self) -> Connection | None:
        """Whose handshake ends for ours: of the address that has most of them, or one that has stalled."""
        handshakes = self.listener.shared.handshakes
        counts = Counter(connection.address[0] for connection in handshakes)
        host, most = counts.most_common(1)[0]
        if most > counts[self.address[0]] + 1:
            return next(connection for connection in handshakes if connection.address[0] == host)
        oldest, begun_at = next(iter(handshakes.items()))
        return oldest if self._active_at - begun_at > HANDSHAKE_GRACE_S else None

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
                pump.receive(message, index, self.address, now, self.number)
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
