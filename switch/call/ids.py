"""Branches, tags and CDR ids, drawn from an injected generator so that tests repeat."""

from __future__ import annotations

from binascii import hexlify
from random import Random
from typing import Final

POOL_BYTES: Final = 4_096
"""Random bytes that are drawn at a time: the system's generator is a system call each time."""

_ID_DIGITS: Final = 16
"""64 bits: who guesses a branch can answer in a vendor's name, and RFC 3261 §19.3 asks for 32 in a tag."""
_CDR_DIGITS: Final = 20


class Ids:
    """Draws what has to be unique, or must not be guessed."""

    def __init__(self, rng: Random) -> None:
        self._rng: Random = rng
        self._pool: bytes = b""
        self._position: int = 0

    def branch(self) -> bytes:
        """A Via branch of ours (RFC 3261 §8.1.1.7)."""
        return b"z9hG4bK" + self._draw(_ID_DIGITS)

    def tag(self) -> bytes:
        """A To or From tag."""
        return self._draw(_ID_DIGITS)

    def cdr_id(self, now_ms: int) -> str:
        """32 hex digits that sort by time: 48 bits of milliseconds, then 80 random bits."""
        return now_ms.to_bytes(6, "big").hex() + self._draw(_CDR_DIGITS).decode("ascii")

    def _draw(self, digits: int) -> bytes:
        start = self._position
        end = start + digits
        if end > len(self._pool):
            self._pool = hexlify(self._rng.randbytes(POOL_BYTES))
            start = 0
            end = digits
        self._position = end
        return self._pool[start:end]
