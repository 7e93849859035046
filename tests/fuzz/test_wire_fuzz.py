"""The wire under hostile bytes: bounded, linear, and never half a message."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import suppress
from types import FrameType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switch.wire.auth import parse_credentials
from switch.wire.build import request_bytes, response_bytes, response_to
from switch.wire.errors import FramingError, ParseError
from switch.wire.framing import StreamFramer
from switch.wire.limits import DEFAULT_LIMITS, Limits
from switch.wire.message import Message, Request, parse_message, salvage
from switch.wire.name_addr import NameAddr
from switch.wire.scan import parse_params, split_commas, unfold
from switch.wire.uri import parse_uri
from switch.wire.via import Via
from tests.fakes.wire import INVITE, OK, bent
from tests.torture.verdicts import CASES, load

# dblreq is cut by Content-Length, inv2543 has none: prefixes of these are whole messages too.
VALID = {case.file: load(case) for case in CASES if case.parses and case.file not in ("dblreq", "inv2543")}

TORTURE = [load(case) for case in CASES]


def read_everything(message: Message) -> None:
    """Ask a message all that anybody may ask it; each answer is a value or a ParseError."""
    for hid in set(message.ids):
        message.first(hid)
        with suppress(ParseError):
            for value in message.all(hid):
                for reader in (NameAddr.parse, Via.parse, parse_credentials, parse_uri):
                    with suppress(ParseError):
                        reader(value)
    if isinstance(message, Request):
        with suppress(ParseError):
            message.target.user_text()
        response_to(message, 400, b"Bad Request", to_tag=b"t", via_value=message.via.with_source("192.0.2.1", 5060))
        request_bytes(message.method, message.uri, message.lines, message.body)


@pytest.mark.parametrize("name", VALID)
def test_every_prefix_of_a_valid_message_is_refused(name: str) -> None:
    data = VALID[name]
    for size in range(len(data)):
        with pytest.raises(ParseError):
            parse_message(data[:size])


@given(st.sampled_from(TORTURE), st.data())
def test_damaged_torture_messages_are_read_or_refused(data: bytes, draw: st.DataObject) -> None:
    at = draw.draw(st.integers(0, len(data)))
    cut = draw.draw(st.integers(0, 20))
    insert = draw.draw(
        st.one_of(st.binary(max_size=6), st.sampled_from([b'"', b"<", b"\r\n ", b",", b"\r\n\r\n", b"\\", b"["]))
    )
    damaged = data[:at] + insert + data[at + cut :]
    with suppress(ParseError):
        read_everything(parse_message(damaged))
    asked = salvage(damaged, DEFAULT_LIMITS)
    if asked is not None:
        assert asked.method != b"ACK"
        read_everything(asked)
    with suppress(FramingError):
        StreamFramer().feed(damaged)


@given(
    st.lists(st.sampled_from(TORTURE), min_size=1, max_size=3).map(b"".join), st.lists(st.integers(1, 400), max_size=12)
)
def test_a_stream_of_torture_frames_alike_however_cut(data: bytes, sizes: list[int]) -> None:
    def run(sizes: list[int]) -> tuple[list[bytes], str]:
        framer = StreamFramer()
        messages: list[bytes] = []
        at = 0
        for size in [*sizes, len(data)]:
            try:
                messages += framer.feed(data[at : at + size])
            except FramingError as error:
                return messages + error.messages, error.reason
            at += size
        return messages, ""

    assert run(sizes) == run([])


LINE = st.sampled_from(
    [
        b"X-Odd: \x00\xff;;,",
        b"s :",
        b"Route: <sip:a;lr>,\r\n <sip:b;lr>",
        b"User-Agent: x",
        b"Accept: a/b,\r\n\tc/d",
        b"NAME\t: v",
    ]
)


@given(st.lists(LINE, max_size=6), st.binary(max_size=80), st.booleans())
def test_a_message_put_together_again_is_the_same_bytes(lines: list[bytes], body: bytes, is_request: bool) -> None:
    plain = bent((b"Content-Length", b"Content-Length: %d" % len(body))) if is_request else OK
    head = plain.partition(b"\r\n\r\n")[0].replace(
        b"Contact:", b"".join(line + b"\r\n" for line in lines) + b"Contact:"
    )
    data = head + b"\r\n\r\n" + (body if is_request else b"")
    message = parse_message(data)
    if isinstance(message, Request):
        assert request_bytes(message.method, message.uri, message.lines, message.body) == data
    else:
        assert response_bytes(message.status, message.reason, message.lines, message.body) == data


@pytest.mark.parametrize("status", [180, 400])
@given(st.sampled_from(list(VALID.values())))
def test_a_response_reads_back_with_the_identity_of_its_request(status: int, data: bytes) -> None:
    request = parse_message(data)
    if not isinstance(request, Request):
        return
    response = parse_message(
        response_to(request, status, b"x", to_tag=b"new", via_value=request.via.with_source("192.0.2.1", 9))
    )
    assert (response.call_id, response.cseq, response.cseq_method) == (request.call_id, request.cseq, request.method)
    assert (response.from_tag, response.to_tag) == (request.from_tag, request.to_tag or b"new")
    assert (response.via_count, response.via.branch) == (request.via_count, request.via.branch)


# Python lines run, counted: a measure of work that needs no clock. What C does inside one line is a
# single pass each; quadratic time here would be loops of ours.


def work(action: Callable[[], object]) -> int:
    """Lines of switch/wire that `action` runs; 0 for a compiled build, which has none."""
    count = 0

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal count
        if "wire" not in frame.f_code.co_filename:
            return None
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        with suppress(ParseError, FramingError):
            action()
    finally:
        sys.settrace(before)
    return count


UNITS = [
    b"(",
    b",",
    b";",
    b" ",
    b"%25",
    b'"',
    b"\\",
    b'\\"',
    b"<",
    b">",
    b"[",
    b"=",
    b"\t",
    b"<>",
    b'""',
    b"a,",
    b'"\\',
    b";a=",
    b":",
    b"@",
    b"\r\n ",
]
"""What a hostile value repeats."""

NAMES = [
    b"Via",
    b"From",
    b"To",
    b"Contact",
    b"Call-ID",
    b"CSeq",
    b"Authorization",
    b"Route",
    b"X",
    b"Content-Length",
    b"Max-Forwards",
]

WIDE = Limits(line_bytes_max=1 << 20, header_lines_max=1 << 20, vias_max=1 << 20, header_bytes_max=1 << 20)
"""The limits would hide bad growth; it has to be absent without them."""


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize("name", NAMES)
def test_a_value_twice_as_long_costs_at_most_twice_as_much(name: bytes, unit: bytes) -> None:
    def cost(times: int) -> int:
        lead = {b"Via": b"SIP/2.0/UDP h;x=", b"Authorization": b"Digest a="}.get(name, b"<sip:a@b>;x=")
        total = 0
        for prefix in (b"", lead, lead + b'"', b'"'):
            data = bent((name, name + b": " + prefix + unit * times))
            total += work(lambda data=data: parse_message(data, WIDE))  # type: ignore[misc]
        return total

    assert cost(800) <= 2 * cost(400) + 400


@pytest.mark.parametrize("unit", UNITS)
@pytest.mark.parametrize(
    "reader",
    [
        split_commas,
        parse_params,
        unfold,
        parse_uri,
        parse_credentials,
        NameAddr.parse,
        Via.parse,
        lambda data: salvage(data, WIDE),
    ],
)
def test_every_reader_is_linear(reader: Callable[[bytes], object], unit: bytes) -> None:
    for prefix in (b"", b'"', b"sip:", b"<sip:a>;x=", b"Digest a=", b"SIP/2.0/UDP h;", INVITE[:-9]):
        once = work(lambda prefix=prefix: reader(prefix + unit * 400))  # type: ignore[misc]
        twice = work(lambda prefix=prefix: reader(prefix + unit * 800))  # type: ignore[misc]
        assert twice <= 2 * once + 200


def test_a_stream_byte_by_byte_costs_by_the_byte() -> None:
    def cost(filler: int) -> int:
        data = INVITE.replace(b"Contact", b"X: " + b"y" * filler + b"\r\nContact")
        framer = StreamFramer()
        return work(lambda: [framer.feed(data[at : at + 1]) for at in range(len(data))])

    assert cost(2000) <= 2 * cost(1000) + 200


def test_the_limits_hold_for_64_kib_of_anything() -> None:
    for unit in UNITS:
        data = bent((b"X", b"X: " + (unit * 65_536)[:65_536]))
        with pytest.raises(ParseError) as caught:
            parse_message(data, DEFAULT_LIMITS)
        assert caught.value.status == 513
