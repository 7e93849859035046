"""What a message looks like after it has passed: the lines that must change, and no other."""

from __future__ import annotations

import pytest

from switch.call.forwarding import forward_request, forward_response
from switch.wire.headers import MAX_FORWARDS, ROUTE, VIA
from switch.wire.message import Request, Response, parse_message
from tests.fakes.wire import INVITE, OK, bent, message

OURS = b"Via: SIP/2.0/UDP 198.51.100.1:5060;rport;branch=z9hG4bKours"


def parsed(data: bytes) -> Request:
    request = parse_message(data)
    assert isinstance(request, Request)
    return request


def forwarded(data: bytes, **options: object) -> Request:
    request = parsed(data)
    via_value = request.via.with_source("192.0.2.10", 5062)
    return parsed(forward_request(request, b"sip:1@203.0.113.9", OURS, via_value, **options))  # type: ignore[arg-type]


def test_only_what_must_change_changes() -> None:
    before, after = parsed(INVITE), forwarded(INVITE)
    assert after.uri == b"sip:1@203.0.113.9"
    assert set(before.lines) - set(after.lines) == {
        b"Via: SIP/2.0/UDP 192.0.2.10:5060;branch=z9hG4bKa7f3;rport",
        b"Max-Forwards: 70",
    }
    assert after.body == before.body


def test_the_senders_via_learns_where_its_packet_came_from() -> None:
    after = forwarded(INVITE)
    assert after.all(VIA) == [
        b"SIP/2.0/UDP 198.51.100.1:5060;rport;branch=z9hG4bKours",
        b"SIP/2.0/UDP 192.0.2.10:5060;branch=z9hG4bKa7f3;received=192.0.2.10;rport=5062",
    ]


@pytest.mark.parametrize(
    "vias",
    [
        (b"Via: SIP/2.0/UDP 192.0.2.10;branch=z9hG4bKa, SIP/2.0/UDP 192.0.2.66;branch=z9hG4bKb",),
        (b"v: SIP/2.0/UDP 192.0.2.10;branch=z9hG4bKa", b"Via: SIP/2.0/TCP 192.0.2.66;branch=z9hG4bKb"),
        (
            b'Via: SIP/2.0/UDP 192.0.2.10;branch=z9hG4bKa;x="a,b", SIP/2.0/UDP c;branch=z9hG4bKc',
            b"Via: SIP/2.0/UDP 192.0.2.66;branch=z9hG4bKb, SIP/2.0/UDP d;branch=z9hG4bKd",
        ),
    ],
)
def test_lists_of_vias_on_one_line_or_several_keep_their_order(vias: tuple[bytes, ...]) -> None:
    lines = list(vias) + [line for line in parsed(INVITE).lines if not line.startswith(b"Via")]
    data = message(b"INVITE sip:1@x SIP/2.0", lines, b"hello")
    before, after = parsed(data).all(VIA), forwarded(data).all(VIA)
    assert after[1].startswith(before[0])
    assert after[2:] == before[1:]
    # And home again: the response has them all but ours.
    ok = parse_message(message(b"SIP/2.0 200 OK", [b"Via: " + b", ".join(after), *parse_message(OK).lines[3:]]))
    assert isinstance(ok, Response)
    back = parse_message(forward_response(ok))
    assert back.all(VIA) == after[1:]


@pytest.mark.parametrize(("before", "after"), [(b"70", 69), (b"1", 0), (b"255", 254), (None, 70)])
def test_max_forwards_goes_down_by_one_and_is_set_where_it_is_missing(before: bytes | None, after: int) -> None:
    line = None if before is None else b"Max-Forwards: " + before
    request = forwarded(bent((b"Max-Forwards", line)))
    assert request.max_forwards == after
    assert request.ids.count(MAX_FORWARDS) == 1


def test_routes_are_left_behind_and_ours_put_in_their_place() -> None:
    data = bent((b"Route", b"Route: <sip:198.51.100.1;lr>"))
    assert forwarded(data).all(ROUTE) == []
    assert forwarded(data, routes=b"<sip:203.0.113.7;lr>").all(ROUTE) == [b"<sip:203.0.113.7;lr>"]


@pytest.mark.parametrize(
    "line",
    [
        b"P-Charge-Info: <sip:1@x>",
        b"p-charge-info : <sip:1@x>",
        b"P-CHARGE-INFO:\r\n <sip:1@x>",
    ],
)
def test_a_header_that_is_stripped_is_stripped_in_every_spelling(line: bytes) -> None:
    assert b"sip:1@x" not in b"".join(forwarded(bent((b"X", line))).lines)


def test_identity_headers_go_with_a_number_that_was_changed() -> None:
    data = bent((b"P-Asserted-Identity", b"P-Asserted-Identity: <sip:secret@x>"))
    assert b"secret" in forwarded(data).data
    assert b"secret" not in forwarded(data, from_value=b"<sip:2@x>;tag=f1", drops_identity=True).data


def test_credentials_for_us_go_no_further() -> None:
    data = bent((b"Proxy-Authorization", b'Proxy-Authorization: Digest realm="tandem"'))
    assert b"tandem" in forwarded(data).data
    assert b"tandem" not in forwarded(data, drops_credentials=True).data


def test_a_body_without_its_length_gets_one() -> None:
    after = forwarded(bent((b"Content-Length", None)))
    assert b"Content-Length: 5" in after.lines
    assert after.body == b"hello"


def test_bodies_and_odd_headers_pass_byte_for_byte() -> None:
    odd = b"X-Odd:\t\xff\xfe  \xc3\xa9 ;;,,\r\n folded"
    after = forwarded(bent((b"X-Odd", odd)))
    assert odd in after.lines
