"""From what policy says about a caller to the headers that a vendor gets."""

from __future__ import annotations

from typing import Final
from urllib.parse import quote

from switch.call.forwarding import Swap
from switch.call.screen import ANONYMOUS_USER, NO_NAMES, PLAIN, Screen
from switch.policy.presentation import Presentation, identity_uri
from switch.snapshot import Customer, Provider
from switch.wire.name_addr import NameAddr, replace_uri
from switch.wire.uri import parse_uri

USER_UNRESERVED: Final = "-_.!~*'()&=+$,;?/"
"""What a user part may hold unescaped beside letters and digits (RFC 3261 §25.1)."""
ANONYMOUS: Final = b'"Anonymous" <sip:anonymous@anonymous.invalid>'
"""RFC 3323 §4.1.1.3."""


def screens(
    customer: Customer, provider: Provider, shown: Presentation, host: bytes, changed: str = ""
) -> tuple[Screen, Screen]:
    """Towards the vendor, and back to the customer.

    Args:
        host: ours, for identities that we assert in a SIP URI.
        changed: the number that is shown in place of the one that came; empty: that one is.
    """
    allowed = _allowed(customer, provider)
    out = Screen(shown.passes_identity, identity_line(shown.asserted, provider.pai_format, host))
    if shown.is_anonymous:
        out.is_anonymous = True
        out.contact_user = ANONYMOUS_USER
    elif changed:
        out.contact_user = quote(changed, safe=USER_UNRESERVED).encode("ascii")
    out.allowed = allowed
    # Who answered is told to a customer that is trusted with identities, and to no other.
    return out, Screen(customer.trust_pai, b"", False, allowed)


def inbound_screens(customer: Customer, provider: Provider, is_anonymous: bool) -> tuple[Screen, Screen]:
    """Of a call from a provider to a customer: towards the customer, and back.

    Args:
        is_anonymous: the caller asks for privacy, of a customer that is not trusted with identities.
    """
    is_trusted = customer.trust_pai
    if not is_anonymous and not is_trusted and not customer.allowed_headers and not provider.allowed_headers:
        return PLAIN, PLAIN
    allowed = _allowed(customer, provider)
    out = Screen(is_trusted, b"", is_anonymous, allowed)
    return out, Screen(is_trusted and provider.send_pai != "never", b"", False, allowed)


def _allowed(customer: Customer, provider: Provider) -> frozenset[bytes]:
    if not customer.allowed_headers and not provider.allowed_headers:
        return NO_NAMES
    names = (*customer.allowed_headers, *provider.allowed_headers)
    return frozenset([name.lower().encode("ascii", "replace") for name in names])


def identity_line(number: str, form: str, host: bytes) -> bytes:
    """P-Asserted-Identity of a number; empty for none."""
    if not number:
        return b""
    uri = identity_uri(number, form)
    if uri:
        return b"P-Asserted-Identity: <" + uri.encode("ascii") + b">"
    user = quote(number, safe=USER_UNRESERVED).encode("ascii")
    return b"P-Asserted-Identity: <sip:" + user + b"@" + host + b">"


def swapped(from_value: bytes, cli: str) -> Swap:
    """From with another user part; the caller's tag stays, so the dialog stays one."""
    address = NameAddr.parse(from_value)
    uri = parse_uri(address.uri)
    user = quote(cli, safe=USER_UNRESERVED).encode("ascii")
    if uri.scheme == b"tel":
        changed = b"tel:" + user
    else:
        port = b":%d" % uri.port if uri.port else b""
        changed = uri.scheme + b":" + user + b"@" + uri.host + port
    bare = replace_uri(from_value, changed)
    if address.display:
        # A display name would still tell the number that was taken away.
        bare = bare[address.uri_start - 1 :]
    return Swap(from_value, bare)


def anonymised(from_value: bytes) -> Swap:
    """From that names nobody; of its parameters only the tag stays."""
    tag = NameAddr.parse(from_value).tag
    return Swap(from_value, ANONYMOUS + b";tag=" + tag if tag else ANONYMOUS)
