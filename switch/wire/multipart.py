"""Bodies of several parts, as far as finding some of them and changing one goes (RFC 5621, RFC 2046 §5.1).

A part is found by its boundary and cut nowhere else: what is not changed stays byte for byte, preamble,
delimiters and parts alike. A body without a closing delimiter ends its last part, as most receivers
have it. All here is linear in the body's length, times `DEPTH_MAX`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from switch.wire.errors import ParseError
from switch.wire.scan import split_outside, unquote

DEPTH_MAX: Final = 4
"""Multiparts inside multiparts; deeper ones are not looked into. RFC 5621 §3.1 asks for nesting without a depth."""

_PLAIN: Final = (b"", b"identity", b"binary", b"8bit", b"7bit")


def media_type(kind: bytes) -> bytes:
    """Type and subtype of a Content-Type value in lower case, without the blanks that may stand round its slash."""
    name = kind.partition(b";")[0].strip(b" \t").lower()
    return b"".join(name.split()) if 32 in name or 9 in name else name


def is_multipart(kind: bytes) -> bool:
    return media_type(kind)[:10] == b"multipart/"


def parts_of(body: bytes, kind: bytes, wanted: bytes) -> list[bytes]:
    """The contents of all parts of one media type, those of nested multiparts too, in their order.

    Args:
        kind: the body's Content-Type.
        wanted: as `media_type`.
    """
    found: list[bytes] = []

    def note(content: bytes) -> bytes:
        found.append(content)
        return content

    edit_parts(body, kind, wanted, note)
    return found


def edit_parts(body: bytes, kind: bytes, wanted: bytes, edit: Callable[[bytes], bytes]) -> bytes:
    """The body with what `edit` makes of each part of a media type; the very body where that changes none.

    A part that has a Content-Length of its own gets the new one. Compressed and otherwise encoded parts
    are none that can be edited.
    """
    return _edit(body, kind, wanted, edit, DEPTH_MAX)


class Part:
    """One part: `head` to before `start` are its header lines, then to before `end` its content."""

    def __init__(self, body: bytes, head: int, end: int) -> None:
        self.head: int = head
        self.start: int = end
        self.end: int = end
        self.kind: bytes = b""
        """Content-Type, unfolded; empty where there is none, which is plain text (RFC 2046 §5.1)."""
        self.is_encoded: bool = False
        self.length_at: int = -1
        """Where the value of its own Content-Length begins; -1: it has none, as most."""
        self.length_end: int = -1
        self._read(body)

    def _read(self, body: bytes) -> None:
        at = self.head
        name = b""
        kind: list[bytes] = []
        while at < self.end:
            after = body.find(b"\n", at, self.end) + 1
            if after == 0:
                after = self.end
            line = body[at:after].rstrip(b"\r\n")
            if not line:
                self.start = after
                break
            if line[:1] in (b" ", b"\t"):
                if name in (b"content-type", b"c"):
                    kind.append(line.strip(b" \t"))
            else:
                name, _, value = line.partition(b":")
                value_at = at + len(name) + 1
                name = name.rstrip(b" \t").lower()
                value = value.strip(b" \t")
                if name in (b"content-type", b"c"):
                    kind = [value]
                elif name in (b"content-encoding", b"e", b"content-transfer-encoding"):
                    self.is_encoded = self.is_encoded or value.lower() not in _PLAIN
                elif name in (b"content-length", b"l"):
                    self.length_at = value_at
                    self.length_end = at + len(line)
            at = after
        self.kind = b" ".join(kind)


def _edit(body: bytes, kind: bytes, wanted: bytes, edit: Callable[[bytes], bytes], depth: int) -> bytes:
    boundary = _boundary(kind)
    if not boundary or depth == 0:
        return body
    pieces: list[bytes] = []
    copied = 0
    for part in _parts(body, boundary):
        if part.is_encoded:
            continue
        name = media_type(part.kind)
        content = body[part.start : part.end]
        if name == wanted:
            made = edit(content)
        elif name[:10] == b"multipart/":
            made = _edit(content, part.kind, wanted, edit, depth - 1)
        else:
            continue
        if made is content:
            continue
        if part.length_at >= 0:
            pieces += (body[copied : part.length_at], b" %d" % len(made))
            copied = part.length_end
        pieces += (body[copied : part.start], made)
        copied = part.end
    if not pieces:
        return body
    pieces.append(body[copied:])
    return b"".join(pieces)


def _boundary(kind: bytes) -> bytes:
    try:
        params = split_outside(kind, 59, False)
    except ParseError:
        return b""
    for param in params[1:]:
        name, _, value = param.partition(b"=")
        if name.rstrip(b" \t").lower() == b"boundary":
            return unquote(value.strip(b" \t"))
    return b""


def _parts(body: bytes, boundary: bytes) -> list[Part]:
    """Delimiters are whole lines, blanks behind them let pass; what only begins like one is content."""
    mark = b"--" + boundary
    found: list[Part] = []
    head = -1
    at = body.find(mark)
    while at >= 0:
        after = at + len(mark)
        if at == 0 or body[at - 1] == 10:
            line_end = body.find(b"\n", after)
            if line_end < 0:
                line_end = len(body)
            rest = body[after:line_end].strip(b" \t\r")
            if not rest or rest == b"--":
                if head >= 0:
                    found.append(Part(body, head, _content_end(body, head, at)))
                head = -1 if rest else min(line_end + 1, len(body))
                if rest:
                    break
            after = line_end
        at = body.find(mark, after)
    if head >= 0:
        found.append(Part(body, head, len(body)))
    return found


def _content_end(body: bytes, head: int, at: int) -> int:
    """The line end before a delimiter is the delimiter's (RFC 2046 §5.1.1)."""
    end = at
    if end > head and body[end - 1] == 10:
        end -= 1
        if end > head and body[end - 1] == 13:
            end -= 1
    return end
