"""Signatures of what we send to others' servers: HMAC-SHA-256 over the time and the body.

`Tandem-Signature: t=1800000000,v1=<hex>`. The time stands inside what is signed, so that an old
message cannot be sent again as a new one; receivers refuse those that are minutes old.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from typing import Final

HEADER: Final = "Tandem-Signature"
SECRET_PREFIX: Final = "whsec_"  # noqa: S105
SECRET_BYTES: Final = 32
AGE_S: Final = 300
"""A receiver that follows `docs/api.md` refuses what is older."""


def new_secret() -> str:
    return SECRET_PREFIX + secrets.token_urlsafe(SECRET_BYTES)


def sign(secret: str, body: bytes, now_ms: int) -> str:
    """The header's value."""
    at_s = now_ms // 1000
    return f"t={at_s},v1={_digest(secret, at_s, body)}"


def verify(secret: str, header: str, body: bytes, now_ms: int) -> bool:
    """What a receiver does; here for tests, and as the shortest description of it."""
    parts = dict(part.partition("=")[::2] for part in header.split(","))
    try:
        at_s = int(parts.get("t", ""))
    except ValueError:
        return False
    if abs(now_ms // 1000 - at_s) > AGE_S:
        return False
    return hmac.compare_digest(_digest(secret, at_s, body), parts.get("v1", ""))


def _digest(secret: str, at_s: int, body: bytes) -> str:
    return hmac.new(secret.encode(), str(at_s).encode() + b"." + body, hashlib.sha256).hexdigest()
