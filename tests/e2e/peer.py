"""A SIP peer of bare sockets: says exactly what a test wants said, right or wrong.

SIPp keeps to its scenario; this sends other people's Call-IDs, wrong branches, the same packet seven
times in another order. It knows nothing of `switch.wire`: what the switch sends is read here anew.
"""

from __future__ import annotations

import itertools
import os
import socket
import time
from collections.abc import Callable
from contextlib import suppress

Address = tuple[str, int]
SO_RCVBUFFORCE = 33
BYTES_MAX = 65_535
_serial = itertools.count(1)

SDP = (
    "v=0\r\no=peer 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
    "m=audio 40000 RTP/AVP 8\r\na=rtpmap:8 PCMA/8000\r\n"
)


class Seen:
    """One message that a peer received."""

    def __init__(self, data: bytes, source: Address) -> None:
        self.data = data
        self.source = source
        head, _, self.body = data.partition(b"\r\n\r\n")
        self.lines = head.decode("utf-8", "replace").split("\r\n")
        self.start_line = self.lines[0]

    @property
    def status(self) -> int:
        """0 for requests."""
        return int(self.start_line.split(" ")[1]) if self.start_line.startswith("SIP/2.0 ") else 0

    @property
    def method(self) -> str:
        """The request's, or the one that a response answers."""
        return self.header("CSeq").rpartition(" ")[2] if self.status else self.start_line.partition(" ")[0]

    @property
    def uri(self) -> str:
        return self.start_line.split(" ")[1]

    def header(self, name: str) -> str:
        return next(iter(self.headers(name)), "")

    def headers(self, name: str) -> list[str]:
        start = name.lower() + ":"
        return [line[len(start) :].strip() for line in self.lines[1:] if line.lower().startswith(start)]

    def __repr__(self) -> str:
        return f"<{self.start_line} from {self.source}>"


