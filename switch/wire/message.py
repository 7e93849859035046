"""Messages: bytes to header lines, and the few values that every message is read by (RFC 3261 §7).

A message is split by CRLF once. Its lines stay as they came, so that a proxy forwards by joining
them again; what most messages are never asked for is decoded when asked. The forms that nearly
all peers send are read with a handful of bytes methods; whatever differs goes to the general
readers (`name_addr`, `via`), which decide alone what is right.
"""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64, mypyc_attr

from switch.wire.errors import ParseError as ParseError
from switch.wire.headers import (
    AUTHORIZATION,
    CALL_ID,
    CONTACT,
    CONTENT_LENGTH,
    CSEQ,
    FROM,
    MAX_FORWARDS,
    PROXY_AUTHORIZATION,
    SCREENED_MIN,
    SPELLINGS,
    TO,
    VIA,
    X_HEADER,
    slow_header_id,
)
from switch.wire.limits import DEFAULT_LIMITS, Limits
from switch.wire.name_addr import NameAddr
from switch.wire.scan import TOKEN, TOKEN_BYTES, end_of_quoted, is_token, refusing, split_commas, split_outside, unfold
from switch.wire.uri import URI_BYTES, Uri, parse_uri
from switch.wire.via import Via, unreadable_via

KNOWN_METHODS: Final[dict[bytes, bytes]] = {
    method: method
    for method in (
        b"INVITE",
        b"ACK",
        b"BYE",
        b"CANCEL",
        b"OPTIONS",
        b"REGISTER",
        b"PRACK",
        b"UPDATE",
        b"INFO",
        b"REFER",
        b"MESSAGE",
        b"SUBSCRIBE",
        b"NOTIFY",
        b"PUBLISH",
    )
}

_CALL_ID: Final = refusing(bytes(range(33, 127)))
_PLAIN_URI: Final = refusing(URI_BYTES.replace(b"[", b"").replace(b"]", b""))
_PLAIN_DISPLAY: Final = refusing(TOKEN_BYTES + b" ")
_NUMBERS: Final[dict[bytes, int]] = {b"%d" % number: number for number in range(1_500)}
"""What most counts are: a look-up takes half the time of reading digits."""
_NO_VIA: Final = Via(b"")

MASKED_MAX: Final = 62
"""What a mask in one machine word has room for, beside the bit for the header that nobody knows."""


_SCREENED: Final[i64] = (1 << (X_HEADER + 1)) - (1 << SCREENED_MIN)


def _bit(header: int) -> i64:
    """Of plain integers: mypyc writes `i64(1) << n` with C's 32 bits of an `int`, and wraps from header 32 on."""
    return i64(1 << header)


