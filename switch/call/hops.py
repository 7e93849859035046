"""Our own addresses, and the next hop towards a peer that is known by a URI.

A URI in a Contact or Record-Route is a peer's word about where it wants to be reached. It is
followed only as far as it names an address literal that makes sense from where the peer itself
speaks; anything else (a name, a private address behind a NAT, ourselves) becomes the address that
the peer's packets come from. So no look-up is made during a call, and no endpoint can steer a
request inside, or back into us.
"""

from __future__ import annotations

from ipaddress import IPv6Address, ip_address
from typing import Final

from switch.outputs import Address, Flow
from switch.wire.errors import ParseError
from switch.wire.uri import Uri, parse_uri

DEFAULT_PORT: Final = 5060
DEFAULT_TLS_PORT: Final = 5061
SEEN_HOSTS_MAX: Final = 65_536
"""Hosts whose kind is remembered; then the memory begins anew."""

# Kinds of host, as far as reachability goes.
_NAME: Final = 0
_PUBLIC: Final = 1
_PRIVATE: Final = 2
_LOOPBACK: Final = 3
_NEVER: Final = 4  # unspecified, multicast, broadcast


class Local:
    """One listener of ours, with the header lines that name it."""

    def __init__(
        self, index: int, transport: str, host: str, port: int, advertised_host: str = "", advertised_port: int = 0
    ) -> None:
        """
        Args:
            transport: `udp`, `tcp` or `tls`.
            host: address literal, IPv6 without brackets.
        """
        self.index: int = index
        self.transport: str = transport
        self.host: str = host
        self.port: int = port
        self.is_reliable: bool = transport != "udp"
        self.is_ipv6: bool = ":" in host
        shown = advertised_host or host
        shown_port = advertised_port or port
        self.shown_host: bytes = (f"[{shown}]" if ":" in shown else shown).encode("ascii")
        self.shown_port: int = shown_port
        sent_by = b"%b:%d" % (self.shown_host, shown_port)
        self.via_start: bytes = b"Via: SIP/2.0/%b %b;rport;branch=" % (transport.upper().encode("ascii"), sent_by)
        suffix = b"" if transport == "udp" else b";transport=" + transport.encode("ascii")
        self.uri: bytes = b"sip:%b%b;lr" % (sent_by, suffix)
        self.contact: bytes = b"<sip:%b%b>" % (sent_by, suffix)


