"""One side of a dialog as we see it: who the peer is, where it is reached, and what it has sent so far.

A call has an ingress leg towards the caller and, once an attempt is answered, an egress leg towards
the callee. Requests from one peer leave for the other by the state kept here and never by what
stands in their own Route or Request-URI: nobody can steer a request through us (RFC 3261 §16.12
describes the loose router that trusts them).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from switch.call.hops import Hops
from switch.outputs import Flow
from switch.records import LegState
from switch.wire.errors import ParseError
from switch.wire.headers import CONTACT, RECORD_ROUTE
from switch.wire.message import Message, Request, Response
from switch.wire.name_addr import NameAddr
from switch.wire.scan import split_commas
from switch.wire.uri import Uri, parse_uri

CSEQ_JUMP: Final = 10_000
"""More requests than a dialog sees between two records of it. Our own in a restored dialog count on so
far beyond the last that was written, since those that passed just before the end were not: numbers
have to rise, and may be left out (RFC 3261 §12.2.1.1, §12.2.2)."""
CSEQ_MAX: Final = 2**31 - 1


class Leg:
    """Dialog state towards one peer (RFC 3261 §12)."""

    def __init__(
        self,
        call_id: bytes,
        remote_value: bytes,
        remote_tag: bytes,
        local_value: bytes,
        local_tag: bytes,
        heard_from: Flow,
    ) -> None:
        """
        Args:
            remote_value, local_value: From or To values with their tags, as the peer knows them.
            heard_from: where the peer's INVITE or response came from.
        """
        self.call_id: bytes = call_id
        self.remote_value: bytes = remote_value
        self.remote_tag: bytes = remote_tag
        self.local_value: bytes = local_value
        self.local_tag: bytes = local_tag
        self.heard_from: Flow = heard_from
        self.remote_target: bytes = b""
        self.route_set: list[bytes] = []
        """Route values from us to the peer, nearest first, as name-addrs."""
        self.remote_cseq: int = -1
        """Highest CSeq that the peer has sent; -1: none."""
        self.local_cseq: int = 0
        """Highest CSeq that the peer has been sent, as far as we know."""
        self.local_jump: int = 1
        """How far a request of our own counts on from there; more where we may have forgotten some."""
        self.alive_at: float = 0.0
        """Last moment at which the peer showed that the call is up on its side."""
        self.flow: Flow = heard_from
        self.request_uri: bytes = b""
        self.routes: bytes = b""

    def set_target(self, target: bytes, route_set: list[bytes], hops: Hops) -> None:
        """Take the peer's Contact and the route set of the dialog; nothing is looked up later."""
        self.remote_target = target
        self.route_set = route_set
        if not route_set:
            self.request_uri = target
            self.routes = b""
            self.flow = hops.towards(target, self.heard_from)
        else:
            first = NameAddr.parse(route_set[0]).uri
            if b"lr" in parse_uri(first).params:
                self.request_uri = target
                self.routes = b", ".join(route_set)
            else:
                # A strict router wants to see itself in the Request-URI (RFC 3261 §16.6 step 6).
                self.request_uri = first
                self.routes = b", ".join([*route_set[1:], b"<" + target + b">"])
            self.flow = hops.towards(first, self.heard_from)

    def refresh_target(self, target: bytes, hops: Hops) -> None:
        """A re-INVITE or UPDATE brought a new Contact (RFC 3261 §12.2); the route set stays."""
        if target and target != self.remote_target:
            self.set_target(target, self.route_set, hops)

    def state(self) -> LegState:
        """What a later process needs to go on with the dialog."""
        return LegState(
            self.call_id,
            self.remote_value,
            self.remote_tag,
            self.local_value,
            self.local_tag,
            self.heard_from,
            self.remote_target,
            self.route_set,
            self.remote_cseq,
            self.local_cseq,
        )

    def is_from_peer(self, flow: Flow) -> bool:
        """Whether a packet comes from where this peer has spoken from or wanted to be reached."""
        ip = flow.address[0]
        return ip == self.heard_from.address[0] or ip == self.flow.address[0]


def contact_uri(message: Message) -> bytes:
    """The URI of a message's Contact; empty if it has none that can be used."""
    value = message.first(CONTACT)
    if value is None:
        return b""
    try:
        if 44 in value:
            values = split_commas(value)
            value = values[0] if values else b""
        address = NameAddr.parse(value)
        uri = parse_uri(address.uri)
    except ParseError:
        return b""
    return address.uri if uri.scheme == b"sip" or uri.scheme == b"sips" else b""


