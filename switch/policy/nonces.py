"""Nonces that need no memory until somebody has answered one rightly.

A nonce is the time it was made, a serial number and a keyed hash of both: whether it is ours and
how old it is can be read from itself, so that a flood of challenges costs nothing. Only the last
`nc` of nonces that were answered rightly is kept, for as long as they live; each `nc` is accepted
once and has to be higher than those before it (RFC 7616 §3.4).
"""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Final

COUNTED_MAX: Final = 200_000
"""Nonces with a remembered `nc`: one is used per challenge and user, so thousands a second."""

_STAMP_BYTES: Final = 10
_TAG_BYTES: Final = 14
_TEXT_BYTES: Final = 32
"""24 bytes in base64, without padding."""


class Nonces:
    """Makes nonces and judges them.

    Args:
        secret: drawn anew at each start: what was accepted before it is not remembered.
        lifetime_s: how long an answer to a nonce is accepted.
    """

    def __init__(self, secret: bytes, lifetime_s: float) -> None:
        self._secret: bytes = secret
        self._lifetime_ms: int = int(lifetime_s * 1000)
        self._serial: int = 0
        self._counts: dict[bytes, int] = {}
        """Last `nc` by nonce, in the order of their first use."""
        self._floor_ms: int = -1
        """Nonces made up to here are too old, whatever their lifetime says."""

    def issue(self, now_s: float) -> bytes:
        """A nonce that nobody else was given."""
        self._serial = (self._serial + 1) & 0xFFFFFFFF
        stamp = int(now_s * 1000).to_bytes(6, "big") + self._serial.to_bytes(4, "big")
        return urlsafe_b64encode(stamp + self._tag(stamp))

    def age_ms(self, nonce: bytes, now_s: float) -> int | None:
        """Milliseconds since a nonce was made; None: it is not one of ours."""
        if len(nonce) != _TEXT_BYTES:
            return None
        try:
            raw = urlsafe_b64decode(nonce)
        except ValueError:
            return None
        # A second spelling of the same bytes would be a second nonce in the table of counts.
        if urlsafe_b64encode(raw) != nonce:
            return None
        stamp = raw[:_STAMP_BYTES]
        if not hmac.compare_digest(self._tag(stamp), raw[_STAMP_BYTES:]):
            return None
        return int(now_s * 1000) - int.from_bytes(stamp[:6], "big")

    def is_fresh(self, age_ms: int, now_s: float) -> bool:
        return 0 <= age_ms <= self._lifetime_ms and int(now_s * 1000) - age_ms > self._floor_ms

    def count(self, nonce: bytes, nc: int, now_s: float) -> bool:
        """Note a right answer to a fresh nonce.

        Returns:
            False where its `nc` is not higher than the last one: it was used before.
        """
        last = self._counts.get(nonce)
        if last is None:
            if nc <= 0:
                return False
            self._make_room(now_s)
            self._counts[nonce] = nc
            return True
        if nc <= last:
            return False
        self._counts[nonce] = nc
        return True

    def __len__(self) -> int:
        """Nonces with a remembered count."""
        return len(self._counts)

    def _make_room(self, now_s: float) -> None:
        """Drop nonces that have outlived their use, and the oldest used where there are too many.

        One that is dropped in its lifetime could be used again: so all that are as old as it or
        older count as outlived from then on, which costs their users one more challenge.
        """
        now_ms = int(now_s * 1000)
        while self._counts:
            oldest = next(iter(self._counts))
            made_ms = int.from_bytes(urlsafe_b64decode(oldest)[:6], "big")
            is_outlived = made_ms + self._lifetime_ms < now_ms or made_ms <= self._floor_ms
            if not is_outlived:
                if len(self._counts) < COUNTED_MAX:
                    return
                self._floor_ms = made_ms
            del self._counts[oldest]

    def _tag(self, stamp: bytes) -> bytes:
        return hmac.digest(self._secret, stamp, "sha256")[:_TAG_BYTES]
