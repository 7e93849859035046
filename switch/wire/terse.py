"""The same answer in fewer octets, for those who may not be sent more than they sent us."""

from __future__ import annotations

from typing import Final

_COMPACT: Final[dict[bytes, bytes]] = {b"via": b"v", b"from": b"f", b"to": b"t", b"call-id": b"i"}
"""RFC 3261 §7.3.3, of the headers that every answer mirrors."""
_DROPPED: Final = (b"content-length", b"l")


def terse(response: bytes) -> bytes:
    """A bodiless response for UDP, as short as the grammar allows.

    The reason phrase is left out (it may be empty, RFC 3261 §25.1), Content-Length too (a datagram
    ends where it ends, §18.3), and the mirrored headers get their compact names. Folded lines and
    all other headers stay as they are.
    """
    lines = response[: len(response) - 4].split(b"\r\n")
    out = [lines[0][:12]]
    for line in lines[1:]:
        if line[:1] in (b" ", b"\t"):
            out.append(line)
            continue
        name, colon, value = line.partition(b":")
        lower = name.strip().lower()
        if lower in _DROPPED:
            continue
        short = _COMPACT.get(lower)
        out.append(line if short is None else short + colon + value.lstrip(b" "))
    out.append(b"\r\n")
    return b"\r\n".join(out)
