from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switch.wire.errors import ParseError
from switch.wire.headers import (
    AUTHORIZATION,
    CONTACT,
    FROM,
    NAMES,
    P_ASSERTED_IDENTITY,
    P_CHARGE_INFO,
    RECORD_ROUTE,
    ROUTE,
    VIA,
)
from switch.wire.limits import HEADER_LINES_MAX, LINE_BYTES_MAX, VIAS_MAX, Limits
from switch.wire.message import Message, Request, Response, parse_message
from tests.fakes.wire import INVITE, LINES, OK, bent, message


def request(data: bytes) -> Request:
    parsed = parse_message(data)
    assert isinstance(parsed, Request)
    return parsed


def refusal(data: bytes, limits: Limits | None = None) -> ParseError:
    with pytest.raises(ParseError) as caught:
        parse_message(data, limits or Limits())
    return caught.value


def test_a_request_is_read() -> None:
    invite = request(INVITE)
    assert (invite.method, invite.uri, invite.body) == (b"INVITE", b"sip:15551230001@198.51.100.1", b"hello")
    assert (invite.call_id, invite.cseq, invite.cseq_method) == (b"8f21@192.0.2.10", 1, b"INVITE")
    assert (invite.from_tag, invite.to_tag, invite.max_forwards) == (b"f1", b"", 70)
    assert (invite.via.branch, invite.via_index, invite.via_count) == (b"z9hG4bKa7f3", 0, 1)
    assert invite.lines == list(LINES)
    assert len(invite.ids) == len(invite.lines)


def test_a_response_is_read() -> None:
    response = parse_message(OK)
    assert isinstance(response, Response)
    assert (response.status, response.reason, response.to_tag) == (200, b"OK", b"t1")
    assert (response.via_count, response.via.branch) == (2, b"z9hG4bKours")
    assert response.all(RECORD_ROUTE) == [b"<sip:198.51.100.1;lr>"]


@pytest.mark.parametrize("start", [b"SIP/2.0 180 ", b"SIP/2.0 180"])
def test_a_reason_phrase_may_be_empty(start: bytes) -> None:
    response = parse_message(OK.replace(b"SIP/2.0 200 OK", start))
    assert isinstance(response, Response)
    assert (response.status, response.reason) == (180, b"")


@pytest.mark.parametrize(
    "start",
    [b"SIP/2.0 99 No", b"SIP/2.0 099 No", b"SIP/2.0 700 No", b"SIP/2.0 4294967301 No", b"SIP/2.0 2OO OK",
     b"SIP/3.0 200 OK",
     b"SIP/2.0  200 OK", b"SIP/2.0 -20 OK", b"sip/2.0 200 OK", b"SIP/2.0 \xd9\xa1\xd9\xa2\xd9\xa3 OK"],
)  # fmt: skip
def test_a_bad_status_line_is_refused_without_a_reply(start: bytes) -> None:
    assert refusal(OK.replace(b"SIP/2.0 200 OK", start)).request is None


@pytest.mark.parametrize(
    ("start", "status"),
    [
        (b"INVITE  sip:a@b SIP/2.0", 400), (b"INVITE sip:a@b; lr SIP/2.0", 400), (b"INVITE sip:a@b SIP/2.0  ", 400),
        (b"INVITE <sip:a@b> SIP/2.0", 400), (b"INVITE sip:a@b SIP/7.0", 505), (b"INVITE sip:a@b SIP/2", 505),
        (b"INVITE sip:a@b HTTP/1.1", 400), (b"INV(TE sip:a@b SIP/2.0", 400),
        (b"INVITE sip:a@b?Route=%3Csip:c%3E SIP/2.0", 400),
        (b"INVITE sip:[::1 SIP/2.0", 400), (b"INVITE a@b SIP/2.0", 400), (b"INVITE sip:2001:db8::10 SIP/2.0", 400),
        (b"INVITE sip:a\x00@b SIP/2.0", 400), (b"INVITE sip:a@b", 400), (b"", 400),
    ],
)  # fmt: skip
def test_a_bad_request_line_earns_its_status(start: bytes, status: int) -> None:
    assert refusal(bent(start=start)).status == status


