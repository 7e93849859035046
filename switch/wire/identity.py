"""Who a message says is calling, beside From (RFC 3325), and who shall not know it (RFC 3323)."""

from __future__ import annotations

from typing import Final

from switch.wire.errors import ParseError
from switch.wire.headers import P_ASSERTED_IDENTITY, PRIVACY
from switch.wire.message import Message
from switch.wire.name_addr import NameAddr
from switch.wire.uri import parse_uri


def asserted_number(message: Message) -> str:
    """User part of the first SIP or tel URI in P-Asserted-Identity; empty where there is none that can be read."""
    if not message.has(P_ASSERTED_IDENTITY):
        return ""
    try:
        for value in message.all(P_ASSERTED_IDENTITY):
            uri = parse_uri(NameAddr.parse(value).uri)
            if uri.user and uri.scheme in (b"sip", b"sips", b"tel"):
                return uri.user_text()
    except ParseError:
        pass
    return ""


def wants_privacy(message: Message) -> bool:
    """Whether the caller asks not to be shown to whoever need not know (RFC 3323 §4.2, RFC 3325 §9.3)."""
    for value in message.each(PRIVACY):
        for token in value.replace(b",", b";").split(b";"):
            if token.strip(b" \t").lower() in _HIDING:
                return True
    return False


_HIDING: Final = (b"id", b"user", b"header")
"""`none` and `critical` alone ask for nothing, `session` for what a relay of media could do."""