def ingress_leg(invite: Request, heard_from: Flow, local_tag: bytes, hops: Hops) -> Leg:
    """The caller's side, from its INVITE. `local_tag` is what a failure of ours carries."""
    leg = Leg(invite.call_id, invite.from_value(), invite.from_tag, invite.to_value(), local_tag, heard_from)
    leg.remote_cseq = invite.cseq
    routes = valid_routes(_record_routes(invite)) if invite.has(RECORD_ROUTE) else []
    leg.set_target(contact_uri(invite) or _source_uri(heard_from), routes, hops)
    return leg


def egress_leg(response: Response, from_value: bytes, from_tag: bytes, cseq: int, heard_from: Flow, hops: Hops) -> Leg:
    """The callee's side, from a response that opens a dialog.

    The route set is what stands above our own Record-Route, nearest last there, so reversed
    (RFC 3261 §12.1.2); what stands below belongs to the caller's side.

    Args:
        from_value: From as the callee knows it, with its tag.
    """
    leg = Leg(response.call_id, response.to_value(), response.to_tag, from_value, from_tag, heard_from)
    leg.local_cseq = cseq
    beyond: list[bytes] = []
    for value in _record_routes(response):
        try:
            uri = _route_uri(value)
        except ParseError:
            continue
        if hops.is_own(uri.host, uri.port):
            break
        beyond.append(value)
    beyond.reverse()
    leg.set_target(contact_uri(response) or _source_uri(heard_from), beyond, hops)
    return leg


def valid_routes(values: Sequence[bytes]) -> list[bytes]:
    """Record-Route values that can serve as Routes; a broken one breaks nothing else."""
    found: list[bytes] = []
    for value in values:
        try:
            _route_uri(value)
            address = NameAddr.parse(value)
        except ParseError:
            continue
        found.append(value if not address.is_bare else b"<" + address.uri + b">")
    return found


def _record_routes(message: Message) -> list[bytes]:
    """All values; none where a quoted string or `<` has no end, since nobody could tell them apart."""
    try:
        return message.all(RECORD_ROUTE)
    except ParseError:
        return []


def _route_uri(value: bytes) -> Uri:
    """Raises ParseError for what cannot be a hop."""
    uri = parse_uri(NameAddr.parse(value).uri)
    if uri.scheme != b"sip" and uri.scheme != b"sips":
        raise ParseError("Route that is no SIP URI")
    return uri


def _source_uri(flow: Flow) -> bytes:
    """The peer by where it speaks from.

    Contact is mandatory where a dialog begins (RFC 3261 §8.1.1.8, §12.1.1). Of peers that leave it out,
    or name what is no SIP URI, calls have to be ended like others: a call that cannot be sent a BYE
    is one that runs on.
    """
    host, port = flow.address
    return b"sip:%b:%d" % ((f"[{host}]" if ":" in host else host).encode("ascii"), port)


def restored_leg(state: LegState, hops: Hops) -> Leg:
    """A leg from before a restart. Connections of then are gone: its peer is reached over a new one."""
    flow = state.heard_from
    heard_from = Flow(flow.listener, flow.address, 0, flow.server_name, flow.tls_verify)
    leg = Leg(state.call_id, state.remote_value, state.remote_tag, state.local_value, state.local_tag, heard_from)
    leg.remote_cseq = state.remote_cseq
    leg.local_cseq = state.local_cseq
    leg.set_target(state.remote_target, state.route_set, hops)
    return leg


def request_in_dialog(leg: Leg, method: bytes, cseq: int, via_line: bytes, extra: Sequence[bytes] = ()) -> bytes:
    """A request of our own to one peer, in the other's name (RFC 3261 §12.2.1.1)."""
    out = [
        method + b" " + leg.request_uri + b" SIP/2.0",
        via_line,
        b"Max-Forwards: 70",
        b"From: " + leg.local_value,
        b"To: " + leg.remote_value,
        b"Call-ID: " + leg.call_id,
        b"CSeq: %d " % cseq + method,
    ]
    if leg.routes:
        out.append(b"Route: " + leg.routes)
    out.extend(extra)
    out.append(b"Content-Length: 0\r\n\r\n")
    return b"\r\n".join(out)
