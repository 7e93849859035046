"""Messages in the shape of published attacks on SIP parsers: each is read or refused, and forges nothing."""

from __future__ import annotations

import pytest

from switch.wire.auth import parse_credentials
from switch.wire.errors import FramingError, ParseError
from switch.wire.framing import StreamFramer
from switch.wire.headers import AUTHORIZATION, CONTACT, OTHER, P_ASSERTED_IDENTITY, PROXY_AUTHORIZATION
from switch.wire.message import Request, parse_message
from switch.wire.name_addr import NameAddr
from switch.wire.uri import parse_uri
from tests.fakes.wire import INVITE, OK, bent


def request(data: bytes) -> Request:
    parsed = parse_message(data)
    assert isinstance(parsed, Request)
    return parsed


def refused(data: bytes) -> ParseError:
    with pytest.raises(ParseError) as caught:
        parse_message(data)
    return caught.value


def test_a_branch_and_tag_of_nothing_but_edges() -> None:
    """CVE-2018-8828: a From tag and a branch at the border of their buffers."""
    for size in (0, 1, 7, 8, 255, 256, 4095, 4096, 7000):
        data = bent(
            (b"Via", b"Via: SIP/2.0/UDP h;branch=z9hG4bK" + b"b" * size),
            (b"From", b"From: <sip:a@b>;tag=" + b"t" * size),
        )
        if size == 0:
            assert request(data).from_tag == b""
            continue
        assert (len(request(data).via.branch), len(request(data).from_tag)) == (size + 7, size)


def test_a_cseq_method_longer_than_any_buffer() -> None:
    """CVE-2017-9372."""
    method = b"A" * 4000
    assert request(bent((b"CSeq", b"CSeq: 1 " + method), start=method + b" sip:a@b SIP/2.0")).cseq_method == method
    assert refused(bent((b"CSeq", b"CSeq: 1 " + method))).status == 400


@pytest.mark.parametrize(
    "line",
    [
        b"Via",
        b"Via:",
        b"Via: ",
        b"Via: SIP",
        b"Via: SIP/",
        b"Via: SIP/2.0/",
        b"Via: SIP/2.0/UDP\t",
        b"Via: ;",
        b"Via: ,;",
    ],
)
def test_a_via_that_stops_anywhere(line: bytes) -> None:
    """CVE-2023-27598."""
    error = refused(bent((b"Via", line)))
    assert error.status == 400
    assert refused(OK.replace(OK.split(b"\r\n")[1], line)).request is None


@pytest.mark.parametrize(
    "value",
    [
        b"<sip:%@h>",
        b"<sip:a@h>;tag",
        b"<sip:a@h>;tag=",
        b"<sip:a@h>;",
        b"<sip:@>",
        b"<:>",
        b"sip:",
        b"<sip:a@h>;=x",
        b"<sip:a@h>;tag=;tag=x",
    ],
)
def test_a_to_that_stops_anywhere(value: bytes) -> None:
    """CVE-2023-27599: the tag of a broken To reaches no reply of ours in a form that breaks others."""
    data = bent((b"To", b"To: " + value))
    try:
        tag = request(data).to_tag
    except ParseError:
        assert refused(data).status == 400
    else:
        assert tag == b""


@pytest.mark.parametrize(
    "value",
    [b"Digest", b"Digest ", b"Digest\t", b"Digest ,", b"Digest ,,,", b"Digest =", b"Digest a", b"Digest a=",
     b"Digest a=\t,\t", b"Digest username=\x00", b"Digest\x00username=x", b"Digest username==",
     b'Digest username="', b"Digest a=b c=d",
     b"D" * 4000, b"Digest " + b"a" * 4000],
)  # fmt: skip
def test_credentials_that_stop_anywhere(value: bytes) -> None:
    """CVE-2023-28098."""
    try:
        credentials = parse_credentials(value)
    except ParseError:
        return
    assert "username" not in credentials.params or credentials.params["username"] == b"="


@pytest.mark.parametrize("byte", range(33))
def test_a_control_byte_in_a_name_is_neither_the_header_nor_an_unknown_one(byte: int) -> None:
    """CVE-2016-9938: AST-2016-009, where Contact with a control byte was Contact for one reader only."""
    data = bent((b"Subject", b"Contact" + bytes([byte]) + b": <sip:evil@203.0.113.66>"))
    if byte in (9, 32):
        assert request(data).ids.count(CONTACT) == 2
    else:
        assert refused(data).status == 400


@pytest.mark.parametrize("name", [b"P-Asserted-Identity\t", b"p-asserted-identity  ", b"P-ASSERTED-IDENTITY"])
def test_a_header_to_strip_is_found_with_blanks_before_its_colon(name: bytes) -> None:
    """CVE-2020-28361."""
    parsed = request(bent((b"X", name + b": <sip:ceo@h>")))
    assert parsed.ids.count(P_ASSERTED_IDENTITY) == 1
    assert OTHER not in parsed.ids


@pytest.mark.parametrize("length", [2**32 + 32, 2**31, 2**63, 2**64 + 5, 10**30])
def test_a_content_length_that_wraps_hides_no_second_message(length: int) -> None:
    """CVE-2026-23457's shape: after 2^32 + 32 a 32-bit reader sees a new message in the body."""
    framer = StreamFramer()
    with pytest.raises(FramingError) as caught:
        framer.feed(bent((b"Content-Length", b"Content-Length: %d" % length)) + b"x" * 27 + INVITE)
    assert caught.value.messages == []


def test_several_credentials_are_each_kept_whole() -> None:
    first = b'Authorization: Digest username="a",realm="r"'
    others = b'authorization : Unknown x=y\r\nProxy-Authorization:\r\n Digest username="b"'
    parsed = request(INVITE.replace(b"Max-Forwards", first + b"\r\n" + others + b"\r\nMax-Forwards"))
    assert parsed.each(AUTHORIZATION) == [b'Digest username="a",realm="r"', b"Unknown x=y"]
    assert parse_credentials(parsed.each(PROXY_AUTHORIZATION)[0]).params == {"username": b"b"}


def test_quoted_pairs_in_a_user_name_forge_no_parameter() -> None:
    value = b'Digest username="bob\\", realm=\\"evil",realm="r"'
    assert parse_credentials(value).params == {"username": b'bob", realm="evil', "realm": b"r"}


def test_a_user_name_of_any_size_is_read_or_over_the_limit() -> None:
    for size, status in ((7_000, 0), (10_000, 513)):
        data = bent((b"Authorization", b'Authorization: Digest username="' + b"u" * size + b'"'))
        if status:
            assert refused(data).status == status
        else:
            assert len(parse_credentials(request(data).each(AUTHORIZATION)[0]).params["username"]) == size


@pytest.mark.parametrize(
    "uri",
    [b"sip:1555@good@evil", b"sip:1555%40good@evil", b"sip:good?x@evil", b"sip:good;x@evil", b"sip:good:5060@evil",
     b"sip:good#@evil", b"sip:good/@evil", b"sip:good\\@evil"],
)  # fmt: skip
def test_a_uri_has_one_host_for_every_reader(uri: bytes) -> None:
    try:
        assert parse_uri(uri).host == b"evil"
    except ParseError:
        assert uri.count(b"@") == 2


def test_bytes_for_terminals_and_spreadsheets_pass_unchanged_in_quotes() -> None:
    display = b'"\x1b[2J=cmd|\xff\x00<script>"'
    parsed = request(bent((b"From", b"From: " + display + b" <sip:a@b>;tag=1")))
    assert NameAddr.parse(parsed.from_value()).display == display
