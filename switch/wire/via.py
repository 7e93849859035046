"""One Via value (RFC 3261 §20.42, §18.2.1; RFC 3581)."""

from __future__ import annotations

from ipaddress import AddressValueError, IPv6Address
from typing import Final

from mypy_extensions import mypyc_attr

from switch.wire.errors import ParseError
from switch.wire.scan import PARAM_VALUE, check_param_value, is_token, split_outside
from switch.wire.uri import HOST, split_host_port

# What nearly all peers write before the blank; other spellings go the long way.
_PROTOCOLS: Final[dict[bytes, bytes]] = {
    b"SIP/2.0/UDP": b"UDP",
    b"SIP/2.0/TCP": b"TCP",
    b"SIP/2.0/TLS": b"TLS",
    b"SIP/2.0/SCTP": b"SCTP",
    b"SIP/2.0/WS": b"WS",
    b"SIP/2.0/WSS": b"WSS",
}


@mypyc_attr(acyclic=True)
class Via:
    """Who sent a message, and where responses go.

    `transport` is in upper case; `host` as it stood, an IPv6 address with its brackets; `port`
    0 where none is given; `received` without brackets, b"" where it is not there; `rport` 0
    where it has no value; `raw` the whole value, unfolded.
    """

    __slots__ = ("branch", "has_rport", "host", "maddr", "port", "raw", "received", "rport", "transport")

    def __init__(self, raw: bytes) -> None:
        self.raw: bytes = raw
        self.transport: bytes = b""
        self.host: bytes = b""
        self.port: int = 0
        self.branch: bytes = b""
        self.has_rport: bool = False
        self.received: bytes = b""
        self.rport: int = 0
        self.maddr: bytes = b""

    @staticmethod
    def parse(value: bytes) -> Via:
        """Read one value, unfolded and without a comma outside quotes.

        Raises:
            ParseError: RFC 3261 §25.1 forbids it.
        """
        via = Via(value)
        head, _, branch = value.partition(b";branch=")
        like = _heads.get(head)
        is_rport_last = branch[-6:] == b";rport"
        if is_rport_last:
            branch = branch[:-6]
        if (
            like is not None
            and branch
            and not (is_rport_last and like.has_rport)
            and 0 not in branch.translate(PARAM_VALUE)
        ):
            # As before from the same peer, but for the branch.
            via.transport = like.transport
            via.host = like.host
            via.port = like.port
            via.has_rport = like.has_rport or is_rport_last
            via.branch = branch
        elif not _parse_plain(via, value):
            _parse_general(via, value)
        elif like is None and head != value and len(head) <= HEAD_BYTES_MAX:
            _remember(head)
        return via

    def with_source(self, ip: str, port: int) -> bytes:
        """The value as the receiver of the request passes it on and answers it.

        `received` is added where the sent-by host is not `ip`, or where `rport` asks for both
        (RFC 3581 §4); `received` and values of `rport` that the peer wrote itself go away, since
        only the packet says where it came from.
        """
        address = ip.encode("ascii")
        if not self.host:  # what could not be read is not edited
            return self.raw
        if self.has_rport or self.received:
            pieces = self.raw.split(b";") if 34 not in self.raw else split_outside(self.raw, 59, False)
            kept = [pieces[0]]
            for piece in pieces[1:]:
                name = piece.partition(b"=")[0].strip(b" \t").lower()
                if name != b"rport" and name != b"received":
                    kept.append(piece)
            value = b";".join(kept)
        else:
            value = self.raw
        if self.has_rport:
            return b"%b;received=%b;rport=%d" % (value, address, port)
        if self.host != address and not _same_address(self.host, ip):
            return b"%b;received=%b" % (value, address)
        return value


HEADS_MAX: Final = 4_096
HEAD_BYTES_MAX: Final = 128
"""What stands before a branch is the same in all requests of a peer: so many are remembered, of so many bytes."""
_heads: Final[dict[bytes, Via]] = {}