class Message:
    """What requests and responses share.

    `lines` are the header lines without their final CRLF, a folded one whole with its CRLFs
    inside; `ids` says for each which header it is (`headers.py`). `via` is the first Via value,
    on line `via_index`; `via_count` counts all values. Tags are b"" where there is none.
    """

    __slots__ = (
        "body",
        "call_id",
        "cseq",
        "cseq_method",
        "data",
        "from_tag",
        "ids",
        "lines",
        "mask",
        "read",
        "to_tag",
        "via",
        "via_count",
        "via_index",
    )

    def __init__(self, data: bytes, lines: list[bytes], body: bytes) -> None:
        self.data: bytes = data
        self.lines: list[bytes] = lines
        self.ids: list[int] = []
        self.mask: i64 = 0
        """A bit for each header below `MASKED_MAX` that is there: most questions are for one that is not."""
        self.read: list[Line] = []
        """What each line says; empty where no more than a reply can be made of the message."""
        self.body: bytes = body
        self.call_id: bytes = b""
        self.cseq: int = 0
        self.cseq_method: bytes = b""
        self.from_tag: bytes = b""
        self.to_tag: bytes = b""
        self.via: Via = _NO_VIA
        self.via_index: int = -1
        self.via_count: int = 0

    def has(self, hid: int) -> bool:
        """Whether a line of this header is there."""
        if hid < MASKED_MAX:
            bits: i64 = self.mask >> i64(hid)
            return bits & 1 != 0
        return hid in self.ids

    def has_screened(self) -> bool:
        """Whether a line is there that may not pass from one side of a call to the other."""
        return self.mask & _SCREENED != 0

    def note(self, hid: int) -> None:
        """A line of this header has been added."""
        self.ids.append(hid)
        if hid < MASKED_MAX:
            self.mask |= _bit(hid)

    def note_dropped(self, hid: int) -> None:
        """Every line of this header has been taken out."""
        if hid < MASKED_MAX:
            self.mask &= ~_bit(hid)

    def first(self, hid: int) -> bytes | None:
        """The value of the first line of a header, unfolded and stripped; None where it is missing."""
        if not self.has(hid):
            return None
        return self._value(self.ids.index(hid), hid)

    def all(self, hid: int) -> list[bytes]:
        """Every value of a header, in order, comma lists split (RFC 3261 §7.3.1).

        For headers whose grammar is a comma list; for Authorization and its kin, `each`.

        Raises:
            ParseError: a quoted string or `<` has no end.
        """
        values: list[bytes] = []
        if self.has(hid):
            for value in self.each(hid):
                values.extend(split_commas(value))
        return values

    def each(self, hid: int) -> list[bytes]:
        """The value of every line of a header, unfolded and whole: for headers that are no comma lists."""
        found: list[bytes] = []
        if self.has(hid):
            ids = self.ids
            for index in range(len(ids)):
                if ids[index] == hid:
                    found.append(self._value(index, hid))
        return found

    def _value(self, index: int, hid: int) -> bytes:
        if VIA < hid <= AUTHORIZATION and self.read:
            return self.read[index].text
        return unfold(self.lines[index].partition(b":")[2])

    def from_value(self) -> bytes:
        return self.first(FROM) or b""

    def to_value(self) -> bytes:
        return self.first(TO) or b""

    def from_uri(self) -> bytes:
        """The URI of From, without its brackets.

        Raises:
            ParseError: From breaks the grammar.
        """
        if self.read:
            uri = self.read[self.ids.index(FROM)].uri
            if uri:
                return uri
        return NameAddr.parse(self.from_value()).uri


class Request(Message):
    """`uri` is the Request-URI as it came, `target` the same taken apart; `max_forwards` is -1 where it is missing."""

    __slots__ = ("max_forwards", "method", "target", "uri")

    def __init__(self, data: bytes, lines: list[bytes], body: bytes, method: bytes, target: Uri) -> None:
        super().__init__(data, lines, body)
        self.method: bytes = method
        self.uri: bytes = target.raw
        self.target: Uri = target
        self.max_forwards: int = -1


class Response(Message):
    __slots__ = ("reason", "status")

    def __init__(self, data: bytes, lines: list[bytes], body: bytes, status: int, reason: bytes) -> None:
        super().__init__(data, lines, body)
        self.status: int = status
        self.reason: bytes = reason


def parse_message(data: bytes, limits: Limits = DEFAULT_LIMITS) -> Request | Response:
    """Read one whole message: a datagram, or what `framing` cut from a stream.

    Octets after Content-Length are cut off (RFC 3261 §18.3).

    Raises:
        ParseError: no SIP, or SIP that breaks RFC 3261 §7 and §25 where it matters to us.
    """
    try:
        return _parse(data, limits)
    except ParseError as error:
        if error.request is None:
            error.request = salvage(data, limits)
        raise


