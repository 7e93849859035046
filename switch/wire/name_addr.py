"""`"Name" <uri>;params` and `uri;params`: From, To, Contact, Route and their like (RFC 3261 §20.10, §25.1)."""

from __future__ import annotations

from typing import Final

from switch.wire.errors import ParseError
from switch.wire.scan import end_of_quoted, parse_params, refusing
from switch.wire.uri import KNOWN_BYTES_MAX, KNOWN_MAX, URI, check_uri

# Unquoted display names are tokens by the grammar; peers also send dots, parentheses and raw UTF-8.
# What would move the end of the name or of the value stays refused.
_DISPLAY: Final = refusing(bytes([byte for byte in range(1, 256) if byte not in b'",;<>:\\']))

# An addr-spec without brackets ends at `;`; a comma or question mark would be ambiguous (§20.10).
_BARE: Final = refusing(bytes([byte for byte in range(33, 127) if byte not in b"?,"]))


class NameAddr:
    """One value, taken apart. `display` as it stood (quotes included), parameter names in lower case."""

    __slots__ = ("display", "is_bare", "params", "tag", "uri", "uri_start")

    def __init__(self) -> None:
        self.display: bytes = b""
        self.uri: bytes = b""
        self.uri_start: int = 0
        self.is_bare: bool = False
        self.params: dict[bytes, bytes] = {}
        self.tag: bytes = b""

    @staticmethod
    def parse(value: bytes) -> NameAddr:
        """Read one value, unfolded. The result may be shared by all who ask for the same bytes.

        Raises:
            ParseError: RFC 3261 §25.1 forbids it.
        """
        known = _known.get(value)
        if known is not None:
            return known
        address = _parse(value)
        if len(value) <= KNOWN_BYTES_MAX:
            if len(_known) >= KNOWN_MAX:
                _known.clear()
            _known[value] = address
        return address


_known: Final[dict[bytes, NameAddr]] = {}


def _parse(value: bytes) -> NameAddr:
    value = value.strip(b" \t")
    address = NameAddr()
    if value[:1] == b'"':
        end = end_of_quoted(value, 0)
        address.display = value[:end]
        start = value.find(b"<", end)
        if start < 0 or value[end:start].strip(b" \t"):
            raise ParseError("display name without <")
        rest = _read_bracketed(address, value, start)
    else:
        start = value.find(b"<")
        if start >= 0:
            address.display = value[:start].rstrip(b" \t")
            _check_display(address.display)
            rest = _read_bracketed(address, value, start)
        else:
            rest = _read_bare(address, value)
    if rest:
        if rest[:1] != b";":
            raise ParseError("text after the URI")
        address.params = parse_params(rest[1:])
        address.tag = address.params.get(b"tag", b"")
    return address


def _check_display(display: bytes) -> None:
    if 0 in display.translate(_DISPLAY) or display.count(b"(") != display.count(b")"):
        raise ParseError("bad display name")


def _read_bracketed(address: NameAddr, value: bytes, start: int) -> bytes:
    end = value.find(b">", start)
    if end < 0:
        raise ParseError("< without >")
    address.uri = value[start + 1 : end]
    address.uri_start = start + 1
    check_uri(address.uri)
    return value[end + 1 :].lstrip(b" \t")


def _read_bare(address: NameAddr, value: bytes) -> bytes:
    end = value.find(b";")
    if end < 0:
        end = len(value)
    uri = value[:end].rstrip(b" \t")
    if 0 in uri.translate(_BARE):
        raise ParseError("URI needs < and >")
    address.uri = uri
    address.is_bare = True
    check_uri(uri)
    return value[end:]


def replace_uri(value: bytes, new_uri: bytes) -> bytes:
    """`value` with another URI; display name and parameters stay byte for byte.

    Raises:
        ParseError: `value` breaks the grammar.
    """
    address = NameAddr.parse(value)
    assert 0 not in new_uri.translate(URI), "a URI of ours must not end its header"
    stripped = value.strip(b" \t")
    start = address.uri_start
    if address.is_bare:
        return b"<" + new_uri + b">" + stripped[len(address.uri) :]
    return stripped[:start] + new_uri + stripped[start + len(address.uri) :]
