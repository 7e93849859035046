"""What a message looks like after it has passed: the lines that must change, and no other."""

from __future__ import annotations

import pytest

from switch.call.forwarding import forward_request, forward_response
from switch.call.screen import Screen
from switch.wire.headers import CONTACT, MAX_FORWARDS, P_ASSERTED_IDENTITY, PRIVACY, ROUTE, VIA
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
            b'Via: SIP/2.0/UDP 192.0.2.10;branch=a;rport;x="a", SIP/2.0/UDP b;y=<1,2>, SIP/2.0/UDP c;branch=z9hG4bKc',
            b"Via: SIP/2.0/UDP 192.0.2.66;branch=z9hG4bKb",
        ),
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
    assert after[1].startswith(before[0].partition(b";rport")[0])
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
        b"P-Charging-Vector: icid-value=<sip:1@x>",
        b"P-Asserted-Identity: <sip:1@x>",
        b"P-Asserted-Identity : <sip:1@x>",
        b"p-asserted-identity:<sip:1@x>, <tel:1>",
        b"P-ASSERTED-identity:\r\n\t<sip:1@x>",
        b"P-Preferred-Identity: <sip:1@x>",
        b"Remote-Party-ID: <sip:1@x>;party=calling",
        b"X-Tandem-Account: <sip:1@x>",
        b"x-account : <sip:1@x>",
        b"X-ACCOUNT:\r\n <sip:1@x>",
    ],
)
def test_a_header_that_is_stripped_is_stripped_in_every_spelling_both_ways(line: bytes) -> None:
    for data in (bent((b"X", line)), bent((b"X", line + b"\r\n" + line))):
        assert b"sip:1@x" not in b"".join(forwarded(data).lines)
    answer = parse_message(message(b"SIP/2.0 200 OK", [line, *parse_message(OK).lines, line]))
    assert isinstance(answer, Response)
    assert b"sip:1@x" not in forward_response(answer)


def test_headers_that_the_screen_lets_pass_go_on_as_they_came() -> None:
    lines = [b"P-Asserted-Identity : <sip:1@x>", b"X-Account: 7", b"x-ROOM : 12", b"Privacy: id", b"X-Other: 1"]
    data = bent((b"X", b"\r\n".join(lines)))
    after = forwarded(data, screen=Screen(passes_identity=True, allowed=frozenset([b"x-account", b"x-room"])))
    assert [line for line in lines if line in after.lines] == lines[:4]
    assert lines[3] in forwarded(data).lines


def test_an_identity_of_ours_goes_with_invites_alone() -> None:
    screen = Screen(identity=b"P-Asserted-Identity: <tel:+4420>")
    data = bent((b"P-Asserted-Identity", b"P-Asserted-Identity: <sip:secret@x>"))
    assert forwarded(data, screen=screen).all(P_ASSERTED_IDENTITY) == [b"<tel:+4420>"]
    ack = data.replace(b"INVITE", b"ACK")
    assert forwarded(ack, screen=screen).all(P_ASSERTED_IDENTITY) == []


@pytest.mark.parametrize(
    ("line", "after"),
    [
        (b"Contact: <sip:1555@192.0.2.1:5070;ob>;expires=3", b"<sip:anonymous@192.0.2.1:5070;ob>;expires=3"),
        (b'm: "Bob 1555" <sip:1555:pw@192.0.2.1>', b"<sip:anonymous@192.0.2.1>"),
        (b"Contact: sip:1555@192.0.2.1;q=1", b"<sip:anonymous@192.0.2.1>;q=1"),
        (b"Contact: <sip:192.0.2.1>", b"<sip:192.0.2.1>"),
    ],
)
def test_a_caller_who_is_withheld_has_no_number_in_contact_either(line: bytes, after: bytes) -> None:
    data = bent((b"Contact", line), (b"Privacy", b"Privacy: id"))
    request = forwarded(data, screen=Screen(is_anonymous=True))
    assert request.first(CONTACT) == after
    assert request.first(PRIVACY) is None


def test_credentials_for_us_go_no_further() -> None:
    data = bent((b"Proxy-Authorization", b'Proxy-Authorization: Digest realm="tandem"'))
    assert b"tandem" in forwarded(data).data
    assert b"tandem" not in forwarded(data, drops_credentials=True).data


def test_a_body_without_its_length_gets_one() -> None:
    after = forwarded(bent((b"Content-Length", None)))
    assert b"Content-Length: 5" in after.lines
    assert after.body == b"hello"


def test_bodies_and_odd_headers_pass_byte_for_byte() -> None:
    odd = b"Odd:\t\xff\xfe  \xc3\xa9 ;;,,\r\n folded"
    after = forwarded(bent((b"Odd", odd)))
    assert odd in after.lines
