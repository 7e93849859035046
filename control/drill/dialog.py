"""A peer's side of one dialog (RFC 3261 §12), and the messages that are made of it."""

from __future__ import annotations

from random import Random
from typing import Final

from control.drill.endpoint import Address
from switch.wire.build import request_bytes, response_to
from switch.wire.headers import CONTACT, RECORD_ROUTE
from switch.wire.message import Request, Response
from switch.wire.name_addr import NameAddr

REASONS: Final = {
    100: b"Trying",
    180: b"Ringing",
    200: b"OK",
    481: b"Call/Transaction Does Not Exist",
    486: b"Busy Here",
    487: b"Request Terminated",
    503: b"Service Unavailable",
}


def sdp(at: Address) -> bytes:
    """An offer or answer of one audio stream; nothing is ever played."""
    return (
        f"v=0\r\no=drill 1 1 IN IP4 {at[0]}\r\ns=-\r\nc=IN IP4 {at[0]}\r\nt=0 0\r\n"
        "m=audio 40000 RTP/AVP 8\r\na=rtpmap:8 PCMA/8000\r\n"
    ).encode()


class Dialog:
    """Both ends' names, the way between them, and our count of requests."""

    def __init__(self, at: Address, rng: Random, call_id: bytes, local: bytes, remote: bytes, target: bytes) -> None:
        self.call_id = call_id
        self.local = local
        """From of our requests, with our tag."""
        self.remote = remote
        self.target = target
        self.routes: list[bytes] = []
        self.cseq = 0
        self._at = at
        self._rng = rng

    @classmethod
    def calling(cls, at: Address, rng: Random, switch: Address, dialled: str, cli: str) -> Dialog:
        """Before its INVITE."""
        here = f"{at[0]}:{at[1]}"
        uri = f"sip:{dialled}@{switch[0]}:{switch[1]}".encode()
        return cls(
            at,
            rng,
            f"{rng.getrandbits(64):016x}@{here}".encode(),
            f"<sip:{cli}@{here}>;tag={rng.getrandbits(40):010x}".encode(),
            b"<" + uri + b">",
            uri,
        )

    @classmethod
    def called(cls, at: Address, rng: Random, invite: Request) -> Dialog:
        """As the callee of an INVITE (§12.1.1)."""
        tag = f";tag={rng.getrandbits(40):010x}".encode()
        dialog = cls(at, rng, invite.call_id, invite.to_value() + tag, invite.from_value(), _contact(invite))
        dialog.routes = invite.all(RECORD_ROUTE)
        return dialog

    @property
    def tag(self) -> bytes:
        return self.local.rpartition(b";tag=")[2]

    def confirm(self, response: Response) -> None:
        """Learn the other end from the 2xx to our INVITE (§12.1.2)."""
        self.remote = response.to_value()
        self.target = _contact(response) or self.target
        self.routes = response.all(RECORD_ROUTE)[::-1]

    def refresh(self, request: Request) -> None:
        """A request inside the dialog may move its other end (§12.2.2)."""
        if request.method in (b"INVITE", b"UPDATE"):
            self.target = _contact(request) or self.target

    def request(
        self, method: bytes, *, branch: bytes = b"", cseq: int = 0, body: bytes = b"", extra: tuple[bytes, ...] = ()
    ) -> tuple[bytes, bytes]:
        """A request and its branch; the next CSeq and a new branch where none are given."""
        if not cseq:
            self.cseq += 1
            cseq = self.cseq
        branch = branch or f"z9hG4bK{self._rng.getrandbits(64):016x}".encode()
        host, port = self._at
        lines = [
            b"Via: SIP/2.0/UDP %b:%d;branch=%b;rport" % (host.encode(), port, branch),
            *(b"Route: " + route for route in self.routes if method != b"CANCEL"),
            b"Max-Forwards: 70",
            b"From: " + self.local,
            b"To: " + self.remote,
            b"Call-ID: " + self.call_id,
            b"CSeq: %d %b" % (cseq, method),
            self.contact(),
            *extra,
        ]
        if body:
            lines.append(b"Content-Type: application/sdp")
        return request_bytes(method, self.target, lines, body), branch

    def answer(self, request: Request, status: int, *, body: bytes = b"") -> bytes:
        """A response to a request of this dialog, or to the INVITE that may begin it."""
        extra = [self.contact()] if request.method in (b"INVITE", b"UPDATE") else []
        if body:
            extra.append(b"Content-Type: application/sdp")
        tag = b"" if status == 100 else self.tag
        return response_to(request, status, REASONS[status], to_tag=tag, extra=extra, body=body)

    def contact(self) -> bytes:
        host, port = self._at
        return b"Contact: <sip:drill@%b:%d>" % (host.encode(), port)


def _contact(message: Request | Response) -> bytes:
    value = message.first(CONTACT)
    return NameAddr.parse(value).uri if value else b""
