"""Which headers pass between the two sides of a call, beside those that every message needs.

What tells who is calling, what one network tells the next one for its bills, and headers of one's own
(`X-…`) stop here unless the configuration lets them pass. Which header a line is was read when the
message was parsed, so that odd case, blanks before the colon, folds and repetitions change nothing.
Source: RFC 3323, RFC 3325 §5 and §7, RFC 7315 §6.
"""

from __future__ import annotations

from typing import Final

from switch.wire.errors import ParseError
from switch.wire.headers import P_ASSERTED_IDENTITY, PRIVACY, PROXY_REQUIRE, REMOTE_PARTY_ID, X_HEADER
from switch.wire.name_addr import NameAddr
from switch.wire.scan import unfold
from switch.wire.uri import parse_uri

ANONYMOUS_USER: Final = b"anonymous"
NO_NAMES: Final[frozenset[bytes]] = frozenset()


class Screen:
    """One direction of a call.

    Args:
        passes_identity: P-Asserted-Identity and Remote-Party-ID go on as they came.
        identity: a line of our own for INVITEs that go this way; empty: none.
        is_anonymous: Privacy has been done here, and its header stays.
        allowed: names of `X-…` headers that go on, in lower case.
    """

    def __init__(
        self,
        passes_identity: bool = False,
        identity: bytes = b"",
        is_anonymous: bool = False,
        allowed: frozenset[bytes] = NO_NAMES,
    ) -> None:
        self.passes_identity: bool = passes_identity
        self.identity: bytes = identity
        self.is_anonymous: bool = is_anonymous
        self.contact_user: bytes = ANONYMOUS_USER if is_anonymous else b""
        """Stands in Contact for the user that would still tell the caller's number; empty: nothing does."""
        self.allowed: frozenset[bytes] = allowed

    def passes(self, header: int, line: bytes) -> bool:
        """Whether a line of one of the screened headers goes on."""
        if header == X_HEADER:
            return len(self.allowed) > 0 and line.partition(b":")[0].rstrip(b" \t").lower() in self.allowed
        if header == P_ASSERTED_IDENTITY or header == REMOTE_PARTY_ID:
            return self.passes_identity
        if header == PRIVACY:
            return not self.is_anonymous
        return header == PROXY_REQUIRE


PLAIN: Final = Screen()
"""Of calls between a customer and a vendor for whom nothing is set."""


def with_user(contact_line: bytes, user: bytes) -> bytes:
    """A Contact line with another user and no display name; as it came where it cannot be read or has no user."""
    value = unfold(contact_line.partition(b":")[2])
    try:
        address = NameAddr.parse(value)
        uri = parse_uri(address.uri)
    except ParseError:
        return contact_line
    at = address.uri.find(b"@")
    if at < 0 or uri.scheme not in (b"sip", b"sips"):
        return contact_line
    stripped = value.strip(b" \t")
    rest = stripped[address.uri_start + len(address.uri) :]
    if address.is_bare:
        rest = b">" + rest
    return b"Contact: <" + uri.scheme + b":" + user + address.uri[at:] + rest
