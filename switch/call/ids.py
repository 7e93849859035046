"""Branches, tags and CDR ids, drawn from an injected generator so that tests repeat."""

from __future__ import annotations

from random import Random


class Ids:
    """Draws what has to be unique, or must not be guessed."""

    def __init__(self, rng: Random) -> None:
        self._rng: Random = rng

    def branch(self) -> bytes:
        """A Via branch of ours: 64 random bits, since who guesses it can answer in a vendor's name."""
        return b"z9hG4bK%x" % self._rng.getrandbits(64)

    def tag(self) -> bytes:
        """A To or From tag: at least 32 random bits (RFC 3261 §19.3)."""
        return b"%x" % self._rng.getrandbits(64)

    def cdr_id(self, now_ms: int) -> str:
        """32 hex digits that sort by time: 48 bits of milliseconds, then 80 random bits."""
        return f"{now_ms:012x}{self._rng.getrandbits(80):020x}"