@pytest.mark.parametrize("name", [b"Via", b"From", b"To", b"Call-ID", b"CSeq"])
def test_a_mandatory_header_is_mandatory(name: bytes) -> None:
    error = refusal(bent((name, None)))
    assert error.status == 400
    assert (error.request is None) == (name == b"Via"), "without a Via there is nowhere to answer to"


@pytest.mark.parametrize("name", [b"From", b"To", b"Call-ID", b"CSeq", b"Max-Forwards", b"Content-Length"])
def test_a_header_of_one_value_comes_once_in_any_spelling(name: bytes) -> None:
    line = next(line for line in LINES if line.startswith(name))
    again = name.swapcase() + b" " + line[len(name) :]
    assert refusal(INVITE.replace(line, line + b"\r\n" + again)).status == 400


@pytest.mark.parametrize(
    "value",
    [b"-1", b"+5", b"0x5", b"5.", b"1e3", b"\xd9\xa5", b"5" * 30, b"", b"5 5", b"5,5", b"4294967328", b"five", b"\xb2"],
)
def test_a_content_length_that_is_no_plain_number_is_400(value: bytes) -> None:
    error = refusal(bent((b"Content-Length", b"Content-Length: " + value)))
    assert error.status == 400
    assert error.request is not None


def test_a_body_is_cut_to_content_length_and_never_filled_up() -> None:
    assert request(INVITE + b"trailing").body == b"hello"
    assert request(bent((b"Content-Length", None))).body == b"hello"
    assert refusal(INVITE[:-1]).status == 400


@pytest.mark.parametrize(
    ("line", "status"),
    [
        (b"CSeq: x INVITE", 400), (b"CSeq: 4294967296 INVITE", 400), (b"CSeq: 1", 400), (b"CSeq: 1 BYE", 400),
        (b"CSeq: 36893488147419103232 INVITE", 400), (b"CSeq: -1 INVITE", 400), (b"CSeq: 1 INVITE x", 400),
        (b"Max-Forwards: 256", 400), (b"Max-Forwards: -1", 400), (b"Max-Forwards: x", 400), (b"Max-Forwards:", 400),
        (b"Call-ID: a b", 400), (b"Call-ID:", 400), (b"Call-ID: a\x07", 400),
        (b"Via: SIP/2.0/UDP h;;,;,,", 400), (b"Via:", 400), (b'Via: SIP/2.0/UDP h;x="', 400), (b"Via: ,", 400),
        (b'Contact: "Joe <sip:joe@h>', 400), (b"Contact: <sip:joe@h", 400), (b"Contact: <sip:[::1>", 400),
        (b"Contact: sip:a@b?Route=%3Csip:h%3E", 400), (b"To: <sip:a@[::1>", 400), (b"From: (x <sip:a@b>;tag=1", 400),
    ],
)  # fmt: skip
def test_a_broken_value_is_400(line: bytes, status: int) -> None:
    assert refusal(bent((line.partition(b":")[0], line))).status == status


@pytest.mark.parametrize("value", [b'Digest username="bob', b'Digest a="\\"', b'Digest a="x",b="'])
def test_credentials_with_an_open_quote_are_400(value: bytes) -> None:
    for name in (b"Authorization", b"Proxy-Authorization"):
        assert refusal(bent((name, name + b": " + value))).status == 400


def test_a_broken_contact_does_not_lose_a_response() -> None:
    assert isinstance(parse_message(OK.replace(b"<sip:15551230001@203.0.113.9>", b'"x')), Response)


