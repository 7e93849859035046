"""Where inbound calls can ring that are no gateways: customers' endpoints, and URIs of DIDs.

Each is written as a gateway of nobody's with an id below zero, so that a name is resolved ahead of
calls and a flow found for it exactly as for vendors' gateways.
"""

from __future__ import annotations

from typing import Final

from switch.snapshot import Did, DidDestination, Endpoint, Gateway
from switch.wire.errors import ParseError
from switch.wire.uri import parse_uri

DESTINATIONS_MAX: Final = 64
"""Destinations of one DID that are looked at."""
NOBODY: Final = 0
"""Stands for the provider of such a gateway."""


def endpoint_place(endpoint: Endpoint) -> Gateway | None:
    """None for an endpoint that receives no calls."""
    if endpoint.direction != "ingress" or not endpoint.host or "/" in endpoint.host:
        return None
    return Gateway(
        id=-(endpoint.id << 1),
        provider_id=NOBODY,
        host=endpoint.host,
        port=endpoint.port,
        transport=endpoint.transport or "udp",
        enabled=endpoint.enabled,
    )


def uri_place(did_id: int, index: int, value: str) -> Gateway | None:
    """None for what is no SIP URI with a host."""
    try:
        uri = parse_uri(value.encode("ascii", "replace"))
    except ParseError:
        return None
    if uri.scheme not in (b"sip", b"sips") or not uri.host:
        return None
    named = uri.params.get(b"transport", b"").decode("latin-1").lower()
    place_id = -((did_id * DESTINATIONS_MAX + index) << 1 | 1)
    host = uri.host.decode("ascii", "replace")
    if uri.scheme == b"sips" or named == "tls":
        return Gateway(id=place_id, provider_id=NOBODY, host=host, port=uri.port or None, transport="tls")
    if named == "tcp":
        return Gateway(id=place_id, provider_id=NOBODY, host=host, port=uri.port or None, transport="tcp")
    return Gateway(id=place_id, provider_id=NOBODY, host=host, port=uri.port or None)


def did_places(did: Did) -> list[Gateway | None]:
    """One for each destination; None for those that are no URI."""
    places: list[Gateway | None] = []
    destinations: tuple[DidDestination, ...] = did.destinations
    for index, destination in enumerate(destinations[:DESTINATIONS_MAX]):
        places.append(uri_place(did.id, index, destination.value) if destination.kind == "uri" else None)
    return places
