"""Messages on their way through: the lines that must change are changed, the others leave as they came.

Source: RFC 3261 §16.6 (requests), §16.7 (responses).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from switch.call.screen import PLAIN, Screen, with_user
from switch.wire.headers import (
    CONTACT,
    CONTENT_LENGTH,
    FROM,
    MAX_FORWARDS,
    PROXY_AUTHORIZATION,
    ROUTE,
    SCREENED_MIN,
    TO,
    TOUCHED_MAX,
    VIA,
)
from switch.wire.message import Request, Response
from switch.wire.scan import split_commas, unfold

MAX_FORWARDS_FIRST: Final = 70
"""What a request gets that has none (RFC 3261 §16.6 step 3)."""

_MAX_FORWARDS_LINES: Final = [b"Max-Forwards: %d" % hops for hops in range(256)]


class Swap:
    """The caller's number was changed on the way out: From's URI differs on the two sides.

    Both values keep the caller's tag, so the dialog stays one (RFC 3261 §12: tags, not URIs).
    """

    def __init__(self, caller_side: bytes, callee_side: bytes) -> None:
        """Each is a whole header value, tag included."""
        self.caller_side: bytes = caller_side
        self.callee_side: bytes = callee_side


def forward_request(
    request: Request,
    uri: bytes,
    via_line: bytes,
    via_value: bytes,
    *,
    record_routes: Sequence[bytes] = (),
    routes: bytes = b"",
    from_value: bytes = b"",
    to_value: bytes = b"",
    drops_credentials: bool = False,
    screen: Screen = PLAIN,
    body: bytes | None = None,
) -> bytes:
    """The request as it leaves.

    Args:
        via_line: our own Via, a whole line.
        via_value: the value for the Via on top so far, with `received` and `rport` filled in.
        routes: value of the one Route line, or nothing; all Routes that came are left behind.
        from_value, to_value: replacements, where the caller's number differs on the two sides.
        drops_credentials: Proxy-Authorization was for us.
        body: in place of the one that came.
        screen: which headers go on that say who is calling, or are nobody's but the sender's own.
    """
    out = [request.method + b" " + uri + b" SIP/2.0", via_line]
    out.extend(record_routes)
    if routes:
        out.append(b"Route: " + routes)
    has_length = False
    lines = request.lines
    ids = request.ids
    via_index = request.via_index
    for index in range(len(lines)):
        header = ids[index]
        if header > TOUCHED_MAX:
            out.append(lines[index])
        elif header == VIA:
            if index != via_index or via_value == request.via.raw:
                out.append(lines[index])
            else:
                out.append(_replace_first_value(lines[index], via_value))
        elif header == MAX_FORWARDS or header == ROUTE:
            continue
        elif header >= SCREENED_MIN:
            if screen.passes(header, lines[index]):
                out.append(lines[index])
        elif header == FROM and from_value:
            out.append(b"From: " + from_value)
        elif header == TO and to_value:
            out.append(b"To: " + to_value)
        elif header == PROXY_AUTHORIZATION and drops_credentials:
            continue
        elif header == CONTACT and screen.contact_user:
            out.append(with_user(lines[index], screen.contact_user))
        else:
            if header == CONTENT_LENGTH:
                if body is not None:
                    continue
                has_length = True
            out.append(lines[index])
    if screen.identity and request.method == b"INVITE":
        out.append(screen.identity)
    hops = request.max_forwards
    out.append(_MAX_FORWARDS_LINES[hops - 1 if 0 < hops <= 255 else MAX_FORWARDS_FIRST])
    if body is None:
        body = request.body
    if not has_length:
        out.append(b"Content-Length: %d" % len(body))
    out.append(b"")
    out.append(body)
    return b"\r\n".join(out)


def forward_response(
    response: Response,
    *,
    from_value: bytes = b"",
    to_value: bytes = b"",
    screen: Screen = PLAIN,
    body: bytes | None = None,
) -> bytes:
    """The response on its way back: our Via is taken off (RFC 3261 §16.7 step 3)."""
    start = b"SIP/2.0 %d %b" % (response.status, response.reason)
    lines = response.lines
    via_index = response.via_index
    is_whole = body is None and not from_value and not to_value and not response.has_screened()
    if is_whole and response.has(CONTENT_LENGTH):
        out = [start, *lines, b"", response.body]
        rest = _without_first_value(lines[via_index])
        if rest:
            out[via_index + 1] = rest
        else:
            del out[via_index + 1]
        return b"\r\n".join(out)
    out = [start]
    ids = response.ids
    has_length = False
    for index in range(len(lines)):
        header = ids[index]
        if header > TOUCHED_MAX:
            out.append(lines[index])
        elif header == VIA and index == via_index:
            rest = _without_first_value(lines[index])
            if rest:
                out.append(rest)
        elif header >= SCREENED_MIN:
            if screen.passes(header, lines[index]):
                out.append(lines[index])
        elif header == FROM and from_value:
            out.append(b"From: " + from_value)
        elif header == TO and to_value:
            out.append(b"To: " + to_value)
        elif header == CONTACT and screen.contact_user:
            out.append(with_user(lines[index], screen.contact_user))
        else:
            if header == CONTENT_LENGTH:
                if body is not None:
                    continue
                has_length = True
            out.append(lines[index])
    if body is None:
        body = response.body
    if not has_length:
        out.append(b"Content-Length: %d" % len(body))
    out.append(b"")
    out.append(body)
    return b"\r\n".join(out)


def _replace_first_value(line: bytes, value: bytes) -> bytes:
    rest = _without_first_value(line)
    if rest:
        return b"Via: " + value + b"," + rest.partition(b":")[2]
    return b"Via: " + value


def _without_first_value(line: bytes) -> bytes:
    """A Via line without its first value; empty if that was the only one."""
    if 44 not in line:
        return b""
    if 34 not in line and 10 not in line:
        return b"Via: " + line.partition(b",")[2].strip(b" \t")
    # Split as it was when the message was read: a count by any other rule may take a value of the next line.
    own = split_commas(unfold(line.partition(b":")[2]))[1:]
    return b"Via: " + b", ".join(own) if own else b""
