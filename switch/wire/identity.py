"""Who a message says is calling, beside From (RFC 3325), and who shall not know it (RFC 3323)."""

from __future__ import annotations

from switch.wire.errors import ParseError
from switch.wire.headers import P_ASSERTED_IDENTITY
from switch.wire.message import Message
from switch.wire.name_addr import NameAddr
from switch.wire.uri import parse_uri


def asserted_number(message: Message) -> str:
    """User part of the first SIP or tel URI in P-Asserted-Identity; empty where there is none that can be read."""
    if P_ASSERTED_IDENTITY not in message.ids:
        return ""
    try:
        for value in message.all(P_ASSERTED_IDENTITY):
            uri = parse_uri(NameAddr.parse(value).uri)
            if uri.user and uri.scheme in (b"sip", b"sips", b"tel"):
                return uri.user_text()
    except ParseError:
        pass
    return ""
