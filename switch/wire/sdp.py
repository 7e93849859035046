"""Session descriptions, as far as codecs go: which are in them, what they take, and how to take some out.

A body is split into lines once and changed only where a codec must go: its number leaves the `m=` line,
its `rtpmap`, `fmtp` and `rtcp-fb` lines leave with it, and every other line stays byte for byte. A
stream of which nothing is left stays in its place with port 0, as RFC 3264 §5.1 and §6 have it. A
description may be one part of several (`multipart`). All here is linear in the body's length. Sources:
RFC 4566, RFC 3264, RFC 3551 §6, RFC 4733.
"""

from __future__ import annotations

from typing import Final

from switch.wire.headers import CONTENT_ENCODING, CONTENT_TYPE
from switch.wire.message import Message
from switch.wire.multipart import is_multipart, media_type, parts_of

SDP: Final = b"application/sdp"

STATIC_CODECS: Final[dict[bytes, str]] = {
    b"0": "PCMU/8000",
    b"3": "GSM/8000",
    b"4": "G723/8000",
    b"5": "DVI4/8000",
    b"6": "DVI4/16000",
    b"7": "LPC/8000",
    b"8": "PCMA/8000",
    b"9": "G722/8000",
    b"10": "L16/44100",
    b"11": "L16/44100",
    b"12": "QCELP/8000",
    b"13": "CN/8000",
    b"14": "MPA/90000",
    b"15": "G728/8000",
    b"16": "DVI4/11025",
    b"17": "DVI4/22050",
    b"18": "G729/8000",
    b"19": "CN/8000",
    b"25": "CelB/90000",
    b"26": "JPEG/90000",
    b"28": "nv/90000",
    b"31": "H261/90000",
    b"32": "MPV/90000",
    b"33": "MP2T/90000",
    b"34": "H263/90000",
}
"""RFC 3551 tables 4 and 5, the payload types that need no rtpmap; 19 is the old comfort noise."""

COMPANIONS: Final = (b"telephone-event", b"cn")
"""They carry digits and silence beside a codec: they make no call by themselves, and go with none."""

_ALIASES: Final[dict[bytes, bytes]] = {
    b"alaw": b"pcma",
    b"g711a": b"pcma",
    b"g711alaw": b"pcma",
    b"ulaw": b"pcmu",
    b"mulaw": b"pcmu",
    b"g711u": b"pcmu",
    b"g711ulaw": b"pcmu",
    b"g7231": b"g723",
    b"g729a": b"g729",
    b"g729b": b"g729",
    b"g729ab": b"g729",
}

BITS_PER_S: Final[dict[bytes, int]] = {
    b"pcmu": 64_000,
    b"pcma": 64_000,
    b"g722": 64_000,
    b"g721": 32_000,
    b"g723": 6_400,
    b"g726-16": 16_000,
    b"g726-24": 24_000,
    b"g726-32": 32_000,
    b"g726-40": 40_000,
    b"g728": 16_000,
    b"g729": 8_000,
    b"gsm": 13_200,
    b"gsm-efr": 12_400,
    b"ilbc": 15_200,
    b"amr": 12_800,
    b"amr-wb": 24_400,
    b"evs": 24_400,
    b"opus": 64_000,
    b"speex": 24_600,
    b"silk": 40_000,
    b"lpc": 5_600,
    b"qcelp": 13_200,
    b"dvi4": 32_000,
    b"t38": 14_400,
}
"""What a codec sends at most one way, without packets' headers, as commonly configured."""
UNKNOWN_BITS_PER_S: Final = 64_000
VIDEO_BITS_PER_S: Final = 512_000
"""Of a video stream that does not say (`b=AS`)."""
PACKET_BITS: Final = 320
"""IPv4, UDP and RTP headers of one packet: 40 bytes."""
PTIME_MS: Final = 20
PTIME_MS_MIN: Final = 5
PTIME_MS_MAX: Final = 200
_LONG_FRAMES: Final = (b"g723", b"ilbc")
"""30 ms of speech a packet by default."""

_BY_FORMAT: Final = (b"rtpmap", b"fmtp", b"rtcp-fb", b"imageattr", b"framesize")
"""Attributes that begin with the number of the payload that they are about."""


class CodecList:
    """Allowed codecs, compiled: names in any case, with or without their clock rate (`opus/48000`)."""

    def __init__(self, names: tuple[str, ...]) -> None:
        found: list[bytes] = []
        for text in names:
            name, slash, rest = text.encode("ascii", "replace").partition(b"/")
            bare = canonical(name)
            if bare == b"g711":
                found += [b"pcma", b"pcmu"]
            else:
                found.append(bare + b"/" + rest.partition(b"/")[0] if slash else bare)
        self._names: frozenset[bytes] = frozenset(found)

    def allows(self, codec: Codec) -> bool:
        names = self._names
        return codec.name in names or codec.name + b"/" + codec.clock in names