def _parse(data: bytes, limits: Limits) -> Request | Response:
    if data[:2] == b"\r\n":
        data = data.lstrip(b"\r\n")  # RFC 3261 §7.5
    head, blank_line, body = data.partition(b"\r\n\r\n")
    if not blank_line:
        raise ParseError("header section without end")
    head_bytes = len(head)
    if head_bytes > limits.header_bytes_max:
        raise ParseError("header section too large", 513)
    lines = head.split(b"\r\n")
    breaks = len(lines) - 1
    if breaks > limits.header_lines_max:
        raise ParseError("too many header lines", 513)
    if head_bytes > limits.line_bytes_max and max(map(len, lines)) > limits.line_bytes_max:
        raise ParseError("line too long", 513)
    # A lone CR or LF ends a line for some readers and not for others: no header may hide behind one.
    bare = b"".join(lines)
    if 10 in bare or 13 in bare:
        raise ParseError("CR or LF alone")
    start = lines.pop(0)
    message: Request | Response
    if start[:4] == b"SIP/":
        message = _start_response(data, lines, body, start)
    else:
        message = _start_request(data, lines, body, start)
    try:
        _read_headers(message, limits, False)
    except ParseError:
        # Folded headers are rare: they are looked for only where the plain reading has failed, as it
        # must at a line that begins with a blank.
        if not lines or min(lines) >= b"!":
            raise
        message.lines = _fold(lines, limits)
        message.ids = []
        message.mask = 0
        message.read = []
        message.via_index = -1
        message.via_count = 0
        _read_headers(message, limits, True)
    return message


def _start_request(data: bytes, lines: list[bytes], body: bytes, start: bytes) -> Request:
    words = start.split(b" ")
    if len(words) != 3:
        raise ParseError("bad request line")
    method, uri, version = words
    if method not in KNOWN_METHODS and not is_token(method):
        raise ParseError("bad method")
    if version != b"SIP/2.0" and version.upper() != b"SIP/2.0":
        raise _bad_version(version)
    target = parse_uri(uri)
    if target.headers:
        raise ParseError("headers in the Request-URI")  # RFC 3261 §19.1.1, table 1
    return Request(data, lines, body, method, target)


def _bad_version(version: bytes) -> ParseError:
    name, slash, number = version.partition(b"/")
    if slash and name.upper() == b"SIP" and number.replace(b".", b"", 1).isdigit():
        return ParseError("SIP version not supported", 505)
    return ParseError("bad request line")


def _start_response(data: bytes, lines: list[bytes], body: bytes, start: bytes) -> Response:
    # The blank before an empty reason phrase is often left out.
    if start[:8] != b"SIP/2.0 " or not start[8:11].isdigit() or start[11:12] not in (b" ", b""):
        raise ParseError("bad status line")
    status = int(start[8:11])
    if status < 100 or status > 699:
        raise ParseError("bad status code")
    return Response(data, lines, body, status, start[12:])


@mypyc_attr(acyclic=True)
class Line:
    """What one header line says, as far as every message is read for it.

    `value` is the tag of From and To, the Call-ID, or the method of CSeq; `number` that of CSeq,
    Max-Forwards or Content-Length; `vias` counts the values of a Via line, and `via` is the first
    of them, once it has been asked for.
    """

    __slots__ = ("bit", "header", "is_checked", "number", "text", "uri", "value", "via", "vias")

    def __init__(self, header: int, text: bytes) -> None:
        self.header: int = header
        self.bit: i64 = _bit(header) if header < MASKED_MAX else 0
        self.text: bytes = text
        """What stands behind the colon, unfolded and stripped; of a Via line the first value."""
        self.value: bytes = b""
        self.uri: bytes = b""
        """Of a plainly written From or To."""
        self.number: int = -1
        self.vias: int = 0
        self.via: Via | None = None
        self.is_checked: bool = False
        """Contact and Max-Forwards are only held against the grammar in requests."""


LINES_MAX: Final = 1_024
LINE_BYTES_MAX: Final = 256
"""Lines that have been read are remembered, two generations of so many of at most this length. Of
the lines of a call most have been seen: in the message before, or in the last call of the trunk. More
would be remembered outside the processor's caches, where reading again costs less than looking up."""


