import pytest
from hypothesis import given
from hypothesis import strategies as st

from switch.wire.build import message_bytes, request_bytes, response_bytes, response_to
from switch.wire.errors import ParseError
from switch.wire.headers import CONTENT_LENGTH, RECORD_ROUTE, TIMESTAMP, VIA
from switch.wire.limits import DEFAULT_LIMITS
from switch.wire.message import Request, Response, parse_message, salvage
from tests.fakes.wire import INVITE, LINES, OK, bent


def request(data: bytes) -> Request:
    parsed = parse_message(data)
    assert isinstance(parsed, Request)
    return parsed


def response(data: bytes) -> Response:
    parsed = parse_message(data)
    assert isinstance(parsed, Response)
    return parsed


def test_a_response_mirrors_its_request() -> None:
    invite = request(INVITE)
    via = invite.via.with_source("192.0.2.10", 5099)
    answer = response(response_to(invite, 486, b"Busy Here", to_tag=b"t9", extra=[b"Server: x"], via_value=via))
    assert (answer.status, answer.reason, answer.to_tag, answer.from_tag) == (486, b"Busy Here", b"t9", b"f1")
    assert (answer.call_id, answer.cseq, answer.cseq_method) == (invite.call_id, 1, b"INVITE")
    assert (answer.via.received, answer.via.rport, answer.via.branch) == (b"192.0.2.10", 5099, invite.via.branch)
    assert answer.lines[-2:] == [b"Server: x", b"Content-Length: 0"]


def test_only_the_first_of_all_vias_is_replaced() -> None:
    odd = request(bent((b"Via", b"v: SIP/2.0/UDP a;branch=1 , SIP/2.0/UDP b;branch=2\r\nVia : SIP/2.0/UDP c")))
    answer = response(response_to(odd, 404, b"Not Found", via_value=b"SIP/2.0/UDP z"))
    assert answer.all(VIA) == [b"SIP/2.0/UDP z", b"SIP/2.0/UDP b;branch=2", b"SIP/2.0/UDP c"]
    assert response(response_to(odd, 404, b"Not Found")).all(VIA) == odd.all(VIA)


@pytest.mark.parametrize("to", [b"To: sip:a@b", b"t: <sip:a@b>", b'To: "x" <sip:a@b>;y=z ', b"To:\r\n <sip:a@b>"])
def test_a_tag_is_added_to_every_form_of_to(to: bytes) -> None:
    assert response(response_to(request(bent((b"To", to))), 200, b"OK", to_tag=b"t9")).to_tag == b"t9"


def test_a_tag_that_is_there_stays() -> None:
    inside = request(bent((b"To", b"To: <sip:a@b>;tag=theirs")))
    assert response(response_to(inside, 200, b"OK", to_tag=b"t9")).to_tag == b"theirs"


def test_record_route_is_mirrored_where_a_dialog_can_form() -> None:
    routed = request(bent((b"Record-Route", b"Record-Route: <sip:p1;lr>,\r\n <sip:p2;lr>")))
    for status, count in ((100, 0), (180, 2), (200, 2), (302, 0), (486, 0)):
        assert len(response(response_to(routed, status, b"x")).all(RECORD_ROUTE)) == count
    bye = request(b"BYE" + bent((b"CSeq", b"CSeq: 2 BYE"), (b"Record-Route", b"Record-Route: <sip:p1;lr>"))[6:])
    assert response(response_to(bye, 200, b"OK")).all(RECORD_ROUTE) == []


def test_a_100_mirrors_timestamp_and_others_do_not() -> None:
    timed = request(bent((b"Timestamp", b"Timestamp: 54")))
    assert response(response_to(timed, 100, b"Trying")).first(TIMESTAMP) == b"54"
    assert response(response_to(timed, 180, b"Ringing")).first(TIMESTAMP) is None


def test_a_body_has_its_length() -> None:
    answer = response(response_to(request(INVITE), 200, b"OK", extra=[b"Content-Type: text/plain"], body=b"\r\n\r\nx"))
    assert answer.body == b"\r\n\r\nx"


def test_a_request_without_what_is_mandatory_is_answered_with_what_it_has() -> None:
    with pytest.raises(ParseError) as caught:
        parse_message(bent((b"To", None), (b"From", None), (b"Call-ID", None)))
    assert caught.value.request is not None
    reply = response_to(caught.value.request, 400, b"Bad Request", to_tag=b"t9")
    assert reply.split(b"\r\n")[:3] == [b"SIP/2.0 400 Bad Request", LINES[0], LINES[5]]


@pytest.mark.parametrize("via", [b'Via: SIP/2.0/UDP h;x=",SIP/2.0/UDP g', b"Via: ,,", b"Via: <,", b"Via:"])
def test_a_via_that_cannot_be_read_is_mirrored_as_it_came(via: bytes) -> None:
    with pytest.raises(ParseError) as caught:
        parse_message(bent((b"Via", via)))
    asked = caught.value.request
    assert asked is not None
    reply = response_to(asked, 400, b"Bad Request", via_value=asked.via.with_source("192.0.2.10", 5099))
    assert reply.split(b"\r\n")[1] == via


def test_lines_joined_again_are_the_same_message() -> None:
    for data in (INVITE, OK, bent((b"X", b"x-Odd :\r\n\t;;,,\xff\x00 ")), bent((b"Content-Length", b"l : 5"))):
        parsed = parse_message(data)
        if isinstance(parsed, Request):
            assert request_bytes(parsed.method, parsed.uri, parsed.lines, parsed.body) == data
        else:
            assert response_bytes(parsed.status, parsed.reason, parsed.lines, parsed.body) == data


def test_content_length_is_added_only_where_it_is_missing() -> None:
    bare = request(bent((b"Content-Length", None)))
    sent = request(request_bytes(bare.method, bare.uri, bare.lines, bare.body))
    assert sent.first(CONTENT_LENGTH) == b"5"
    assert sent.ids.count(CONTENT_LENGTH) == 1
    assert message_bytes(b"X", [b"L\t: 3"], b"abc").count(b"3") == 1


@given(st.sampled_from(LINES), st.binary(max_size=30), st.integers(0, 60))
def test_a_reply_to_anything_answerable_holds_no_other_line(line: bytes, junk: bytes, at: int) -> None:
    data = INVITE.replace(line, line[:at] + junk + line[at:])
    asked = salvage(data, DEFAULT_LIMITS)
    if asked is None:
        return
    via = asked.via.with_source("192.0.2.10", 5099)
    lines = response_to(asked, 400, b"Bad Request", to_tag=b"t9", via_value=via).split(b"\r\n")
    assert lines[-3:] == [b"Content-Length: 0", b"", b""]
    assert not any(b"\n" in line or b"\r" in line for line in lines)
