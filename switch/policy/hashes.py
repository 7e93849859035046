"""The arithmetic of digest authentication, for `qop="auth"` (RFC 7616 §3.4; RFC 8760 §2.1)."""

from __future__ import annotations

import hashlib
from typing import Final

ALGORITHMS: Final = ("SHA-512-256", "SHA-256", "MD5")
"""Strongest first: a client answers the topmost challenge that it understands (RFC 8760 §2.3)."""

HEX_DIGITS: Final = {"SHA-512-256": 64, "SHA-256": 64, "MD5": 32}


def hash_hex(algorithm: str, data: bytes) -> str:
    """H(data) in lower-case hex.

    Raises:
        KeyError: an algorithm that is not in `ALGORITHMS`.
    """
    if algorithm == "MD5":
        # Broken as a hash of documents; here it stands for clients that know nothing else.
        return hashlib.md5(data, usedforsecurity=False).hexdigest()
    if algorithm == "SHA-256":
        return hashlib.sha256(data).hexdigest()
    if algorithm == "SHA-512-256":
        return hashlib.new("sha512_256", data).hexdigest()
    raise KeyError(algorithm)


def make_ha1(algorithm: str, username: str, realm: str, password: str) -> str:
    """H(username:realm:password): what is stored in the password's place."""
    return hash_hex(algorithm, f"{username}:{realm}:{password}".encode())


def digest_response(algorithm: str, ha1: str, method: bytes, uri: bytes, nonce: bytes, nc: bytes, cnonce: bytes) -> str:
    """What a client that knows the password answers, with `qop=auth` (RFC 7616 §3.4.1)."""
    ha2 = hash_hex(algorithm, method + b":" + uri)
    return hash_hex(algorithm, b":".join([ha1.encode(), nonce, nc, cnonce, b"auth", ha2.encode()]))
