"""Bodies of several parts: the right ones are found, one changes and all others stay, and nothing breaks the reader."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switch.wire.message import parse_message
from switch.wire.multipart import DEPTH_MAX, edit_parts, media_type, parts_of
from switch.wire.sdp import description
from tests.fakes.wire import LINES, message

SDP = b"application/sdp"
OFFER = b"v=0\r\nm=audio 6000 RTP/AVP 18 8\r\n"
ISUP = b"\x01\x11H\x00\n\x03\x02\n\r\n--x-\x80\x00"
KIND = b"multipart/mixed;boundary=x"
MIXED = (
    b"a preamble\r\n--x\r\nContent-Type: application/sdp\r\n\r\n" + OFFER + b"\r\n--x \t\r\n"
    b"Content-Type: application/isup;version=itu-t92+\r\nContent-Disposition: signal;handling=optional\r\n\r\n"
    + ISUP
    + b"\r\n--x--\r\nan epilogue\r\n--x\r\nContent-Type: application/sdp\r\n\r\nnone\r\n"
)


def test_a_description_beside_isup_is_found_and_what_is_behind_the_end_is_none() -> None:
    assert parts_of(MIXED, KIND, SDP) == [OFFER]
    assert parts_of(MIXED, KIND, b"application/isup") == [ISUP]


def test_only_the_part_that_is_edited_changes() -> None:
    assert edit_parts(MIXED, KIND, SDP, lambda part: part) is MIXED
    assert edit_parts(MIXED, KIND, SDP, lambda _: b"v=1\r\n") == MIXED.replace(OFFER, b"v=1\r\n")


def test_a_parts_own_length_follows_it_in_nested_ones_too() -> None:
    def whole(sdp: bytes) -> bytes:
        inner = b"--y\r\nContent-Length: %d\r\nc: application/sdp\r\n\r\n%b\r\n--y--" % (len(sdp), sdp)
        head = b"--x\r\nContent-Type: multipart/alternative;\r\n boundary=y\r\nl: %d\r\n\r\n" % len(inner)
        return head + inner + b"\r\n--x--"

    assert edit_parts(whole(OFFER), KIND, SDP, lambda _: b"abc") == whole(b"abc")


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (b'Multipart/Mixed ; Boundary = "x"', b"--x\r\nContent-Type: application/sdp\r\n\r\nv=0\r\n--x--"),
        (b'multipart/related;start="a;boundary=z";boundary=x', b"--x\r\nc:application/sdp\r\n\r\nv=0\r\n--x--"),
        (b"multipart / mixed;boundary=x", b"\r\n--x\r\nCONTENT-TYPE : Application / SDP\r\n\r\nv=0\r\n--x--"),
        (KIND, b"--x\nContent-Type: application/sdp\n\nv=0\n--x--\n"),
        (KIND, b"--x\r\nContent-Type: application/sdp\r\n\r\nv=0"),
        (KIND, b"--x\r\nContent-Transfer-Encoding: binary\r\nContent-Type: application/sdp\r\n\r\nv=0\r\n--x--"),
    ],
)
def test_each_way_to_write_a_part_is_read(kind: bytes, body: bytes) -> None:
    assert parts_of(body, kind, SDP) == [b"v=0"]
    assert edit_parts(body, kind, SDP, lambda _: b"w") == body.replace(b"v=0", b"w")


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (b"multipart/mixed", MIXED),
        (b'multipart/mixed;boundary=""', MIXED),
        (b'multipart/mixed;boundary="x', MIXED),
        (b"multipart/mixed;boundary=xy", MIXED),
        (KIND, b"--x\r\n\r\nv=0\r\n--x--"),
        (KIND, b"--x\r\nContent-Type: text/plain\r\n\r\nContent-Type: application/sdp\r\n\r\nv=0\r\n--x--"),
        (KIND, b"--x\r\nContent-Type: application/sdp\r\nContent-Encoding: gzip\r\n\r\nv=0\r\n--x--"),
        (KIND, b"--x\r\nContent-Type: application/sdp\r\nContent-Transfer-Encoding: base64\r\n\r\ndj0w\r\n--x--"),
        (KIND, b"--xy\r\nContent-Type: application/sdp\r\n\r\nv=0\r\n--x--"),
    ],
)
def test_what_is_no_readable_part_is_left_alone(kind: bytes, body: bytes) -> None:
    assert parts_of(body, kind, SDP) == []
    assert edit_parts(body, kind, SDP, lambda _: b"") is body


def test_multiparts_are_looked_into_to_a_depth() -> None:
    body = OFFER
    kind = SDP
    for depth in range(1, DEPTH_MAX + 2):
        body = b"--b%d\r\nContent-Type: %b\r\n\r\n%b\r\n--b%d--" % (depth, kind, body, depth)
        kind = b"multipart/mixed;boundary=b%d" % depth
        assert parts_of(body, kind, SDP) == ([OFFER] if depth <= DEPTH_MAX else [])


def test_a_message_with_several_descriptions_is_all_of_them() -> None:
    body = MIXED.replace(ISUP, b"v=1\r\n").replace(b"application/isup", SDP)
    lines = (*LINES[:-1], b"Content-Type: " + KIND, b"Content-Length: %d" % len(body))
    data = message(b"INVITE sip:15551230001@198.51.100.1 SIP/2.0", lines, body)
    assert description(parse_message(data)) == OFFER + b"\r\nv=1\r\n"
    assert description(parse_message(data.replace(b"Content-Type: m", b"e: gzip\r\nContent-Type: m", 1))) == b""


_CONTENTS = st.binary(max_size=60).filter(lambda content: b"--b" not in content)
_PARTS = st.lists(st.tuples(st.sampled_from([SDP, b"application/isup", b"text/plain"]), _CONTENTS), max_size=6)


@given(_PARTS, st.sampled_from([b"b", b"b--", b"b b", b"b'()+_,-./:=?"]), st.booleans(), st.binary(max_size=10))
def test_whatever_parts_are_put_together_come_apart_again(
    parts: list[tuple[bytes, bytes]], boundary: bytes, is_closed: bool, preamble: bytes
) -> None:
    kind = b'multipart/mixed;boundary="' + boundary + b'"'
    preamble = b"" if b"--b" in preamble else preamble + b"\r\n"

    def whole(change: bytes | None) -> bytes:
        texts = [
            b"--%b\r\nContent-Type: %b\r\n\r\n%b\r\n"
            % (boundary, name, content if change is None or name != SDP else change)
            for name, content in parts
        ]
        return preamble + b"".join(texts) + b"--" + boundary + (b"--" if is_closed else b"\r\n")

    body = whole(None)
    assert parts_of(body, kind, SDP) == [content for name, content in parts if name == SDP]
    assert edit_parts(body, kind, SDP, lambda _: b"\xffnew\r\n") == whole(b"\xffnew\r\n")
    assert edit_parts(body, kind, SDP, lambda part: part) is body


_PIECES = st.sampled_from(
    [
        *(b"--x", b"--", b"\r\n", b"\n", b"\r\n\r\n", b" ", b":", b"v=0", b"\x00"),
        *(b"Content-Type: application/sdp", b"Content-Type: " + KIND, b"Content-Length:", b"l: 5"),
    ]
)


@given(st.one_of(st.binary(max_size=200), st.lists(_PIECES, max_size=40).map(b"".join)), st.binary(max_size=30))
def test_no_bytes_break_the_reader_and_none_are_lost(body: bytes, rest: bytes) -> None:
    media_type(rest)
    for kind in (KIND, b"multipart/" + rest, b"multipart/mixed;boundary=" + rest):
        for part in parts_of(body, kind, SDP):
            assert part in body
        assert edit_parts(body, kind, SDP, lambda part: part) is body
        made = edit_parts(body, kind, SDP, lambda _: b"@@")
        assert made is body or b"@@" in made


def test_a_body_of_any_shape_costs_what_its_bytes_cost() -> None:
    nested = b"--x\r\nContent-Type: " + KIND + b"\r\n\r\n"
    for body in (
        b"--x" * 80_000,
        b"--x\n" * 60_000,
        b"--x\nContent-Type: application/sdp\n\n" * 8_000,
        nested * 6_000,
        b"--x\r\n" + b"a" * 260_000,
        b"--x\r\nContent-Type: a\r\n" + b" b\r\n" * 60_000,
        b"\n" * 260_000,
    ):
        began = time.process_time()
        edit_parts(body, KIND, SDP, lambda _: b"")
        # Quadratic time would be minutes; a busy machine may take a second.
        assert time.process_time() - began < 20.0
