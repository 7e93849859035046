"""SIP, SIPS and tel URIs (RFC 3261 §19.1, §25.1; RFC 3966), and host:port pairs."""

from __future__ import annotations

from ipaddress import AddressValueError, IPv6Address
from typing import Final

from switch.wire.errors import ParseError
from switch.wire.scan import LETTERS_DIGITS, refusing

HOST: Final = refusing(LETTERS_DIGITS + b"-._")
"""Host names with the underscore that some peers have in theirs."""

_SCHEME: Final = refusing(LETTERS_DIGITS + b"+-.")

# Printable ASCII without what ends a URI in a header: blank, quotes and angle brackets.
URI_BYTES: Final = bytes([byte for byte in range(33, 127) if byte not in b'"<>'])
URI: Final = refusing(URI_BYTES)

_HEX: Final = refusing(b"0123456789abcdefABCDEF")

KNOWN_MAX: Final = 8_192
KNOWN_BYTES_MAX: Final = 128
"""URIs that have been taken apart are remembered, up to this many of this length: within a call the
same Contact comes as Contact, as Request-URI of ACK and BYE and as next hop, and between two trunks
in every call."""


class Uri:
    """One URI, taken apart.

    `scheme`, `host` and parameter names are in lower case; `user` is as it stood (no password),
    `host` keeps the brackets of an IPv6 address, `port` is 0 where none is given, `headers` is
    what follows `?`. A tel URI has its number in `user` and no host. Of other schemes `user`
    holds all that follows the colon.
    """

    __slots__ = ("headers", "host", "params", "password", "port", "raw", "scheme", "user")

    def __init__(self, raw: bytes, scheme: bytes) -> None:
        self.raw: bytes = raw
        self.scheme: bytes = scheme
        self.user: bytes = b""
        self.password: bytes = b""
        self.host: bytes = b""
        self.port: int = 0
        self.params: dict[bytes, bytes] = {}
        self.headers: bytes = b""

    def param(self, name: bytes) -> bytes | None:
        """The value of a parameter, b"" if it has none, None if it is not there."""
        return self.params.get(name)

    def user_text(self) -> str:
        """The user part with its escapes undone.

        Raises:
            ParseError: a broken escape, bytes that are no UTF-8, or control characters: such a
                user may be forwarded as it stands, but nobody may route or log by it.
        """
        return percent_decoded(self.user)


_known: Final[dict[bytes, Uri]] = {}


def percent_decoded(text: bytes) -> str:
    """Undo %XX escapes, strictly.

    Raises:
        ParseError: a broken escape, no UTF-8, or a control character.
    """
    if 37 in text:
        pieces = text.split(b"%")
        for index in range(1, len(pieces)):
            piece = pieces[index]
            digits = piece[:2]
            if len(digits) < 2 or 0 in digits.translate(_HEX):
                raise ParseError("bad escape in URI")
            pieces[index] = bytes([int(digits, 16)]) + piece[2:]
        text = b"".join(pieces)
    try:
        decoded = text.decode("utf-8")
    except UnicodeDecodeError:
        raise ParseError("URI is not UTF-8") from None
    if not decoded.isprintable():
        raise ParseError("control character in URI")
    return decoded


def split_host_port(text: bytes) -> tuple[bytes, int]:
    """`host`, `host:5060` or `[2001:db8::1]:5060`: host (with its brackets) and port, 0 for none.

    Raises:
        ParseError: no host, a byte that no host has, a bad IPv6 address or port.
    """
    if text[:1] == b"[":
        host, bracket, rest = text.partition(b"]")
        if not bracket:
            raise ParseError("[ without ]")
        # The grammar of RFC 3261 made some peers write three colons (RFC 5118 §4.10).
        host = host.replace(b":::", b"::", 1) + bracket
        _check_ipv6(host[1:-1])
        if rest and rest[:1] != b":":
            raise ParseError("bad host")
        port = rest[1:]
        colon = rest[:1]
    else:
        host, colon, port = text.partition(b":")
        host = host.rstrip(b" \t")
        if not host or 0 in host.translate(HOST):
            raise ParseError("bad host")
    if not colon:
        return host, 0
    port = port.strip(b" \t")
    if not port.isdigit() or len(port) > 5:
        raise ParseError("bad port")
    number = int(port)
    if number > 65_535:
        raise ParseError("bad port")
    return host, number