class Hops:
    """All listeners, and how a peer is reached from them."""

    def __init__(self, locals_: list[Local], domains: tuple[str, ...] = ()) -> None:
        """
        Args:
            domains: further host names that mean us in a Request-URI.
        """
        self.locals: list[Local] = locals_
        self._own: dict[bytes, list[int]] = {}
        """Ports of ours by host."""
        self._own_hosts: set[bytes] = set()
        self._own_names: set[bytes] = {name.lower().encode("utf-8") for name in domains}
        self._own_ips: set[str] = set()
        self._first_host: bytes = locals_[0].shown_host.lower() if locals_ else b""
        self._first_port: int = locals_[0].shown_port if locals_ else -1
        """Most that is said of us names the first listener: compared sooner than looked up."""
        self._record_routes: dict[int, list[bytes]] = {}
        self._kinds: dict[bytes, int] = {}
        for local in locals_:
            bare = (f"[{local.host}]" if local.is_ipv6 else local.host).encode("ascii")
            self._own.setdefault(bare, []).append(local.port)
            self._own.setdefault(local.shown_host.lower(), []).append(local.shown_port)
            self._own_hosts.add(bare)
            self._own_hosts.add(local.shown_host.lower())
            self._own_ips.add(local.host)

    def is_own_ip(self, ip: str) -> bool:
        return ip in self._own_ips

    def is_own(self, host: bytes, port: int) -> bool:
        """Whether `host:port` of a URI is one of our listeners; port 0 takes any of them."""
        if port == self._first_port and host == self._first_host:
            return True
        ports = self._own.get(host)
        if ports is not None and (port == 0 or port in ports):
            return True
        return host in self._own_names

    def record_route_lines(self, ingress: int, egress: int) -> list[bytes]:
        """Our Record-Route lines for a dialog between two listeners, topmost first.

        One URI where both sides reach us alike, else one for each side (RFC 5658 §4).
        """
        key = ingress * len(self.locals) + egress
        lines = self._record_routes.get(key)
        if lines is None:
            outward, inward = self.locals[egress].uri, self.locals[ingress].uri
            lines = [b"Record-Route: <%b>" % outward]
            if outward != inward:
                lines.append(b"Record-Route: <%b>" % inward)
            self._record_routes[key] = lines
        return lines

    def listener_for(self, transport: str, ip: str) -> int:
        """The first listener of a transport in the address family of `ip`; -1 if there is none."""
        is_ipv6 = ":" in ip
        for local in self.locals:
            if local.transport == transport and local.is_ipv6 == is_ipv6:
                return local.index
        return -1

    def towards(self, raw_uri: bytes, heard_from: Flow) -> Flow:
        """Where requests for a peer go, that named `raw_uri` and speaks from `heard_from`."""
        try:
            uri = parse_uri(raw_uri)
        except ParseError:
            return heard_from
        listener = heard_from.listener
        source = heard_from.address
        local = self.locals[listener]
        ip = self._trusted_ip(uri, source)
        if not ip:
            return heard_from
        wanted = uri.params.get(b"transport", b"").decode("ascii", "replace").lower()
        if local.is_reliable:
            # A stream peer is reached over the connection that it has; the address is for the
            # day that it is gone.
            port = uri.port or (DEFAULT_TLS_PORT if local.transport == "tls" else DEFAULT_PORT)
            return Flow(listener, (ip, port), heard_from.connection, heard_from.server_name, heard_from.tls_verify)
        if wanted and wanted != "udp":
            other = self.listener_for(wanted, ip)
            if other >= 0:
                return Flow(other, (ip, uri.port or (DEFAULT_TLS_PORT if wanted == "tls" else DEFAULT_PORT)))
        address = (ip, uri.port or DEFAULT_PORT)
        if address == source:
            return heard_from
        return Flow(listener, address)

    def _trusted_ip(self, uri: Uri, source: Address) -> str:
        """The URI's address if it may be used towards a peer at `source`, else an empty string."""
        host = uri.host
        source_ip = source[0]
        bare = host[1:-1] if host[:1] == b"[" else host
        text = bare.decode("ascii", "replace")
        is_own = self.is_own(host, uri.port or DEFAULT_PORT)
        if is_own:
            return ""
        if text == source_ip:
            return text
        if host in self._own_hosts:
            return ""  # whatever listens there on another port is no peer's to reach
        kind = self._kind(bare, text)
        if kind == _NAME or kind == _NEVER or (":" in text) != (":" in source_ip):
            return ""
        source_kind = self._kind(source_ip.encode("ascii"), source_ip)
        if kind == _LOOPBACK and source_kind != _LOOPBACK:
            return ""
        if kind == _PRIVATE and source_kind == _PUBLIC:
            return ""
        return text

    def _kind(self, host: bytes, text: str) -> int:
        kind = self._kinds.get(host, -1)
        if kind < 0:
            kind = _kind_of(text)
            if len(self._kinds) >= SEEN_HOSTS_MAX:
                self._kinds.clear()
            self._kinds[host] = kind
        return kind


def _kind_of(text: str) -> int:
    try:
        address = ip_address(text)
    except ValueError:
        return _NAME
    if address.is_unspecified or address.is_multicast or text == "255.255.255.255":
        return _NEVER
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return _NEVER  # an IPv4 address in disguise: no SIP peer names itself so
    if address.is_loopback:
        return _LOOPBACK
    return _PRIVATE if address.is_private or address.is_link_local else _PUBLIC
