"""Codecs in session descriptions: what goes, what stays, and what nothing can break."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switch.wire.message import parse_message
from switch.wire.sdp import CodecList, codec_kbps, description, kbps_of, keep_codecs
from tests.fakes.wire import bent

HEAD = (b"v=0", b"o=- 1 1 IN IP4 192.0.2.1", b"s=-", b"c=IN IP4 192.0.2.1", b"t=0 0")
AUDIO = (
    b"m=audio 6000 RTP/AVP 18 8 0 97 101 13",
    b"a=rtpmap:18 G729/8000",
    b"a=fmtp:18 annexb=no",
    b"a=rtpmap:97 opus/48000/2",
    b"a=fmtp:97 useinbandfec=1",
    b"a=rtcp-fb:97 nack",
    b"a=rtcp-fb:* trr-int 100",
    b"a=rtpmap:101 telephone-event/8000",
    b"a=fmtp:101 0-16",
    b"a=ptime:20",
    b"a=sendrecv",
)


def sdp(*lines: bytes, end: bytes = b"\r\n") -> bytes:
    return end.join([*HEAD, *lines, b""])


def kept(body: bytes, *names: str) -> bytes:
    return keep_codecs(body, CodecList(names)).body


def test_a_codec_goes_with_its_lines_and_nothing_else_changes() -> None:
    assert kept(sdp(*AUDIO), "PCMA", "PCMU") == sdp(
        b"m=audio 6000 RTP/AVP 8 0 101 13",
        b"a=rtcp-fb:* trr-int 100",
        b"a=rtpmap:101 telephone-event/8000",
        b"a=fmtp:101 0-16",
        b"a=ptime:20",
        b"a=sendrecv",
    )
    assert kept(sdp(*AUDIO), "g729") == sdp(
        b"m=audio 6000 RTP/AVP 18 101 13",
        *AUDIO[1:3],
        *AUDIO[6:],
    )


@pytest.mark.parametrize(
    "names", [("PCMA", "pcmu", "G.729", "OPUS"), ("alaw", "ulaw", "g729a", "opus/48000"), ("g711", "G729/8000", "opus")]
)
def test_where_nothing_has_to_go_the_very_body_is_left(names: tuple[str, ...]) -> None:
    body = sdp(*AUDIO)
    assert kept(body, *names) is body


def test_a_clock_that_is_named_must_be_the_one_offered() -> None:
    body = sdp(b"m=audio 6000 RTP/AVP 96 97", b"a=rtpmap:96 speex/8000", b"a=rtpmap:97 speex/16000")
    assert kept(body, "speex/16000") == sdp(b"m=audio 6000 RTP/AVP 97", b"a=rtpmap:97 speex/16000")
    assert kept(body, "speex") is body


def test_companions_of_another_clock_go_where_there_are_fitting_ones() -> None:
    both = sdp(
        b"m=audio 6000 RTP/AVP 97 0 100 101",
        b"a=rtpmap:97 opus/48000/2",
        b"a=rtpmap:100 telephone-event/48000",
        b"a=rtpmap:101 telephone-event/8000",
    )
    assert kept(both, "PCMU") == sdp(b"m=audio 6000 RTP/AVP 0 101", b"a=rtpmap:101 telephone-event/8000")
    alone = sdp(b"m=audio 6000 RTP/AVP 97 0 100", b"a=rtpmap:97 opus/48000/2", b"a=rtpmap:100 telephone-event/48000")
    assert kept(alone, "PCMU") == sdp(b"m=audio 6000 RTP/AVP 0 100", b"a=rtpmap:100 telephone-event/48000")


def test_companions_alone_are_no_call() -> None:
    body = sdp(b"m=audio 6000 RTP/AVP 18 101 13", b"a=rtpmap:101 telephone-event/8000")
    found = keep_codecs(body, CodecList(("PCMA", "telephone-event", "CN")))
    assert not found.has_codec
    assert b"m=audio 0 RTP/AVP 18 101 13\r\n" in found.body


def test_a_stream_without_a_codec_left_keeps_its_place_and_others_go_on() -> None:
    body = sdp(*AUDIO, b"m=video 6002 RTP/SAVPF 34 99", b"a=rtpmap:99 H264/90000", b"m=application 9 UDP/BFCP *")
    found = keep_codecs(body, CodecList(("PCMA",)))
    assert found.has_codec
    assert b"\r\nm=video 0 RTP/SAVPF 34 99\r\na=rtpmap:99 H264/90000\r\nm=application 9 UDP/BFCP *\r\n" in found.body
    assert b"m=video 6002 RTP/SAVPF 99\r\n" in kept(body, "PCMA", "H264")
    # A stream that is switched off stays so, and makes no call.
    assert not keep_codecs(body.replace(b"audio 6000", b"audio 0"), CodecList(("PCMA",))).has_codec


def test_fax_is_a_codec_too() -> None:
    body = sdp(b"m=image 4000 udptl t38", b"a=T38FaxVersion:0")
    assert keep_codecs(body, CodecList(("PCMA",))).has_codec is False
    assert kept(body, "T38") is body


@pytest.mark.parametrize("number", [b"0", b"8", b"18"])
def test_a_static_number_is_known_without_rtpmap_and_another_name_for_it_counts(number: bytes) -> None:
    names = {b"0": "PCMU", b"8": "PCMA", b"18": "G729"}
    body = sdp(b"m=audio 6000 RTP/AVP " + number)
    assert kept(body, names[number]) is body
    renamed = sdp(b"m=audio 6000 RTP/AVP " + number, b"a=rtpmap:" + number + b" EVS/16000")
    assert not keep_codecs(renamed, CodecList((names[number],))).has_codec
    two = sdp(b"m=audio 6000 RTP/AVP 96", b"a=rtpmap:96 PCMA/8000", b"a=rtpmap:96 EVS/16000")
    assert not keep_codecs(two, CodecList(("PCMA", "EVS"))).has_codec


def test_a_number_that_nobody_names_is_not_allowed() -> None:
    assert not keep_codecs(sdp(b"m=audio 6000 RTP/AVP 96 x"), CodecList(("PCMA",))).has_codec


def test_lines_may_end_with_a_line_feed_alone_and_the_last_with_nothing() -> None:
    assert kept(sdp(*AUDIO[:1], end=b"\n"), "PCMA") == sdp(b"m=audio 6000 RTP/AVP 8 13", end=b"\n")
    body = b"v=0\r\nm=audio 6000 RTP/AVP 0 8"
    assert kept(body, "PCMA") == b"v=0\r\nm=audio 6000 RTP/AVP 8"


def test_an_offer_without_codecs_is_nobodys_to_refuse() -> None:
    for body in (b"", b"nonsense", sdp(), sdp(b"m=application 9 UDP/BFCP *"), sdp(b"m=audio"), sdp(b"m=audio x y 0")):
        found = keep_codecs(body, CodecList(("PCMA",)))
        assert found.has_codec
        assert found.body is body


@pytest.mark.parametrize(
    ("name", "ptime_ms", "kbps"),
    [
        ("pcma", 0, 80),
        ("pcmu", 20, 80),
        ("pcmu", 10, 96),
        ("g729", 0, 24),
        ("g729", 40, 16),
        ("g723", 0, 18),
        ("g722", 30, 75),
        ("ilbc", 0, 26),
        ("opus", 20, 80),
        ("gsm", 0, 30),
        ("foo", 0, 80),
        ("g729", 1, 72),
    ],
)
def test_a_codec_takes_its_own_rate_and_320_bits_a_packet(name: str, ptime_ms: int, kbps: int) -> None:
    assert codec_kbps(name.encode(), b"8000", ptime_ms) == kbps


def test_a_call_takes_what_its_hungriest_codec_would_and_streams_add_up() -> None:
    body = sdp(*AUDIO)
    assert kbps_of(body, None) == 80
    assert kbps_of(body, CodecList(("G729",))) == 24
    assert kbps_of(body.replace(b"ptime:20", b"ptime:40"), CodecList(("G729",))) == 16
    video = (b"m=video 6002 RTP/AVP 99", b"a=rtpmap:99 H264/90000")
    assert kbps_of(sdp(*AUDIO, *video), None) == 80 + 512
    assert kbps_of(sdp(*AUDIO, *video, b"b=AS:256"), None) == 80 + 256
    assert kbps_of(sdp(b"m=audio 0 RTP/AVP 0"), None) == 0


@pytest.mark.parametrize(
    ("lines", "is_it"),
    [
        ([b"Content-Type: application/sdp"], True),
        ([b"c: Application/SDP ; charset=utf-8"], True),
        ([b"Content-Type: application / sdp"], True),
        ([b"Content-Type: text/plain"], False),
        ([b"Content-Type: multipart/mixed;boundary=x"], False),
        ([b"Content-Type: application/sdp", b"Content-Encoding: gzip"], False),
        ([b"Content-Type: application/sdp", b"e: identity"], True),
        ([], False),
    ],
)
def test_only_descriptions_are_read(lines: list[bytes], is_it: bool) -> None:
    message = parse_message(bent(*[(b"Extra%d" % number, line) for number, line in enumerate(lines)]))
    assert description(message) == (b"hello" if is_it else b"")


_WORDS = st.sampled_from([b"0", b"8", b"18", b"96", b"101", b"13", b"x", b"", b"97 97", b"\xff", b"RTP/AVP", b"t38"])
_NAMES = st.sampled_from([b"PCMA/8000", b"G729/8000", b"telephone-event/8000", b"", b"/", b"opus/48000/2", b"20"])
_LINES = st.one_of(
    st.builds(
        lambda kind, words: b"m=" + kind + b" " + b" ".join(words),
        st.sampled_from([b"audio", b"video", b"image"]),
        st.lists(_WORDS, max_size=8),
    ),
    st.builds(lambda words: b"m=audio 6000 RTP/AVP " + b" ".join(words), st.lists(_WORDS, max_size=8)),
    st.builds(
        lambda name, word, rest: b"a=" + name + b":" + word + b" " + rest,
        st.sampled_from([b"rtpmap", b"fmtp", b"rtcp-fb", b"ptime"]),
        _WORDS,
        _NAMES,
    ),
    st.binary(max_size=20),
)
_ENDS = st.sampled_from([b"\r\n", b"\n"])
_BODIES = st.builds(lambda lines, end: end.join(lines), st.lists(_LINES, max_size=20), _ENDS)


@given(st.one_of(_BODIES, st.binary(max_size=500)))
def test_any_bytes_come_out_with_no_line_more_and_once_is_enough(body: bytes) -> None:
    allowed = CodecList(("PCMA", "opus"))
    found = keep_codecs(body, allowed)
    before = body.split(b"\n")
    after = found.body.split(b"\n")
    assert [line for line in after if line not in before and line[:2] != b"m="] == []
    assert len(after) <= len(before)
    again = keep_codecs(found.body, allowed)
    assert again.body == found.body
    kbps_of(body, allowed)
    kbps_of(body, None)


def test_a_body_of_any_size_costs_what_its_bytes_cost() -> None:
    for body in (
        b"m=audio 6000 RTP/AVP " + b"0 " * 100_000,
        b"m=audio 6000 RTP/AVP 0\r\n" + b"a=rtpmap:0 G729/8000\r\n" * 10_000,
        b"m=audio 6000 RTP/AVP 0\r\n" * 10_000,
        b"\n" * 260_000,
    ):
        began = time.process_time()
        keep_codecs(body, CodecList(("PCMA",)))
        kbps_of(body, None)
        # Quadratic time would be minutes; a busy machine may take a second.
        assert time.process_time() - began < 20.0
