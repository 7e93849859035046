"""Branches, tags and CDR ids, drawn from an injected generator so that tests repeat."""

from __future__ import annotations

from binascii import hexlify
from random import Random
from typing import Final

POOL_BYTES: Final = 2_048
"""Drawn at once: the kernel's generator costs as much for two thousand bytes as for eight."""


class Ids:
    """Draws what has to be unique, or must not be guessed."""

    def __init__(self, rng: Random) -> None:
        self._rng: Random = rng
        self._pool: bytes = b""
        self._used: int = 0

    def _digits(self, count: int) -> bytes:
        """So many random hex digits, each given out once."""
        end = self._used + count
        if end > len(self._pool):
            self._pool = hexlify(self._rng.randbytes(POOL_BYTES))
            self._used = 0
            end = count
        digits = self._pool[self._used : end]
        self._used = end
        return digits

    def branch(self) -> bytes:
        """A Via branch of ours: 64 random bits, since who guesses it can answer in a vendor's name."""
        return b"z9hG4bK" + self._digits(16)

    def tag(self) -> bytes:
        """A To or From tag: at least 32 random bits (RFC 3261 §19.3)."""
        return self._digits(16)

    def cdr_id(self, now_ms: int) -> str:
        """32 hex digits that sort by time: 48 bits of milliseconds, then 80 random bits."""
        return f"{now_ms:012x}" + self._digits(20).decode("ascii")