class Codec:
    """One format of a stream: `name` as `canonical`, empty where nobody says; `clock` in digits."""

    def __init__(self, number: bytes, name: bytes, clock: bytes) -> None:
        self.number: bytes = number
        self.name: bytes = name
        self.clock: bytes = clock


class Stream:
    """One `m=` line with what belongs to it, lines `start` to before `end`."""

    def __init__(self, start: int, words: list[bytes]) -> None:
        self.start: int = start
        self.end: int = start + 1
        self.words: list[bytes] = words
        """Kind, port, protocol, formats."""
        self.names: dict[bytes, bytes] = {}
        """What `rtpmap` says of each number; of two that differ nothing can be said, and it is empty."""
        self.ptime_ms: int = 0
        self.kbps: int = 0
        """`b=AS`; 0: none."""

    def has_codecs(self) -> bool:
        """Whether it is in use and its formats are codecs: RTP, or fax over UDPTL."""
        words = self.words
        if len(words) < 4 or words[1].partition(b"/")[0].strip(b"0") == b"":
            return False
        return b"RTP/" in words[2].upper() or words[0] == b"image"

    def codecs(self) -> list[Codec]:
        found: list[Codec] = []
        is_rtp = b"RTP/" in self.words[2].upper()
        for number in self.words[3:]:
            text = self.names.get(number)
            if text is None:
                text = STATIC_CODECS.get(number, "").encode("ascii") if is_rtp else number
            name, _, rest = text.partition(b"/")
            found.append(Codec(number, canonical(name), rest.partition(b"/")[0].strip()))
        return found


class Kept:
    """What is left of a description."""

    def __init__(self, body: bytes, has_codec: bool) -> None:
        self.body: bytes = body
        """The very body that came, where nothing had to go."""
        self.has_codec: bool = has_codec
        """False: it had streams with codecs, and none of them has one left."""


_known: Final[dict[tuple[str, ...], CodecList]] = {}
_KNOWN_MAX: Final = 4_096


def codec_list(names: tuple[str, ...]) -> CodecList | None:
    """The list compiled, once for all that are alike; None for an empty one, which allows everything."""
    if not names:
        return None
    found = _known.get(names)
    if found is None:
        if len(_known) >= _KNOWN_MAX:
            _known.clear()
        found = _known[names] = CodecList(names)
    return found


def canonical(name: bytes) -> bytes:
    """A codec's name in the one spelling that names are compared in."""
    bare = name.strip().lower().replace(b".", b"")
    return _ALIASES.get(bare, bare)


def body_type(message: Message) -> bytes:
    """Content-Type of a body that can be read; empty where there is no body, or a compressed one."""
    if not message.body:
        return b""
    kind = message.first(CONTENT_TYPE)
    if kind is None:
        return b""
    encoding = message.first(CONTENT_ENCODING)
    return kind if encoding is None or encoding.lower() == b"identity" else b""


def is_sdp(kind: bytes) -> bool:
    """Whether a Content-Type says that a body is a session description and nothing else."""
    return kind == SDP or media_type(kind) == SDP


def description(message: Message) -> bytes:
    """The session description in a body, or all those in one of several parts; empty where none can be read."""
    kind = body_type(message)
    if not kind:
        return b""
    if is_sdp(kind):
        return message.body
    return b"\r\n".join(parts_of(message.body, kind, SDP)) if is_multipart(kind) else b""


def offer_of(names: tuple[str, ...]) -> bytes:
    """A description that offers these codecs; empty for none."""
    if not names:
        return b""
    numbers = [b"%d" % (96 + index) for index in range(len(names))]
    lines = [b"m=audio 9 RTP/AVP " + b" ".join(numbers)]
    for number, name in zip(numbers, names, strict=True):
        text = name.encode("ascii", "replace")
        lines.append(b"a=rtpmap:" + number + b" " + (text if b"/" in text else text + b"/8000"))
    return b"\r\n".join([*lines, b""])


def codec_names(body: bytes) -> str:
    """The codecs of all streams in use, in canonical spelling, for people."""
    found: list[str] = []
    for stream in _streams(body.split(b"\n")):
        if stream.has_codecs():
            found += [codec.name.decode("ascii", "replace") for codec in stream.codecs()]
    return ", ".join(found)


def keep_codecs(body: bytes, allowed: CodecList) -> Kept:
    """Take out every codec that is not allowed."""
    lines = body.split(b"\n")
    streams = _streams(lines)
    had_codec = has_codec = is_changed = False
    for stream in streams:
        if not stream.has_codecs():
            continue
        codecs = stream.codecs()
        kept = _kept(codecs, allowed)
        had_codec = True
        if not kept:
            is_changed = True
            words = stream.words
            _put(lines, stream.start, b"m=" + b" ".join([words[0], b"0", *words[2:]]))
            continue
        has_codec = True
        if len(kept) < len(codecs):
            is_changed = True
            _take_out(lines, stream, kept)
    if not is_changed:
        return Kept(body, has_codec or not had_codec)
    return Kept(b"\n".join([line for line in lines if line is not _GONE]), has_codec)


