"""Messages out of a byte stream: TCP and TLS (RFC 3261 §18.3, §7.5; RFC 5626 §4.4.1).

Bytes may come cut anywhere. Each is looked at a bounded number of times, so a peer that sends
them one by one costs no more than their number.
"""

from __future__ import annotations

from switch.wire.build import response_to
from switch.wire.errors import FramingError as FramingError
from switch.wire.errors import ParseError
from switch.wire.headers import CONTENT_LENGTH, header_id
from switch.wire.limits import DEFAULT_LIMITS, Limits
from switch.wire.message import read_content_length, salvage
from switch.wire.scan import unfold


class StreamFramer:
    """One connection's reader.

    `pings` counts the keep-alives (CRLFCRLF between messages) not yet answered: the shell writes
    one CRLF for each and sets it back to 0. `has_partial` is true while a message has begun and
    not ended, `is_mid_header` while its header section has not: that is what the header time
    limit runs against.
    """

    def __init__(self, limits: Limits = DEFAULT_LIMITS) -> None:
        self._limits: Limits = limits
        self._buffer: bytearray = bytearray()
        self._scanned: int = 0  # no header section ends before this index
        self._needed: int = 0  # size of the message at the front; 0: its header has not ended
        self._crlfs: int = 0  # CRLFs in a row since the last message
        self._is_broken: bool = False
        self.pings: int = 0

    @property
    def has_partial(self) -> bool:
        return len(self._buffer) > 0

    @property
    def is_mid_header(self) -> bool:
        return len(self._buffer) > 0 and self._needed == 0

    def feed(self, data: bytes) -> list[bytes]:
        """Take what was read; the messages that are whole now, in order.

        Raises:
            FramingError: the connection must close. Whatever comes later is no message.
        """
        messages: list[bytes] = []
        if self._is_broken:
            raise FramingError("bytes after an error", None, messages)
        self._buffer += data
        try:
            while self._cut(messages):
                pass
        except ParseError as error:
            self._is_broken = True
            reply = None
            if error.request is not None:
                reply = response_to(error.request, error.status, _REASONS.get(error.status, b"Bad Request"))
            self._buffer.clear()
            raise FramingError(error.reason, reply, messages) from None
        return messages

    def _cut(self, messages: list[bytes]) -> bool:
        """Move one message from the buffer to `messages`; False where none is whole."""
        buffer = self._buffer
        if self._needed == 0:
            if not buffer:
                return False
            if buffer[0] == 13:
                self._skip_blank_lines()
                if not buffer or buffer[0] == 13:
                    return False
            end = buffer.find(b"\r\n\r\n", self._scanned)
            limit = self._limits.header_bytes_max
            if end > limit or (end < 0 and len(buffer) > limit + 3):
                raise self._error("header section too large", 513)
            if end < 0:
                self._scanned = max(0, len(buffer) - 3)
                return False
            self._crlfs = 0
            self._needed = end + 4 + self._body_size(bytes(buffer[:end]))
        if len(buffer) < self._needed:
            return False
        messages.append(bytes(buffer[: self._needed]))
        del buffer[: self._needed]  # a bytearray gives up its front without moving the rest
        self._needed = 0
        self._scanned = 0
        return True

    def _skip_blank_lines(self) -> None:
        buffer = self._buffer
        at = 0
        while buffer[at : at + 2] == b"\r\n":
            at += 2
            self._crlfs += 1
            if self._crlfs == 2:
                self._crlfs = 0
                self.pings += 1
        if at == 0 and len(buffer) > 1:
            raise ParseError("CR alone between messages")
        del buffer[:at]
        self._scanned = 0

    def _body_size(self, head: bytes) -> int:
        """What Content-Length says: on a stream it must be there, once (RFC 3261 §18.3)."""
        size = -1
        lines = head.split(b"\r\n")
        for index in range(1, len(lines)):
            line = lines[index]
            if line[:1] not in (b"C", b"c", b"l", b"L"):
                continue
            name, colon, value = line.partition(b":")
            if not colon or not _is_content_length(name):
                continue
            if size >= 0:
                raise self._error("Content-Length comes twice", 400)
            while index + 1 < len(lines) and lines[index + 1][:1] in (b" ", b"\t"):
                index += 1
                value += b"\r\n" + lines[index]
            try:
                size = read_content_length(unfold(value))
            except ParseError as error:
                raise self._error(error.reason, 400) from None
        if size < 0:
            raise self._error("no Content-Length", 400)
        if size > self._limits.body_bytes_max:
            raise self._error("body too large", 413)
        return size

    def _error(self, reason: str, status: int) -> ParseError:
        return ParseError(reason, status, salvage(bytes(self._buffer), self._limits))


def _is_content_length(name: bytes) -> bool:
    try:
        return header_id(name) == CONTENT_LENGTH
    except ParseError:
        return False  # the message's own parse refuses it


_REASONS = {400: b"Bad Request", 413: b"Request Entity Too Large", 513: b"Message Too Large"}
