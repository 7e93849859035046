"""SIP messages as people may read them: secrets masked, nothing in them that a terminal or a page would obey.

What proves a password (RFC 7616 `response`, `cnonce`, `rspauth`), passwords inside URIs, and the keys of
encrypted media stay in the ring and are never shown.
"""

from __future__ import annotations

import re
from typing import Final

from switch.wire.errors import ParseError
from switch.wire.message import Request, Response, parse_message

MASK: Final = "***"

_CREDENTIALS: Final = frozenset(
    ("authorization", "proxy-authorization", "authentication-info", "proxy-authentication-info")
)
_SHOWN: Final = frozenset(("username", "realm", "nonce", "uri", "algorithm", "qop", "nc", "opaque", "nextnonce"))
"""Of a digest answer; all else is masked, whatever it is called."""
_PARAMETER: Final = re.compile(r'([A-Za-z0-9_*-]{1,40})[ \t]*=[ \t]*("[^"]*"|[^",\s]*)')
_URI_PASSWORD: Final = re.compile(r"(sips?:[^\s:@<>\"]{1,200}):[^\s@<>\"]{1,200}@", re.IGNORECASE)
_MEDIA_KEY: Final = re.compile(r"^(a=(?:crypto:.*?inline:|ice-pwd:|key-mgmt:)|k=)[^\r\n]*", re.M | re.I)
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ufffe\uffff]")
_VIA: Final = re.compile(rb"^(?:via|v)[ \t]*:[ \t]*SIP[ \t]*/[ \t]*2\.0[ \t]*/[ \t]*([A-Za-z]{1,10})", re.M | re.I)


def readable(data: bytes) -> str:
    """The whole message as text, masked; lines end in a bare newline."""
    text = inert(data.decode("utf-8", "backslashreplace").replace("\r\n", "\n"))
    head, blank, body = text.partition("\n\n")
    return "\n".join(_masked_lines(head.split("\n"))) + blank + _MEDIA_KEY.sub(rf"\1{MASK}", body)


def inert(text: str) -> str:
    """Without control characters, and those that turn the direction of writing: shown as their codes."""
    return _CONTROL.sub(lambda found: f"\\x{ord(found[0]):02x}", text)


def name_of(data: bytes) -> str:
    """`INVITE`, or `200 OK (INVITE)`; what cannot be read as a message is named by its first line."""
    try:
        message = parse_message(data)
    except ParseError:
        return "? " + inert(data[:60].split(b"\r\n", 1)[0].decode("utf-8", "backslashreplace"))
    if isinstance(message, Response):
        phrase = inert(data.split(b"\r\n", 1)[0][12:60].decode("utf-8", "backslashreplace"))
        method = inert(message.cseq_method.decode("utf-8", "backslashreplace"))
        return f"{message.status} {phrase} ({method})".replace("  ", " ")
    assert isinstance(message, Request)
    return inert(message.method[:40].decode("utf-8", "backslashreplace"))


def transport_of(data: bytes) -> str:
    """As the top Via has it; empty where it cannot be read."""
    found = _VIA.search(data)
    return "" if found is None else found[1].decode("ascii").lower()


def has_session(data: bytes) -> bool:
    """Whether it carries a session description."""
    return b"\r\n\r\nv=0" in data


def _masked_lines(lines: list[str]) -> list[str]:
    out: list[str] = []
    is_secret = False
    for line in lines:
        if line[:1] in (" ", "\t"):
            # A folded line belongs to the header above it; of a secret one nothing is left to show.
            out.append(f" {MASK}" if is_secret else _URI_PASSWORD.sub(rf"\1:{MASK}@", line))
            continue
        name, colon, value = line.partition(":")
        is_secret = bool(colon) and name.strip().lower() in _CREDENTIALS
        out.append(f"{name}: {_credentials(value.strip())}" if is_secret else _URI_PASSWORD.sub(rf"\1:{MASK}@", line))
    return out


def _credentials(value: str) -> str:
    """A digest answer without what proves the password; of other schemes only their name."""
    scheme, _, rest = value.partition(" ")
    if "=" in scheme:  # Authentication-Info has no scheme
        scheme, rest = "", value
    elif scheme.lower() != "digest":
        return f"{scheme[:20]} {MASK}"
    shown = [f"{name}={text if name.lower() in _SHOWN else MASK}" for name, text in _PARAMETER.findall(rest[:8_192])]
    return f"{scheme} {', '.join(shown)}".strip()