@pytest.mark.parametrize(
    "line", [b"To\x01: x", b"Contact\x00: <sip:x@y>", b"X Y: z", b": z", b"NoColon", b"\x0bX: y", b"\x00"]
)
def test_a_bad_header_name_is_400(line: bytes) -> None:
    assert refusal(INVITE.replace(b"Max-Forwards", line + b"\r\nMax-Forwards")).status == 400


@pytest.mark.parametrize("lone", [b"\n", b"\r", b"\n\r", b"\r\r\n", b"\n\n"])
def test_a_lone_cr_or_lf_hides_no_header(lone: bytes) -> None:
    assert (
        refusal(
            INVITE.replace(b"Max-Forwards", b"X: y" + lone + b"P-Asserted-Identity: <sip:z@y>\r\nMax-Forwards")
        ).status
        == 400
    )


@pytest.mark.parametrize("hid_name", [(P_ASSERTED_IDENTITY, b"P-Asserted-Identity"), (P_CHARGE_INFO, b"P-Charge-Info")])
def test_a_trusted_header_is_found_in_every_disguise(hid_name: tuple[int, bytes]) -> None:
    hid, name = hid_name
    for disguise in (name + b" :", name.upper() + b":", name.lower() + b"\t :", name + b":\r\n\t", name + b" :\r\n "):
        parsed = request(
            INVITE.replace(b"Max-Forwards", disguise + b"<sip:1@h>\r\n" + name + b":<sip:2@h>\r\nMax-Forwards")
        )
        assert parsed.all(hid) == [b"<sip:1@h>", b"<sip:2@h>"]
        assert parsed.ids.count(hid) == 2


def test_folding_compact_names_case_and_blanks_change_nothing() -> None:
    odd = message(
        b"INVITE sip:15551230001@198.51.100.1 SIP/2.0",
        [
            b"v :\r\n  SIP/2.0/UDP\r\n\t192.0.2.10:5060;branch\r\n =z9hG4bKa7f3;\r\n rport",
            b"mAX-fORWARDS\t:\r\n 70",
            b'F: "Acme"\r\n  <sip:15557770000@192.0.2.10>\r\n ;\r\n tag = f1',
            b"t:<sip:15551230001@198.51.100.1>",
            b"i:\r\n 8f21@192.0.2.10",
            b"CSEQ:1\r\n\tINVITE",
            b"m:<sip:acme@192.0.2.10:5060>",
            b"l :\r\n 5",
        ],
        b"hello",
    )
    left, right = request(odd), request(INVITE)
    for name in (
        "method",
        "uri",
        "body",
        "call_id",
        "cseq",
        "cseq_method",
        "from_tag",
        "to_tag",
        "max_forwards",
        "ids",
    ):
        assert getattr(left, name) == getattr(right, name), name
    for name in ("transport", "host", "port", "branch", "has_rport"):
        assert getattr(left.via, name) == getattr(right.via, name), name
    assert left.first(CONTACT) == right.first(CONTACT)
    assert left.lines[0] == b"v :\r\n  SIP/2.0/UDP\r\n\t192.0.2.10:5060;branch\r\n =z9hG4bKa7f3;\r\n rport"


def test_a_fold_late_in_a_message_counts_nothing_twice() -> None:
    vias = b"Via: SIP/2.0/UDP a, SIP/2.0/UDP b\r\nVia: SIP/2.0/UDP c"
    parsed = request(bent((b"Via", vias), (b"Content-Length", b"Content-Length:\r\n 5")))
    assert (parsed.via_count, parsed.via_index, parsed.max_forwards, len(parsed.ids)) == (3, 0, 70, len(parsed.lines))
    assert parsed.via.host == b"a"


def test_a_value_that_is_wrong_without_its_fold_is_right_with_it() -> None:
    for line in (
        b"To:\r\n <sip:a@b>",
        b"Contact:\r\n <sip:a@b>",
        b'To: "x\r\n y" <sip:a@b>',
        b"Via: SIP/2.0/UDP\r\n h;branch=b",
    ):
        assert request(bent((line.partition(b":")[0], line))).cseq == 1


