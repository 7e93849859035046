"""Messages of our own: responses to a request, and start line, header lines and body to bytes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from switch.wire.headers import CALL_ID, CONTENT_LENGTH, CSEQ, FROM, RECORD_ROUTE, TIMESTAMP, TO, VIA, header_id
from switch.wire.message import Request
from switch.wire.scan import split_commas, unfold

_DIALOG_METHODS: Final = (b"INVITE", b"SUBSCRIBE", b"REFER", b"NOTIFY")


def response_to(
    request: Request,
    status: int,
    reason: bytes,
    *,
    to_tag: bytes = b"",
    extra: Sequence[bytes] = (),
    body: bytes = b"",
    via_value: bytes | None = None,
) -> bytes:
    """A response to `request`, as bytes (RFC 3261 §8.2.6).

    All Vias, From, To, Call-ID and CSeq are mirrored as they came; Record-Route too where the
    response can form a dialog (101–299, §12.1.1), Timestamp in a 100.

    Args:
        to_tag: added to To where the request has none.
        extra: whole header lines without CRLF. Content-Length is always ours to write.
        via_value: stands for the first Via value (with `received` and `rport`).
    """
    out = [b"SIP/2.0 %d %b" % (status, reason)]
    lines = request.lines
    is_forming = 100 < status < 300 and request.method in _DIALOG_METHODS
    index = -1
    for hid in request.ids:
        index += 1
        if hid > CSEQ and hid != RECORD_ROUTE and hid != TIMESTAMP:
            continue
        line = lines[index]
        if hid == VIA:
            # A Via that could not be read is mirrored as it came.
            if via_value is not None and index == request.via_index and request.via.host:
                line = _replace_first_via(line, via_value)
            out.append(line)
        elif hid == TO:
            if to_tag and not request.to_tag:
                line = line.rstrip(b" \t;") + b";tag=" + to_tag
            out.append(line)
        elif hid in (FROM, CALL_ID, CSEQ):
            out.append(line)
        elif hid == RECORD_ROUTE:
            if is_forming:
                out.append(line)
        elif status == 100:
            out.append(line)
    out.extend(extra)
    out.append(b"Content-Length: %d\r\n\r\n%b" % (len(body), body))
    return b"\r\n".join(out)


def _replace_first_via(line: bytes, via_value: bytes) -> bytes:
    if 44 in line:
        return b"Via: " + b", ".join([via_value, *split_commas(unfold(line.partition(b":")[2]))[1:]])
    return b"Via: " + via_value


def message_bytes(start: bytes, lines: Sequence[bytes], body: bytes) -> bytes:
    """Start line, header lines (without CRLF) and body; Content-Length is added where no line is one."""
    for line in reversed(lines):  # it stands last in most messages
        if line[:1] in b"CcLl" and header_id(line.partition(b":")[0]) == CONTENT_LENGTH:
            return b"%b\r\n%b\r\n\r\n%b" % (start, b"\r\n".join(lines), body)
    return b"%b\r\n%b\r\nContent-Length: %d\r\n\r\n%b" % (start, b"\r\n".join(lines), len(body), body)


def request_bytes(method: bytes, uri: bytes, lines: Sequence[bytes], body: bytes = b"") -> bytes:
    """A request from its parts; see `message_bytes`."""
    return message_bytes(b"%b %b SIP/2.0" % (method, uri), lines, body)


def response_bytes(status: int, reason: bytes, lines: Sequence[bytes], body: bytes = b"") -> bytes:
    """A response from its parts, as a proxy forwards one; see `message_bytes`."""
    return message_bytes(b"SIP/2.0 %d %b" % (status, reason), lines, body)
