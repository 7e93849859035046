"""Messages for tests of the wire: one plain request and response, and ways to bend them."""

from __future__ import annotations

CRLF = b"\r\n"

LINES = (
    b"Via: SIP/2.0/UDP 192.0.2.10:5060;branch=z9hG4bKa7f3;rport",
    b"Max-Forwards: 70",
    b'From: "Acme" <sip:15557770000@192.0.2.10>;tag=f1',
    b"To: <sip:15551230001@198.51.100.1>",
    b"Call-ID: 8f21@192.0.2.10",
    b"CSeq: 1 INVITE",
    b"Contact: <sip:acme@192.0.2.10:5060>",
    b"Content-Length: 5",
)


def message(start: bytes, lines: tuple[bytes, ...] | list[bytes], body: bytes = b"") -> bytes:
    return CRLF.join([start, *lines]) + CRLF + CRLF + body


def bent(*changes: tuple[bytes, bytes | None], start: bytes = b"INVITE sip:15551230001@198.51.100.1 SIP/2.0") -> bytes:
    """The plain INVITE with lines replaced: (name, whole new line), None drops it; unknown names add a line."""
    lines = list(LINES)
    for name, line in changes:
        at = [index for index, old in enumerate(lines) if old.startswith(name + b":")]
        if not at:
            assert line is not None
            lines.insert(1, line)
        elif line is None:
            del lines[at[0]]
        else:
            lines[at[0]] = line
    return message(start, lines, b"hello")


INVITE = bent()

OK = message(
    b"SIP/2.0 200 OK",
    [
        b"Via: SIP/2.0/UDP 198.51.100.1:5060;branch=z9hG4bKours",
        b"Via: SIP/2.0/UDP 192.0.2.10:5060;branch=z9hG4bKa7f3;received=192.0.2.10;rport=5060",
        b"Record-Route: <sip:198.51.100.1;lr>",
        b'From: "Acme" <sip:15557770000@192.0.2.10>;tag=f1',
        b"To: <sip:15551230001@198.51.100.1>;tag=t1",
        b"Call-ID: 8f21@192.0.2.10",
        b"CSeq: 1 INVITE",
        b"Contact: <sip:15551230001@203.0.113.9>",
        b"Content-Length: 0",
    ],
)