class _Memory:
    """Lines read lately. Full, the young generation becomes the old one, which is forgotten: what is
    asked for again moves back, so that the lines of every call stay and those of one call go."""

    def __init__(self) -> None:
        self.young: dict[bytes, Line] = {}
        self.old: dict[bytes, Line] = {}

    def find(self, raw: bytes) -> Line:
        """The line as read before, or read now.

        Raises:
            ParseError: it breaks the grammar; it is not remembered then.
        """
        line = self.old.get(raw)
        if line is None:
            line = _read_line(raw, False)
            # Answers to challenges come once, and are nobody's business afterwards.
            if len(raw) > LINE_BYTES_MAX or line.header in (PROXY_AUTHORIZATION, AUTHORIZATION):
                return line
        if len(self.young) >= LINES_MAX:
            self.old = self.young
            self.young = {}
        self.young[raw] = line
        return line


_memory: Final = _Memory()


def _read_headers(message: Message, limits: Limits, is_folded: bool) -> None:
    """Fill in ids and values.

    Raises:
        ParseError: as `parse_message`.
    """
    memory = _memory
    young = memory.young
    ids = message.ids
    read = message.read
    is_request = isinstance(message, Request)
    content_length = -1
    max_forwards = -1
    top: Line | None = None
    vias = 0
    seen: i64 = 0
    mask: i64 = 0
    for raw in message.lines:
        line = None if is_folded else young.get(raw)
        if line is None:
            if is_folded:
                line = _read_line(raw, True)
            else:
                line = memory.find(raw)
                young = memory.young
        hid = line.header
        bit = line.bit
        mask |= bit
        ids.append(hid)
        read.append(line)
        if hid > AUTHORIZATION:
            continue
        if hid == VIA:
            vias += line.vias
            if top is None:
                top = line
                message.via_index = len(ids) - 1
            continue
        if hid == FROM:
            message.from_tag = line.value
        elif hid == TO:
            message.to_tag = line.value
        elif hid == CALL_ID:
            message.call_id = line.value
        elif hid == CSEQ:
            message.cseq = line.number
            message.cseq_method = line.value
        elif hid == CONTENT_LENGTH:
            content_length = line.number
        else:
            if is_request and not line.is_checked:
                _check_for_request(line)
            if hid != MAX_FORWARDS:
                continue  # Contact, Route and their like: more than one may come
            max_forwards = line.number
        if seen & bit:
            raise ParseError("header comes twice")
        seen |= bit
    message.mask = mask
    if seen & _MANDATORY != _MANDATORY or top is None:
        raise ParseError("mandatory header missing")
    if vias > limits.vias_max:
        raise ParseError("too many Vias", 513)
    message.via_count = vias
    via = top.via
    if via is None:
        via = top.via = Via.parse(top.text)
    message.via = via
    if isinstance(message, Request):
        message.max_forwards = max_forwards
        if message.cseq_method != message.method:
            raise ParseError("CSeq names another method")
    size = len(message.body)
    if content_length >= 0:
        if size > content_length:
            message.body = message.body[:content_length]
            size = content_length
        elif size < content_length:
            raise ParseError("body shorter than Content-Length")
    if size > limits.body_bytes_max:
        raise ParseError("body too large", 413)


def _read_line(raw: bytes, is_folded: bool) -> Line:
    name, colon, value = raw.partition(b":")
    hid = SPELLINGS.get(name, -1)
    if hid < 0:
        hid = slow_header_id(name)
    if not colon:
        raise ParseError("header line without colon")
    if hid > AUTHORIZATION:
        return Line(hid, b"")
    value = unfold(value) if is_folded else _stripped(value)
    line = Line(hid, value)
    if hid == VIA:
        line.vias = 1
        if 44 in value:
            # No empty values here: where responses go is no place for a guess.
            if 34 in value or 60 in value:
                values = split_outside(value, 44, True)
            else:
                values = value.split(b",")
                values[0] = values[0].rstrip(b" \t")
            for piece in values:
                if not piece or piece.isspace():
                    raise ParseError("empty Via")
            line.vias = len(values)
            line.text = values[0]
    elif hid == FROM or hid == TO:
        if not _read_plain_address(line, value):
            line.value = NameAddr.parse(value).tag
    elif hid == CALL_ID:
        if not value or 0 in value.translate(_CALL_ID):
            raise ParseError("bad Call-ID")
        line.value = value
    elif hid == CSEQ:
        _read_cseq(line, value)
    elif hid == CONTENT_LENGTH:
        line.number = read_content_length(value)
    elif hid in (PROXY_AUTHORIZATION, AUTHORIZATION):
        _check_quotes(value)
    return line