class Peer:
    """A UDP socket, or a TCP connection to the switch, with a SIP user behind it."""

    def __init__(self, at: Address, switch: Address, *, transport: str = "udp") -> None:
        self.switch = switch
        self.transport = transport
        is_tcp = transport == "tcp"
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM if is_tcp else socket.SOCK_DGRAM)
        if is_tcp:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        else:
            # A switch that sends by the batch fills the usual buffer before a test has read anything.
            with suppress(PermissionError):
                self._socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 8_000_000)
        self._socket.bind(at)
        if is_tcp:
            self._socket.connect(switch)
        self.at: Address = self._socket.getsockname()
        self._buffer = b""
        self.seen: list[Seen] = []
        """Everything that came, in order."""

    def __enter__(self) -> Peer:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def send(self, message: str | bytes, to: Address | None = None) -> None:
        data = message.encode() if isinstance(message, str) else message
        if self.transport == "tcp":
            self._socket.sendall(data)
        else:
            self._socket.sendto(data, to or self.switch)

    def receive(self, within_s: float = 2.0) -> Seen | None:
        """The next message, or None when none came in that time (or the connection was closed)."""
        self._socket.settimeout(max(within_s, 0.001))
        try:
            if self.transport == "tcp":
                return self._receive_from_stream()
            data, source = self._socket.recvfrom(BYTES_MAX)
        except (TimeoutError, ConnectionError):
            return None
        return self._note(Seen(data, source))

    def wait_for(self, what: Callable[[Seen], bool], within_s: float = 3.0) -> Seen:
        """The next message of that kind; others are passed over (they stay in `seen`)."""
        ends = time.monotonic() + within_s
        while (left := ends - time.monotonic()) > 0:
            seen = self.receive(left)
            if seen is not None and what(seen):
                return seen
        raise AssertionError(f"it did not come; so far there were {self.seen}")

    def wait_for_status(self, *statuses: int, method: str = "INVITE", within_s: float = 3.0) -> Seen:
        return self.wait_for(lambda seen: seen.status in statuses and seen.method == method, within_s)

    def wait_for_final(self, method: str = "INVITE", within_s: float = 3.0) -> Seen:
        return self.wait_for(lambda seen: seen.status >= 200 and seen.method == method, within_s)

    def wait_for_request(self, method: str, within_s: float = 3.0) -> Seen:
        return self.wait_for(lambda seen: not seen.status and seen.method == method, within_s)

    def drain(self, for_s: float = 0.3) -> list[Seen]:
        """Everything that comes in that time."""
        ends = time.monotonic() + for_s
        got = []
        while (left := ends - time.monotonic()) > 0:
            seen = self.receive(left)
            if seen is not None:
                got.append(seen)
        return got

    def is_closed(self, within_s: float = 2.0) -> bool:
        """TCP: whether the switch hangs up in that time; what it says before is kept in `seen`."""
        ends = time.monotonic() + within_s
        while (left := ends - time.monotonic()) > 0:
            self._socket.settimeout(left)
            try:
                data = self._socket.recv(BYTES_MAX)
            except TimeoutError:
                return False
            except ConnectionError:
                return True
            if not data:
                return True
            self._buffer += data
            while self._cut() is not None:
                pass
        return False

    def _note(self, seen: Seen) -> Seen:
        self.seen.append(seen)
        return seen

    def _receive_from_stream(self) -> Seen | None:
        while True:
            seen = self._cut()
            if seen is not None:
                return seen
            data = self._socket.recv(BYTES_MAX)
            if not data:
                return None
            self._buffer += data

    def _cut(self) -> Seen | None:
        """The first whole message of what has come over the stream."""
        self._buffer = self._buffer.lstrip(b"\r\n")
        head, end, rest = self._buffer.partition(b"\r\n\r\n")
        if not end:
            return None
        length = next(
            (int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0
        )
        if len(rest) < length:
            return None
        self._buffer = rest[length:]
        return self._note(Seen(head + end + rest[:length], self.switch))


class Dialog:
    """A call as a peer sets it up: its identifiers, and the requests made of them."""

    def __init__(self, peer: Peer, number: str, *, cli: str = "15551230000", uri: str = "") -> None:
        serial = f"{os.getpid()}-{next(_serial)}-{time.monotonic_ns()}"
        self.peer = peer
        self.uri = uri or f"sip:{number}@{peer.switch[0]}:{peer.switch[1]}"
        self.call_id = f"{serial}@{peer.at[0]}"
        self.tag = f"t{serial}"
        self.branch = f"z9hG4bK-{serial}"
        self.cli = cli
        self.number = number
        self.to_tag = ""
        self.route: list[str] = []
        self.target = self.uri

    def invite(self, *extra: str, body: str = SDP) -> str:
        """The INVITE; the same bytes each time."""
        return self.request("INVITE", 1, self.branch, extra, body)

    def cancel(self) -> str:
        return self.request("CANCEL", 1, self.branch)

    def ack(self, answer: Seen) -> str:
        """For a 2xx along the route set; for a failure on the INVITE's own branch (RFC 3261 §17.1.1.3)."""
        if answer.status < 300:
            self.take(answer)
            return self.inside("ACK", 1)
        lines = [
            f"ACK {self.uri} SIP/2.0",
            f"Via: SIP/2.0/{self.peer.transport.upper()} {self._here()};branch={self.branch};rport",
            "Max-Forwards: 70",
            f"From: <sip:{self.cli}@{self._here()}>;tag={self.tag}",
            f"To: {answer.header('To')}",
            f"Call-ID: {self.call_id}",
            "CSeq: 1 ACK",
        ]
        return message(lines)

    def take(self, answer: Seen) -> None:
        """Learns the dialog from a 2xx."""
        self.to_tag = answer.header("To").partition(";tag=")[2]
        self.route = answer.headers("Record-Route")[::-1]
        self.target = answer.header("Contact").partition("<")[2].partition(">")[0]

    def inside(self, method: str, cseq: int, *extra: str, body: str = "") -> str:
        """A request of the dialog, with a branch of its own that stays the same for one CSeq."""
        return self.request(method, cseq, f"{self.branch}-{method}-{cseq}", extra, body)

    def request(self, method: str, cseq: int, branch: str, extra: tuple[str, ...] = (), body: str = "") -> str:
        to = f"To: <sip:{self.number}@{self.peer.switch[0]}:{self.peer.switch[1]}>"
        is_inside = bool(self.to_tag) and method != "CANCEL"
        lines = [
            f"{method} {self.target if is_inside else self.uri} SIP/2.0",
            f"Via: SIP/2.0/{self.peer.transport.upper()} {self._here()};branch={branch};rport",
            *(f"Route: {value}" for value in self.route if is_inside),
            "Max-Forwards: 70",
            f"From: <sip:{self.cli}@{self._here()}>;tag={self.tag}",
            to + (f";tag={self.to_tag}" if is_inside else ""),
            f"Call-ID: {self.call_id}",
            f"CSeq: {cseq} {method}",
            f"Contact: <sip:{self.cli}@{self._here()};transport={self.peer.transport}>",
            *extra,
        ]
        return message(lines, body)

    def _here(self) -> str:
        return f"{self.peer.at[0]}:{self.peer.at[1]}"


def message(lines: list[str], body: str = "", content_type: str = "application/sdp") -> str:
    """Lines and a body with the length that belongs to it."""
    typed = [f"Content-Type: {content_type}"] if body else []
    return "\r\n".join([*lines, *typed, f"Content-Length: {len(body.encode())}", "", body])


def reply(peer: Peer, request: Seen, status: int, reason: str, *, tag: str = "v1", body: str = "") -> str:
    """A UAS's answer: Vias and Record-Routes as they came, a tag of ours on the To (RFC 3261 §8.2.6)."""
    to = request.header("To")
    lines = [
        f"SIP/2.0 {status} {reason}",
        *(f"Via: {value}" for value in request.headers("Via")),
        *(f"Record-Route: {value}" for value in request.headers("Record-Route")),
        f"From: {request.header('From')}",
        f"To: {to}" + ("" if status == 100 or ";tag=" in to else f";tag={tag}"),
        f"Call-ID: {request.header('Call-ID')}",
        f"CSeq: {request.header('CSeq')}",
        f"Contact: <sip:vendor@{peer.at[0]}:{peer.at[1]};transport={peer.transport}>",
    ]
    return message(lines, body)


def answered_call(caller: Peer, vendor: Peer, number: str = "442071000001") -> tuple[Dialog, Seen]:
    """A call that stands, and its INVITE as the vendor saw it."""
    dialog = Dialog(caller, number)
    caller.send(dialog.invite())
    invite = vendor.wait_for_request("INVITE")
    vendor.send(reply(vendor, invite, 200, "OK", body=SDP))
    caller.send(dialog.ack(caller.wait_for_final()))
    vendor.wait_for_request("ACK")
    return dialog, invite


def hang_up(dialog: Dialog, caller: Peer, vendor: Peer, cseq: int = 2) -> None:
    """The caller's BYE, answered by the vendor."""
    caller.send(dialog.inside("BYE", cseq))
    vendor.send(reply(vendor, vendor.wait_for_request("BYE"), 200, "OK"))
    assert caller.wait_for_final("BYE").status == 200
