"""The two requests that belong to the hop of an INVITE: the ACK to its failure, and its CANCEL.

Both are made from the lines of the INVITE as we sent it. It is not parsed again: limits are for what
others send, and with our own Via and Record-Route it may be longer than any of them allows.
"""

from __future__ import annotations

from collections.abc import Sequence

from switch.wire.headers import CALL_ID, CSEQ, FROM, ROUTE, TO, header_id
from switch.wire.message import Response


def ack_to_failure(invite: bytes, response: Response) -> bytes:
    """The ACK to a 3xx–6xx.

    Args:
        invite: the INVITE as we sent it.
    Source: RFC 3261 §17.1.1.3.
    """
    return _same_hop(invite, b"ACK", response.lines[response.ids.index(TO)], ())


def cancel(invite: bytes, extra: Sequence[bytes] = ()) -> bytes:
    """The CANCEL of an INVITE that we sent; `extra` may carry a Reason line (RFC 3326).

    Source: RFC 3261 §9.1.
    """
    return _same_hop(invite, b"CANCEL", b"", extra)


def _same_hop(invite: bytes, method: bytes, to_line: bytes, extra: Sequence[bytes]) -> bytes:
    lines = invite[: invite.index(b"\r\n\r\n")].split(b"\r\n")
    # Our Via is the first line that we write.
    out = [method + lines[0][6:], lines[1]]
    cseq = b""
    is_kept = is_cseq = False
    for line in lines[2:]:
        if line[:1] in (b" ", b"\t"):  # a fold of the line before
            if is_kept:
                out[len(out) - 1] += b"\r\n" + line
            elif is_cseq:
                cseq += line
            continue
        name, _, value = line.partition(b":")
        header = header_id(name)
        is_kept = header == ROUTE or header == FROM or header == CALL_ID or (header == TO and not to_line)
        is_cseq = header == CSEQ
        if is_kept:
            out.append(line)
        elif header == TO:
            out.append(to_line)
        elif is_cseq:
            cseq = value
    out.append(b"CSeq: %d " % int(cseq.split()[0]) + method)
    out.append(b"Max-Forwards: 70")
    out.extend(extra)
    out.append(b"Content-Length: 0\r\n\r\n")
    return b"\r\n".join(out)