def _check_for_request(line: Line) -> None:
    if line.header == CONTACT:
        _check_contact(line.text)
    elif line.header == MAX_FORWARDS:
        line.number = _max_forwards(line.text)
    line.is_checked = True


def _stripped(value: bytes) -> bytes:
    if len(value) > 1 and value[0] == 32 and value[1] > 32 and value[-1] > 32:
        return value[1:]  # one blank after the colon, as nearly everybody writes
    return value.strip(b" \t")


_MANDATORY: Final[i64] = 1 << FROM | 1 << TO | 1 << CALL_ID | 1 << CSEQ


def _fold(lines: list[bytes], limits: Limits) -> list[bytes]:
    """Join lines that begin with a blank to the one before, CRLF and all (RFC 3261 §7.3.1)."""
    groups: list[list[bytes]] = []
    for line in lines:
        if line[:1] in (b" ", b"\t"):
            if not groups:
                raise ParseError("fold before the first header")
            groups[-1].append(line)
        else:
            groups.append([line])
    folded = [group[0] if len(group) == 1 else b"\r\n".join(group) for group in groups]
    if max(map(len, folded)) > limits.line_bytes_max:
        raise ParseError("line too long", 513)
    return folded


def read_content_length(value: bytes) -> int:
    """Digits alone, at most nine of them: longer ones overflow somebody's counter (RFC 3261 §20.14).

    Raises:
        ParseError: anything else.
    """
    number = _NUMBERS.get(value, -1)
    if number >= 0:
        return number
    if not value.isdigit() or len(value) > 9:
        raise ParseError("bad Content-Length")
    return int(value)


def _max_forwards(value: bytes) -> int:
    number = _NUMBERS.get(value, -1)
    if number < 0:
        if not value.isdigit() or len(value) > 9:
            raise ParseError("bad Max-Forwards")
        number = int(value)
    if number > 255:
        raise ParseError("bad Max-Forwards")
    return number


def _read_cseq(line: Line, value: bytes) -> None:
    number, _, method = value.partition(b" ")
    cseq = _NUMBERS.get(number, -1)
    if cseq >= 0 and method in KNOWN_METHODS:
        line.number = cseq
        line.value = method
        return
    if not number.isdigit() or len(number) > 10 or method not in KNOWN_METHODS:
        words = value.replace(b"\t", b" ").split()
        if len(words) != 2 or not words[0].isdigit() or len(words[0]) > 20 or not is_token(words[1]):
            raise ParseError("bad CSeq")
        number, method = words
    line.number = int(number)
    line.value = method
    if line.number > 0xFFFF_FFFF:  # RFC 3261 §8.1.1.5: 32 bits
        raise ParseError("CSeq too large")


def _read_plain_address(line: Line, value: bytes) -> bool:
    """Read URI and tag of `[display] <sip:…>[;tag=…]`; False where the general reader must look.

    Whatever this accepts, `NameAddr.parse` reads the same way.
    """
    display, _left, rest = value.partition(b"<")
    uri, right, tail = rest.partition(b">")
    if not right or uri[:4] != b"sip:" or len(uri) < 5 or 0 in uri.translate(_PLAIN_URI):
        return False
    if display and 0 in display.translate(_PLAIN_DISPLAY):
        name = display.rstrip(b" ")
        if name[:1] != b'"' or name[-1:] != b'"' or len(name) < 2 or name.count(b'"') != 2 or 92 in name:
            return False
    if tail:
        if tail[:5] != b";tag=":
            return False
        tag = tail[5:]
        if not tag or 0 in tag.translate(TOKEN):
            return False
        line.value = tag
    line.uri = uri
    return True