def test_a_cut_off_request_is_answered_once_it_has_named_its_dialog() -> None:
    named = INVITE.index(b"CSeq: 1 INVITE\r\n") + len(b"CSeq: 1 INVITE\r\n")
    for size in range(len(INVITE)):
        error = refusal(INVITE[:size])
        assert (error.request is not None) == (size >= named)


def test_a_fold_before_the_first_header_is_refused() -> None:
    assert refusal(INVITE.replace(b"SIP/2.0\r\nVia", b"SIP/2.0\r\n Via", 1)).status == 400


def test_comma_lists_of_via_are_counted_and_the_first_is_ours() -> None:
    parsed = request(
        bent((b"Via", b"Subject: x\r\nVia: SIP/2.0/TCP a;branch=1 , SIP/2.0/UDP b;branch=2\r\nv: SIP/2.0/UDP c"))
    )
    assert (parsed.via.host, parsed.via_index, parsed.via_count) == (b"a", 1, 3)
    assert [value[-1:] for value in parsed.all(VIA)] == [b"1", b"2", b"c"]


def test_values_of_a_list_header_come_one_by_one() -> None:
    parsed = request(bent((b"Route", b'Route: <sip:a,b@c;lr>, "x,y" <sip:d;lr>\r\nRoute:\r\n <sip:e;lr>')))
    assert parsed.all(ROUTE) == [b"<sip:a,b@c;lr>", b'"x,y" <sip:d;lr>', b"<sip:e;lr>"]
    assert parsed.first(ROUTE) == b'<sip:a,b@c;lr>, "x,y" <sip:d;lr>'
    assert parsed.first(RECORD_ROUTE) is None
    assert parsed.from_value() == parsed.first(FROM) == b'"Acme" <sip:15557770000@192.0.2.10>;tag=f1'


def test_odd_bytes_in_values_stay_as_they_came() -> None:
    line = b'From: "NUL\x00 BEL\x07 \xff\xfe" <sip:a@b>;tag=1'
    assert line in request(bent((b"From", line))).lines


def test_crlfs_before_the_start_line_are_passed_over() -> None:
    assert request(b"\r\n\r\n\r\n" + INVITE).uri == request(INVITE).uri


@pytest.mark.parametrize(
    "data", [b"", b"\r\n\r\n", b"\x00\x00\x00\x00", b"jaK", b"\r\n" * 1000, b"GET / HTTP/1.1\r\n\r\n"]
)
def test_what_is_no_sip_has_no_reply(data: bytes) -> None:
    assert refusal(data).request is None


def test_limits_are_refused_with_what_a_reply_needs() -> None:
    many = b"X: y\r\n" * HEADER_LINES_MAX
    vias = b"".join(b"Via: SIP/2.0/UDP h%d;branch=z9hG4bK%d\r\n" % (n, n) for n in range(VIAS_MAX))
    for extra in (
        many,
        vias,
        b"X: " + b"y" * LINE_BYTES_MAX + b"\r\n",
        b"X: y\r\n" + b" z\r\n" * 200 + b" " + b"y" * 8190 + b"\r\n",
    ):
        error = refusal(INVITE.replace(b"Max-Forwards", extra + b"Max-Forwards"))
        assert error.status == 513
        assert error.request is not None
    wide = INVITE.replace(b"Max-Forwards", (b"X: " + b"y" * 8000 + b"\r\n") * 9 + b"Max-Forwards")
    assert refusal(wide).status == 513
    assert refusal(INVITE, Limits(body_bytes_max=4)).status == 413
    commas = b", ".join([b"SIP/2.0/UDP h"] * (VIAS_MAX + 1))
    assert refusal(bent((b"Via", b"Via: " + commas))).status == 513