def kbps_of(body: bytes, allowed: CodecList | None) -> int:
    """Kilobits a second that the description's streams take at most, one way, with packets' headers.

    Of each stream the most demanding codec that is allowed; streams add up.
    """
    total = 0
    for stream in _streams(body.split(b"\n")):
        if not stream.has_codecs():
            continue
        if stream.words[0] == b"video":
            total += stream.kbps or VIDEO_BITS_PER_S // 1000
            continue
        most = 0
        for codec in stream.codecs():
            if codec.name not in COMPANIONS and (allowed is None or allowed.allows(codec)):
                most = max(most, codec_kbps(codec.name, codec.clock, stream.ptime_ms))
        total += most
    return total


def codec_kbps(name: bytes, clock: bytes = b"", ptime_ms: int = 0) -> int:
    """Kilobits a second of one stream, rounded up: the codec's own rate and 320 bits a packet.

    Args:
        name: as `canonical`.
        ptime_ms: 0: the codec's own usual time.
    """
    if name == b"l16" and clock.isdigit() and len(clock) <= 6:
        bits = 16 * int(clock)
    else:
        bits = BITS_PER_S.get(name, UNKNOWN_BITS_PER_S)
    if not ptime_ms:
        ptime_ms = 30 if name in _LONG_FRAMES else PTIME_MS
    ptime_ms = max(PTIME_MS_MIN, min(ptime_ms, PTIME_MS_MAX))
    # Bits a second, then up to whole kilobits.
    return -(-(bits * ptime_ms + PACKET_BITS * 1000) // (ptime_ms * 1000))


_GONE: Final = bytes(bytearray(b"gone"))
"""Stands for a line that was taken out; known by identity alone, so that no line of a peer's can be it."""


def _streams(lines: list[bytes]) -> list[Stream]:
    found: list[Stream] = []
    stream: Stream | None = None
    for index in range(len(lines)):
        line = lines[index]
        start = line[:2]
        if start == b"m=":
            stream = Stream(index, line[2:].split())
            found.append(stream)
        elif stream is not None:
            stream.end = index + 1
            if start == b"a=":
                _read_attribute(stream, line)
            elif line[:5] == b"b=AS:":
                digits = line[5:].strip()
                if digits.isdigit() and len(digits) <= 7:
                    stream.kbps = int(digits)
    return found


def _read_attribute(stream: Stream, line: bytes) -> None:
    if line[:9] == b"a=rtpmap:":
        number, _, name = line[9:].strip().partition(b" ")
        name = name.strip()
        before = stream.names.get(number)
        stream.names[number] = name if before is None or before == name else b""
    elif line[:8] == b"a=ptime:":
        digits = line[8:].strip()
        if digits.isdigit() and len(digits) <= 4:
            stream.ptime_ms = int(digits)


def _kept(codecs: list[Codec], allowed: CodecList) -> list[Codec]:
    """Allowed codecs with their companions, in the order that they had; nothing without a codec.

    A companion has its codec's clock (RFC 4733 §2.1). One of another clock stays only where it is all
    that there is of its kind: digits at an odd clock are better than none.
    """
    clocks: set[bytes] = set()
    for codec in codecs:
        if codec.name not in COMPANIONS and allowed.allows(codec):
            clocks.add(codec.clock)
    if not clocks:
        return []
    fitting: set[bytes] = set()
    for codec in codecs:
        if codec.name in COMPANIONS and codec.clock in clocks:
            fitting.add(codec.name)
    kept: list[Codec] = []
    for codec in codecs:
        if codec.name in COMPANIONS:
            if codec.clock in clocks or codec.name not in fitting:
                kept.append(codec)
        elif allowed.allows(codec):
            kept.append(codec)
    return kept


def _take_out(lines: list[bytes], stream: Stream, kept: list[Codec]) -> None:
    numbers = [codec.number for codec in kept]
    left = set(numbers)
    gone = set(stream.words[3:]) - left
    _put(lines, stream.start, b"m=" + b" ".join([*stream.words[:3], *numbers]))
    for index in range(stream.start + 1, stream.end):
        line = lines[index]
        if line[:2] != b"a=":
            continue
        name, colon, value = line[2:].partition(b":")
        if colon and name in _BY_FORMAT and value.split(b" ", 1)[0].strip() in gone:
            lines[index] = _GONE


def _put(lines: list[bytes], index: int, line: bytes) -> None:
    """Replace a line, with the line end that it had."""
    lines[index] = line + b"\r" if lines[index][-1:] == b"\r" else line