def _remember(head: bytes) -> None:
    like = Via(head)
    if _parse_plain(like, head):
        if len(_heads) >= HEADS_MAX:
            _heads.clear()
        _heads[head] = like


def unreadable_via(raw: bytes) -> Via:
    """A stand-in for a value that breaks the grammar, so that its 400 can be sent to the packet's source."""
    via = Via(raw)
    via.has_rport = True
    return via


def _same_address(host: bytes, ip: str) -> bool:
    if host[:1] != b"[":
        return False
    try:
        return IPv6Address(host[1:-1].decode("ascii")) == IPv6Address(ip)
    except (AddressValueError, UnicodeDecodeError):
        return False


def _parse_plain(via: Via, value: bytes) -> bool:
    """Read the form nearly all peers send; False leaves the value to the general reader."""
    protocol, _, rest = value.partition(b" ")
    transport = _PROTOCOLS.get(protocol)
    if transport is None or 34 in rest:
        return False
    pieces = rest.split(b";")
    host, colon, port = pieces[0].partition(b":")
    if not host or 0 in host.translate(HOST):
        return False
    port_number = 0
    if colon:
        if (not port.isdigit() or len(port) > 4) and (len(port) != 5 or not port.isdigit() or port > b"65535"):
            return False
        port_number = int(port)
    branch = b""
    has_rport = False
    for index in range(1, len(pieces)):
        piece = pieces[index]
        if piece[:7] == b"branch=":
            if branch:
                return False
            branch = piece[7:]
            if not branch or 0 in branch.translate(PARAM_VALUE):
                return False
        elif piece == b"rport" and not has_rport:
            has_rport = True
        else:
            return False
    via.transport = transport
    via.host = host
    via.port = port_number
    via.branch = branch
    via.has_rport = has_rport
    return True


def _parse_general(via: Via, value: bytes) -> None:
    pieces = split_outside(value, 59, False)
    name, slash, rest = pieces[0].partition(b"/")
    version, slash_2, rest = rest.partition(b"/")
    if not slash or not slash_2 or name.strip(b" \t").upper() != b"SIP" or version.strip(b" \t") != b"2.0":
        raise ParseError("bad protocol in Via")
    words = rest.replace(b"\t", b" ").strip(b" ").split(b" ", 1)
    if len(words) != 2 or not is_token(words[0]):
        raise ParseError("bad sent-by in Via")
    via.transport = words[0].upper()
    sent_by = words[1].strip(b" ")
    if sent_by[:1] == b"[":
        # LWS round the colon is legal in a Via (COLON in RFC 3261 §25.1), unlike in URIs.
        host, bracket, port = sent_by.partition(b"]")
        via.host, via.port = split_host_port(host + bracket + port.strip(b" "))
    else:
        via.host, via.port = split_host_port(sent_by)
    seen: set[bytes] = set()
    for index in range(1, len(pieces)):
        _read_param(via, pieces[index], seen)


def _read_param(via: Via, piece: bytes, seen: set[bytes]) -> None:
    name, equals, value = piece.partition(b"=")
    name = name.rstrip(b" \t").lower()
    value = value.lstrip(b" \t")
    if not is_token(name):
        raise ParseError("bad parameter in Via")
    if name in seen:
        raise ParseError("parameter comes twice in Via")
    seen.add(name)
    if equals:
        check_param_value(value)
    if name == b"branch":
        # A token by the grammar; base64 is seen in the wild, and a branch is only ever compared.
        if not value or value[0] == 34:
            raise ParseError("bad branch in Via")
        via.branch = value
    elif name == b"rport":
        via.has_rport = True
        if value:
            if not value.isdigit() or len(value) > 5 or int(value) > 65_535:
                raise ParseError("bad rport in Via")
            via.rport = int(value)
    elif name == b"received":
        if not value:
            raise ParseError("empty received in Via")
        # RFC 5118 §4.5: with brackets or without, both are in use.
        via.received = value[1:-1] if value[:1] == b"[" and value[-1:] == b"]" else value
    elif name == b"maddr":
        via.maddr = value