def _check_ipv6(text: bytes) -> None:
    try:
        IPv6Address(text.decode("ascii"))
    except (AddressValueError, UnicodeDecodeError):
        raise ParseError("bad IPv6 address") from None
    if 37 in text:
        raise ParseError("IPv6 zone in a message")


def check_uri(uri: bytes) -> None:
    """That `uri` is an absolute URI in form: a scheme, and no byte that would end it in a header.

    SIP URIs with an IPv6 host are taken apart whole, so that an open bracket is found.

    Raises:
        ParseError: it is not.
    """
    scheme, colon, rest = uri.partition(b":")
    if not colon or not rest or not scheme or 0 in scheme.translate(_SCHEME) or not scheme[:1].isalpha():
        raise ParseError("bad URI")
    if 0 in uri.translate(URI):
        raise ParseError("bad byte in URI")
    if 91 in rest and scheme.lower() in (b"sip", b"sips"):
        parse_uri(uri)


def parse_uri(raw: bytes) -> Uri:
    """Take a URI apart. The result may be shared by all who ask for the same bytes: it is only read.

    Raises:
        ParseError: RFC 3261 §25.1 (RFC 3966 §3 for tel) forbids it; schemes other than sip, sips
            and tel are only checked for their bytes.
    """
    known = _known.get(raw)
    if known is not None:
        return known
    uri = _parse(raw)
    if len(raw) <= KNOWN_BYTES_MAX:
        if len(_known) >= KNOWN_MAX:
            _known.clear()
        _known[raw] = uri
    return uri


def _parse(raw: bytes) -> Uri:
    if 0 in raw.translate(URI):
        raise ParseError("bad byte in URI")
    if raw[:4] == b"sip:":
        uri = Uri(raw, b"sip")
        _parse_sip(uri, raw[4:])
        return uri
    scheme, colon, rest = raw.partition(b":")
    if not colon or not scheme or 0 in scheme.translate(_SCHEME) or not scheme[:1].isalpha():
        raise ParseError("URI without scheme")
    scheme = scheme.lower()
    uri = Uri(raw, scheme)
    if scheme in (b"sip", b"sips"):
        _parse_sip(uri, rest)
    elif scheme == b"tel":
        number, semicolon, params = rest.partition(b";")
        if not number:
            raise ParseError("tel URI without number")
        uri.user = number
        if semicolon:
            uri.params = _uri_params(params)
    else:
        if not rest:
            raise ParseError("bad URI")
        uri.user = rest
    return uri


def _parse_sip(uri: Uri, rest: bytes) -> None:
    # User parts may hold `;`, `?` and `/`, nothing after them may hold an `@`: so the `@` comes first,
    # and a second one is an attempt to have two readers see two hosts.
    user, at, after = rest.partition(b"@")
    if at:
        if 64 in after:
            raise ParseError("two @ in URI")
        user, _, uri.password = user.partition(b":")
        if not user:
            raise ParseError("URI with an empty user")
        uri.user = user
    else:
        after = rest
    if 63 in after:
        after, _, uri.headers = after.partition(b"?")
    if 59 in after:
        after, _, params = after.partition(b";")
        uri.params = _uri_params(params)
    host, uri.port = split_host_port(after)
    uri.host = host.lower()


def _uri_params(text: bytes) -> dict[bytes, bytes]:
    params: dict[bytes, bytes] = {}
    for piece in text.split(b";"):
        if not piece:
            continue
        name, _, value = piece.partition(b"=")
        name = name.lower()
        if not name:
            raise ParseError("URI parameter without name")
        before = params.get(name)
        if before is not None and before != value:
            raise ParseError("URI parameter comes twice")
        params[name] = value
    return params
