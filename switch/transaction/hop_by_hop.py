"""The two requests that belong to the hop of an INVITE: the ACK to its failure, and its CANCEL."""

from __future__ import annotations

from collections.abc import Sequence

from switch.wire.headers import CALL_ID, FROM, ROUTE, TO
from switch.wire.message import Request, Response, parse_message


def ack_to_failure(invite: bytes, response: Response) -> bytes:
    """The ACK to a 3xx–6xx.

    Args:
        invite: the INVITE as we sent it.
    Source: RFC 3261 §17.1.1.3.
    """
    to_lines = [line for line, header in zip(response.lines, response.ids, strict=True) if header == TO]
    return _same_hop(invite, b"ACK", to_lines[0], ())


def cancel(invite: bytes, extra: Sequence[bytes] = ()) -> bytes:
    """The CANCEL of an INVITE that we sent; `extra` may carry a Reason line (RFC 3326).

    Source: RFC 3261 §9.1.
    """
    return _same_hop(invite, b"CANCEL", b"", extra)


def _same_hop(invite: bytes, method: bytes, to_line: bytes, extra: Sequence[bytes]) -> bytes:
    request = parse_message(invite)
    assert isinstance(request, Request), "an INVITE that we sent"
    out = [method + b" " + request.uri + b" SIP/2.0", request.lines[request.via_index]]
    for line, header in zip(request.lines, request.ids, strict=True):
        if header == ROUTE or header == FROM or header == CALL_ID:
            out.append(line)
        elif header == TO:
            out.append(to_line or line)
    out.append(b"CSeq: %d " % request.cseq + method)
    out.append(b"Max-Forwards: 70")
    out.extend(extra)
    out.append(b"Content-Length: 0\r\n\r\n")
    return b"\r\n".join(out)
