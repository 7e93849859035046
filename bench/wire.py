"""Nanoseconds for each step of reading and writing a message: `.venv/bin/python -m bench.wire`.

The best of many short batches, which a busy machine disturbs least. Runs the sources, or the
compiled package where that is what Python finds first.
"""

from __future__ import annotations

import timeit
from collections.abc import Callable

from switch.wire import message as message_module
from switch.wire.build import request_bytes, response_to
from switch.wire.framing import StreamFramer
from switch.wire.message import Request, parse_message
from switch.wire.name_addr import NameAddr
from switch.wire.uri import parse_uri
from switch.wire.via import Via

BATCH = 100
BATCHES = 300

INVITE = b"\r\n".join(
    [
        b"INVITE sip:15551230001@127.0.0.1:5060 SIP/2.0",
        b"Via: SIP/2.0/UDP 127.0.0.1:5061;branch=z9hG4bK-1234-1-0;rport",
        b"Max-Forwards: 70",
        b'From: "Acme" <sip:15557770000@127.0.0.1:5061>;tag=1234tandem001',
        b"To: <sip:15551230001@127.0.0.1:5060>",
        b"Call-ID: 1-1234@127.0.0.1",
        b"CSeq: 1 INVITE",
        b"Contact: <sip:acme@127.0.0.1:5061>",
        b"User-Agent: Acme PBX 1.2",
        b"Allow: INVITE, ACK, CANCEL, BYE, OPTIONS, UPDATE, PRACK",
        b"Supported: timer, 100rel",
        b"Session-Expires: 1800",
        b"P-Asserted-Identity: <sip:15557770000@127.0.0.1>",
        b"Content-Type: application/sdp",
        b"Content-Length: 300",
        b"",
        b"v" * 300,
    ]
)


def best_ns(action: Callable[[], object]) -> float:
    return min(timeit.repeat(action, number=BATCH, repeat=BATCHES)) / BATCH * 1e9


def main() -> None:
    invite = parse_message(INVITE)
    assert isinstance(invite, Request)
    request = invite
    framer = StreamFramer()
    from_value = request.from_value()
    steps: dict[str, Callable[[], object]] = {
        "parse_message": lambda: parse_message(INVITE),
        "parse_uri": lambda: parse_uri(request.uri),
        "Via.parse": lambda: Via.parse(request.via.raw),
        "Via.with_source": lambda: request.via.with_source("127.0.0.1", 5061),
        "NameAddr.parse": lambda: NameAddr.parse(from_value),
        "response_to": lambda: response_to(request, 180, b"Ringing", to_tag=b"abc"),
        "request_bytes": lambda: request_bytes(request.method, request.uri, request.lines, request.body),
        "StreamFramer.feed": lambda: framer.feed(INVITE),
    }
    build = "interpreted" if message_module.__file__.endswith(".py") else "compiled"
    print(f"{build}, INVITE of {len(INVITE)} octets with {len(request.lines)} headers")
    for name, action in steps.items():
        print(f"{name:20} {best_ns(action):8.0f} ns")


if __name__ == "__main__":
    main()