def test_exactly_the_limits_pass() -> None:
    lines = HEADER_LINES_MAX - len(LINES)
    assert request(INVITE.replace(b"Max-Forwards", b"X: y\r\n" * lines + b"Max-Forwards")).max_forwards == 70
    assert (
        request(INVITE.replace(b"Max-Forwards", b"X: " + b"y" * (LINE_BYTES_MAX - 3) + b"\r\nMax-Forwards")).cseq == 1
    )
    assert request(bent((b"Via", b"Via: " + b", ".join([b"SIP/2.0/UDP h"] * VIAS_MAX)))).via_count == VIAS_MAX


def test_an_ack_is_never_answered() -> None:
    ack = INVITE.replace(b"INVITE", b"ACK")
    assert refusal(ack[:-1]).request is None
    assert refusal(ack.replace(b"To: ", b'To: "')).request is None


def test_a_broken_request_keeps_what_its_reply_mirrors() -> None:
    error = refusal(bent((b"To", b'To: "x <sip:a@b>'), (b"CSeq", b"CSeq: 99999999999999999999 INVITE")))
    assert error.request is not None
    assert (error.request.method, error.request.call_id, error.request.from_tag) == (
        b"INVITE",
        b"8f21@192.0.2.10",
        b"f1",
    )
    assert error.request.via.branch == b"z9hG4bKa7f3"
    assert b"CSeq: 99999999999999999999 INVITE" in error.request.lines


def test_a_lone_lf_is_never_mirrored() -> None:
    error = refusal(bent((b"To", b"To: <sip:a@b>\nEvil: 1")))
    assert error.request is None or not any(b"Evil" in line for line in error.request.lines)


BIG_BODY = b"\x1f\x8b\x08\x00" + bytes(range(256)) * 230


def test_a_body_of_any_bytes_is_kept_whole() -> None:
    data = bent((b"Content-Length", b"Content-Length: %d" % len(BIG_BODY)))[:-5] + BIG_BODY
    assert request(data).body == BIG_BODY


@given(st.binary(max_size=2048))
def test_any_bytes_parse_or_raise_parse_error(data: bytes) -> None:
    with suppress(ParseError):
        parse_message(data)


@given(st.integers(0, len(INVITE)), st.integers(0, 40), st.binary(max_size=12))
def test_a_damaged_message_parses_or_raises_parse_error(at: int, cut: int, insert: bytes) -> None:
    try:
        parsed = parse_message(INVITE[:at] + insert + INVITE[at + cut :])
    except ParseError:
        return
    assert len(parsed.lines) == len(parsed.ids)
    assert parsed.call_id
    assert parsed.via.host


@pytest.mark.parametrize("data", [INVITE, OK])
def test_every_prefix_is_refused(data: bytes) -> None:
    whole = len(data)
    for size in range(whole):
        error = refusal(data[:size])
        assert error.status in (400, 505)


@pytest.mark.parametrize("hid", sorted(NAMES))
def test_a_header_that_was_noted_is_there_and_no_other_is(hid: int) -> None:
    message = Message(b"", [], b"")
    message.note(hid)
    assert [each for each in NAMES if message.has(each)] == [hid]
    message.ids = []
    message.note_dropped(hid)
    assert not any(message.has(each) for each in NAMES)


@pytest.mark.parametrize("hid", [hid for hid in sorted(NAMES) if hid > AUTHORIZATION])
def test_a_header_that_was_read_is_there_and_none_that_was_not(hid: int) -> None:
    lines = [b"OPTIONS sip:a@b SIP/2.0", b"Via: SIP/2.0/UDP h;branch=z9hG4bK1", b"From: <sip:a@b>;tag=1"]
    lines += [b"To: <sip:a@b>", b"Call-ID: 1", b"CSeq: 1 OPTIONS", NAMES[hid] + b": 1", b"", b""]
    message = parse_message(b"\r\n".join(lines))
    assert {each for each in NAMES if message.has(each)} == set(message.ids)
