"""Answers that keep no state, and who may have which: nobody gains anything by asking in another's name."""

from __future__ import annotations

from binascii import crc32
from collections.abc import Sequence
from random import Random
from typing import Final

from switch.board import Board
from switch.call.hops import DEFAULT_PORT, Hops
from switch.outputs import Flow, Send
from switch.policy.causes import RETRY_AFTER_S, Cause
from switch.policy.tables import Tables
from switch.transaction.layer import Layer
from switch.wire.build import response_to
from switch.wire.headers import ROUTE
from switch.wire.message import Request
from switch.wire.name_addr import NameAddr
from switch.wire.terse import terse
from switch.wire.uri import Uri, parse_uri

_PHRASES: Final[dict[int, bytes]] = {
    400: b"Bad Request",
    403: b"Forbidden",
    413: b"Request Entity Too Large",
    416: b"Unsupported URI Scheme",
    422: b"Session Interval Too Small",
    481: b"Call/Transaction Does Not Exist",
    482: b"Loop Detected",
    483: b"Too Many Hops",
    500: b"Server Internal Error",
    505: b"Version Not Supported",
    513: b"Message Too Large",
}


class Answering:
    """One per engine."""

    def __init__(self, board: Board, rng: Random) -> None:
        self.board: Board = board
        self.layer: Layer = board.layer
        self.hops: Hops = board.hops
        self.tables: Tables = board.tables
        self._tag_seed: int = rng.getrandbits(32)

    def reply(self, request: Request, flow: Flow, status: int, phrase: bytes, extra: Sequence[bytes] = ()) -> bool:
        """Answer once and remember nothing: a copy of the request gets a copy of the answer.

        Over UDP a stranger's answer is never longer than the question: a forged source address
        gains nothing by us. False: it was too long, and not sent.
        """
        tag = b"%08x" % crc32(request.from_tag, crc32(request.call_id, self._tag_seed))
        via_value = request.via.with_source(flow.address[0], flow.address[1])
        data = response_to(request, status, phrase, to_tag=tag, extra=extra, via_value=via_value)
        if (
            len(data) > len(request.data)
            and not self.hops.locals[flow.listener].is_reliable
            and not self.is_known(flow.address[0])
        ):
            # A 481 with its phrase is longer than many a BYE: say the same in fewer words.
            data = terse(data)
            if extra and status not in (401, 407) and len(data) > len(request.data):
                data = terse(response_to(request, status, b"", to_tag=tag, via_value=via_value))
            if len(data) > len(request.data):
                return False
        layer = self.layer
        layer.sends.append(Send(self.reply_flow(request, flow), data, 0, not layer.is_of_call))
        return True

    def is_known(self, ip: str) -> bool:
        return ip in self.board.vendor_ips or self.tables.sources.knows(ip)

    def reply_flow(self, request: Request, flow: Flow) -> Flow:
        """Where responses go: RFC 3261 §18.2.2 without its `maddr`, RFC 3581 §4."""
        via = request.via
        if via.has_rport or flow.connection:
            return flow
        port = via.port or DEFAULT_PORT
        if port == flow.address[1]:
            return flow
        return Flow(flow.listener, (flow.address[0], port))

    def is_ours(self, uri: Uri) -> bool:
        return uri.scheme == b"tel" or self.hops.is_own(uri.host, uri.port)

    def has_foreign_route(self, request: Request) -> bool:
        """Whether a Route asks us to send the request to somebody else: we never do."""
        if not request.has(ROUTE):
            return False
        for value in request.all(ROUTE):
            uri = parse_uri(NameAddr.parse(value).uri)
            if not self.hops.is_own(uri.host, uri.port):
                return True
        return False

    def is_own_address(self, ip: str) -> bool:
        bare = ip.removeprefix("::ffff:")
        return bare.startswith("127.") or bare == "::1" or self.hops.is_own_ip(bare)


def retry_lines(cause: Cause) -> list[bytes]:
    seconds = RETRY_AFTER_S.get(cause)
    return [] if seconds is None else [b"Retry-After: %d" % seconds]


def phrase_of(status: int, detail: bytes) -> bytes:
    if status == 400 and detail.isascii() and detail.replace(b" ", b"").isalnum():
        return b"Bad Request (%b)" % detail
    return _PHRASES.get(status, b"Refused")