def plain_tag(value: bytes) -> bytes | None:
    """The tag of a From or To value in its usual form, b"" for none; None where the general reader must look."""
    line = Line(FROM, value)
    return line.value if _read_plain_address(line, value) else None


def _check_contact(value: bytes) -> None:
    if value[:1] == b"<" and 34 not in value and 91 not in value and value.find(b">") == len(value) - 1:
        return
    if value == b"*":
        return
    for piece in split_commas(value):
        NameAddr.parse(piece)


def _check_quotes(value: bytes) -> None:
    at = value.find(b'"')
    while at >= 0:
        at = value.find(b'"', end_of_quoted(value, at))


def salvage(data: bytes, limits: Limits) -> Request | None:
    """What a reply to a broken request can be made from; None where there shall be no reply.

    Holds only the lines that a reply mirrors, as raw as they came. An ACK is never answered
    (RFC 3261 §17), nor is a request cut off before it named its dialog.
    """
    head, blank_line, _ = data[: limits.header_bytes_max].lstrip(b"\r\n").partition(b"\r\n\r\n")
    pieces = head.split(b"\r\n", limits.header_lines_max + 1)
    if not blank_line or len(pieces) > limits.header_lines_max + 1:
        pieces.pop()
    words = pieces[0].split() if pieces else []
    if len(words) < 2 or words[0] == b"ACK" or not is_token(words[0]) or words[-1][:4].upper() != b"SIP/":
        return None
    method = words[0] if words[0] not in KNOWN_METHODS else KNOWN_METHODS[words[0]]
    try:
        target = parse_uri(words[1])
    except ParseError:
        target = Uri(words[1], b"")
    request = Request(data, [], b"", method, target)
    _salvage_lines(request, pieces[1:], limits)
    if request.via_index < 0 or not (blank_line or _has_mandatory(request)):
        return None
    return request


def _has_mandatory(request: Request) -> bool:
    ids = request.ids
    return FROM in ids and TO in ids and CALL_ID in ids and CSEQ in ids


def _salvage_lines(request: Request, pieces: list[bytes], limits: Limits) -> None:
    groups: list[bytearray] = []
    for piece in pieces:
        if piece[:1] in (b" ", b"\t") and groups:
            groups[-1] += b"\r\n"
            groups[-1] += piece
        else:
            groups.append(bytearray(piece))
    for group in groups:
        line = bytes(group)
        name, colon, rest = line.partition(b":")
        try:
            hid = slow_header_id(name)
        except ParseError:
            continue
        breaks = line.count(b"\r\n")
        is_broken = line.count(b"\n") != breaks or line.count(b"\r") != breaks
        if not colon or hid > CSEQ or is_broken or len(line) > limits.line_bytes_max:
            continue
        if hid != VIA and hid in request.ids:
            continue
        request.lines.append(line)
        request.note(hid)
        _salvage_value(request, hid, unfold(rest))


def _salvage_value(request: Request, hid: int, value: bytes) -> None:
    try:
        if hid == VIA:
            request.via_count += 1
            if request.via_index < 0:
                request.via_index = len(request.ids) - 1
                request.via = unreadable_via(value)
                request.via = Via.parse(split_commas(value)[0])
        elif hid == FROM:
            request.from_tag = NameAddr.parse(value).tag
        elif hid == TO:
            request.to_tag = NameAddr.parse(value).tag
        elif hid == CALL_ID:
            request.call_id = value
        elif hid == CSEQ:
            line = Line(hid, value)
            _read_cseq(line, value)
            request.cseq = line.number
            request.cseq_method = line.value
    except (ParseError, IndexError):
        return
