"""The torture messages of RFC 4475 and RFC 5118, and what each earns.

`messages/*.txt` are written in the conventions of RFC 4475 §2: LF stands for CRLF,
`<allOneLine>` joins its lines, `<repeat count=N>…</repeat>` repeats, `<hex>…</hex>` are bytes.
`load` gives the octets that go over the wire.

Deviation: three messages of RFC 5118 (§4.6, §4.8, §4.9) are printed there with a Content-Length
that their bodies do not have (268, 181 and 236 for 251, 189 and 245 octets); here it is right,
since they are about addresses. As printed, the first would earn the 400 of `clerr`.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal, NamedTuple

FOLDER = Path(__file__).parent / "messages"

Transport = Literal["udp", "tcp", "tls"]
Action = Literal["forward", "respond", "drop"]

POLICY = frozenset({200, 401, 402, 403, 404, 405, 407, 408, 480, 481, 484, 486, 488, 489, 501, 503})
"""What a switch may say that has understood a request and will not, or need not, pass it on."""


class Case(NamedTuple):
    """One message.

    `action` is what a proxy does with it. `statuses` are final responses that fit: for
    `respond` one of them must come; for `forward` the request was understood, and one of them
    may come in place of forwarding, where policy knows no such caller or number. `parses` says
    whether the parser takes it; where it does not, `parse_status` is the status its refusal names.
    """

    file: str
    section: str
    transport: Transport
    action: Action
    statuses: frozenset[int]
    reason: str
    parses: bool = True
    parse_status: int = 0


def _forward(
    file: str, section: str, reason: str, transport: Transport = "udp", also: frozenset[int] = frozenset()
) -> Case:
    return Case(file, section, transport, "forward", POLICY | also, reason)


def _refused(file: str, section: str, reason: str, transport: Transport = "udp", status: int = 400) -> Case:
    return Case(file, section, transport, "respond", frozenset({status}), reason, False, status)


def _respond(file: str, section: str, statuses: set[int], reason: str, transport: Transport = "udp") -> Case:
    return Case(file, section, transport, "respond", frozenset(statuses), reason)


def _dropped(file: str, section: str, reason: str, transport: Transport = "udp", parses: bool = True) -> Case:
    return Case(file, section, transport, "drop", frozenset(), reason, parses, 0 if parses else 400)


RFC_4475: tuple[Case, ...] = (
    _forward("wsinv", "3.1.1.1", "folding, compact names, odd case, blanks in Via: all legal; its Route is foreign"),
    _forward("intmeth", "3.1.1.2", "method, URI, tags and quoted controls at the edge of the grammar", "tcp"),
    _forward("esc01", "3.1.1.3", "escapes in user parts; an @ that is escaped chooses no host"),
    _forward("escnull", "3.1.1.4", "escaped NULs are legal in URIs, and route nothing"),
    _forward("esc02", "3.1.1.5", "% is no escape in methods, names and display names", "tcp"),
    _forward("lwsdisp", "3.1.1.6", "no blank between display name and <"),
    _forward("longreq", "3.1.1.7", "long values and 34 Vias in many spellings", "tcp"),
    _forward("dblreq", "3.1.1.8", "octets after Content-Length are cut off over UDP; the second request is none"),
    _forward("semiuri", "3.1.1.9", "a semicolon before the @ belongs to the user"),
    _forward("transports", "3.1.1.10", "every transport in Via, a made-up one too"),
    _forward("mpart01", "3.1.1.11", "a binary multipart body goes through untouched; its Route must not be followed"),
    _dropped("unreason", "3.1.1.12", "a UTF-8 reason phrase is legal; the response matches no transaction of ours"),
    _dropped("noreason", "3.1.1.13", "an empty reason phrase is legal; the response matches no transaction of ours"),
    _refused("badinv01", "3.1.2.1", "extraneous separators in Via"),
    _refused("clerr", "3.1.2.2", "Content-Length larger than the datagram"),
    _refused("ncl", "3.1.2.3", "negative Content-Length"),
    _refused("scalar02", "3.1.2.4", "CSeq and Max-Forwards out of range", "tcp"),
    _dropped("scalarlg", "3.1.2.5", "CSeq out of range in a response", "tcp", parses=False),
    _refused("quotbal", "3.1.2.6", "a quoted string in To without end"),
    _refused("ltgtruri", "3.1.2.7", "angle brackets round the Request-URI"),
    _refused("lwsruri", "3.1.2.8", "a blank inside the Request-URI"),
    _refused("lwsstart", "3.1.2.9", "several blanks between the parts of the request line"),
    _refused("trws", "3.1.2.10", "blanks after the request line", "tcp"),
    _refused("escruri", "3.1.2.11", "headers in the Request-URI (RFC 3261 §19.1.1)"),
    # Deviation: the RFC would have the element that reads Date refuse it; we pass Date on unread.
    _forward("baddate", "3.1.2.12", "a Date that is not in GMT is for its reader", also=frozenset({400})),
    _refused("regbadct", "3.1.2.13", "a Contact with ? needs < and >"),
    _refused("badaspec", "3.1.2.14", "blanks inside < and >"),
    _refused("baddn", "3.1.2.15", "a comma in a display name without quotes"),
    _refused("badvers", "3.1.2.16", "SIP/7.0", status=505),
    _refused("mismatch01", "3.1.2.17", "CSeq names another known method"),
    _refused("mismatch02", "3.1.2.18", "CSeq names another method than the unknown one of the request"),
    _dropped("bigcode", "3.1.2.19", "a status code out of range", parses=False),
    _forward("badbranch", "3.2.1", "a branch of the cookie alone identifies nothing: matched as RFC 2543 had it"),
    _refused("insuf", "3.3.1", "no From, To and Call-ID"),
    _respond("unkscm", "3.3.2", {416}, "a scheme that nobody knows in the Request-URI", "tcp"),
    _respond("novelsc", "3.3.3", {416}, "a known scheme that is not SIP in the Request-URI", "tcp"),
    _forward("unksm2", "3.3.4", "unknown schemes in From, To and Contact are opaque to a proxy"),
    _respond("bext01", "3.3.5", {420}, "Proxy-Require that we do not support; Require is not ours", "tls"),
    _forward("invut", "3.3.6", "a body of unknown type is for the far end", also=frozenset({415})),
    _forward("regaut01", "3.3.7", "credentials of an unknown scheme are as good as none", "tcp"),
    _refused("multi01", "3.3.8", "headers of one value that come twice"),
    _refused("mcl01", "3.3.9", "two Content-Lengths"),
    _dropped("bcast", "3.3.10", "the second Via is a broadcast address; the first is not ours"),
    _respond("zeromf", "3.3.11", {483, 200, 403, 404}, "Max-Forwards 0: answered here or refused, never forwarded"),
    _forward("cparam01", "3.3.12", "a parameter after a URI without < belongs to the header"),
    _forward("cparam02", "3.3.13", "a parameter inside < > belongs to the URI"),
    _forward("regescrt", "3.3.14", "an escaped Route in a Contact is data"),
    _forward("sdp01", "3.3.15", "an Accept that no answer fits is for the far end", also=frozenset({406})),
    _forward("inv2543", "4", "no branch, no tag, no Max-Forwards: RFC 2543, and welcome"),
)

RFC_5118: tuple[Case, ...] = (
    _forward("ipv6-good", "4.1", "IPv6 references in Request-URI, Via and Contact"),
    _refused("ipv6-bad", "4.2", "an IPv6 address without brackets"),
    _forward("port-ambiguous", "4.3", "well-formed: the port is part of the address"),
    _forward("port-unambiguous", "4.4", "port after the bracket"),
    _forward("via-received-param-with-delim", "4.5", "brackets in received are against the grammar and in use"),
    _forward("via-received-param-no-delim", "4.5", "received without brackets"),
    _forward("ipv6-in-sdp", "4.6", "IPv6 in SDP goes through untouched"),
    _forward("mult-ip-in-header", "4.7", "IPv4 and IPv6 Vias in one request"),
    _forward("mult-ip-in-sdp", "4.8", "IPv4 and IPv6 media in one body"),
    _forward("ipv4-mapped-ipv6", "4.9", "IPv4-mapped addresses in Via and Contact"),
    _forward("ipv6-bug-abnf-3-colons", "4.10", "the extra colon is read as two, which the RFC recommends"),
    _forward("ipv6-correct-abnf-2-colons", "4.10", "the same, written right"),
)

CASES = RFC_4475 + RFC_5118


def load(case: Case) -> bytes:
    """The octets of one message."""
    return expand((FOLDER / f"{case.file}.txt").read_bytes())


def expand(text: bytes) -> bytes:
    """Undo the conventions of RFC 4475 §2."""
    text = re.sub(rb"<allOneLine>\n(.*?)\n</allOneLine>", lambda found: found[1].replace(b"\n", b""), text, flags=re.S)
    text = text.replace(b"\n", b"\r\n")
    text = re.sub(rb"<repeat count=(\d+)>(.*?)</repeat>", lambda found: found[2] * int(found[1]), text)
    return re.sub(rb"<hex>([0-9A-Fa-f]*)</hex>", lambda found: bytes.fromhex(found[1].decode()), text)
