import pytest
from hypothesis import given
from hypothesis import strategies as st

from switch.wire.errors import ParseError
from switch.wire.via import Via, _parse_general, _parse_plain, unreadable_via


def facts(via: Via) -> tuple[object, ...]:
    return via.transport, via.host, via.port, via.branch, via.has_rport, via.received, via.rport, via.maddr


def test_the_plain_form_is_read() -> None:
    via = Via.parse(b"SIP/2.0/UDP 192.0.2.1:5070;branch=z9hG4bK1;rport")
    assert facts(via) == (b"UDP", b"192.0.2.1", 5070, b"z9hG4bK1", True, b"", 0, b"")


def test_blanks_and_case_change_nothing() -> None:
    via = Via.parse(b"sip  /  2.0\t/ tcp   spindle.example.com :  5060 ;\tBranch  =  z9hG4bK9 ; ttl=16;maddr=224.2.0.1")
    assert facts(via) == (b"TCP", b"spindle.example.com", 5060, b"z9hG4bK9", False, b"", 0, b"224.2.0.1")


@pytest.mark.parametrize("received", [b"2001:db8::9:255", b"[2001:db8::9:255]"])
def test_an_ipv6_received_is_read_with_and_without_brackets(received: bytes) -> None:
    via = Via.parse(b"SIP/2.0/UDP [2001:db8::9:1]:5070;received=" + received + b";branch=z9hG4bKas3;rport=9")
    assert facts(via) == (b"UDP", b"[2001:db8::9:1]", 5070, b"z9hG4bKas3", True, b"2001:db8::9:255", 9, b"")


@pytest.mark.parametrize(
    "value",
    [
        b"", b"SIP/2.0/UDP", b"SIP/2.0/UDP ", b"SIP/2.0 h", b"SIP/7.0/UDP h", b"HTTP/2.0/UDP h", b"SIP/2.0/U(P h",
        b"SIP/2.0/UDP h:", b"SIP/2.0/UDP h:x", b"SIP/2.0/UDP h:65536", b"SIP/2.0/UDP h:99999", b"SIP/2.0/UDP [::1",
        b"SIP/2.0/UDP h h", b"SIP/2.0/UDP h (comment", b'SIP/2.0/UDP h;x="', b"SIP/2.0/UDP h;branch=",
        b'SIP/2.0/UDP h;branch="x"', b"SIP/2.0/UDP h;branch", b"SIP/2.0/UDP h;received=",
        b"SIP/2.0/UDP h;branch=a;branch=b", b"SIP/2.0/UDP h;;", b"SIP/2.0/UDP h;", b"SIP/2.0/UDP h;rport=x",
        b"SIP/2.0/UDP h;rport=70000", b"SIP/2.0/UDP h;rport;rport", b"SIP/2.0/UDP h;x=a b", b"SIP/2.0/UDP h\xc3\xa9",
        b"SIP/2.0/UDP <h>", b"SIP/2.0/UDP h;branch=a,SIP/2.0/UDP g",
    ],
)  # fmt: skip
def test_broken_values_are_refused(value: bytes) -> None:
    with pytest.raises(ParseError):
        Via.parse(value)


def test_received_is_added_where_the_host_is_not_the_source() -> None:
    assert (
        Via.parse(b"SIP/2.0/UDP h;branch=b").with_source("192.0.2.1", 9) == b"SIP/2.0/UDP h;branch=b;received=192.0.2.1"
    )
    same = b"SIP/2.0/UDP 192.0.2.1;branch=b"
    assert Via.parse(same).with_source("192.0.2.1", 9) == same


def test_rport_asks_for_address_and_port_always() -> None:
    value = Via.parse(b"SIP/2.0/UDP 192.0.2.1;rport;branch=b").with_source("192.0.2.1", 5099)
    assert value == b"SIP/2.0/UDP 192.0.2.1;branch=b;received=192.0.2.1;rport=5099"


def test_what_the_peer_says_of_its_own_source_is_taken_out() -> None:
    forged = Via.parse(b"SIP/2.0/UDP 192.0.2.1;Received=10.0.0.1;rport=1;branch=b")
    assert forged.with_source("192.0.2.7", 5099) == b"SIP/2.0/UDP 192.0.2.1;branch=b;received=192.0.2.7;rport=5099"
    forged = Via.parse(b'SIP/2.0/UDP 192.0.2.1 ; received = 10.0.0.1;x="a;received=b"')
    assert forged.with_source("192.0.2.1", 5099) == b'SIP/2.0/UDP 192.0.2.1;x="a;received=b"'


def test_two_spellings_of_one_ipv6_address_are_the_same_source() -> None:
    value = b"SIP/2.0/UDP [2001:DB8:0::1];branch=b"
    assert Via.parse(value).with_source("2001:db8::1", 5060) == value
    assert Via.parse(value).with_source("2001:db8::2", 5060) == value + b";received=2001:db8::2"


def test_a_value_that_cannot_be_read_is_mirrored_as_it_came() -> None:
    via = unreadable_via(b'SIP/2.0/UDP h;x="')
    assert via.has_rport
    assert via.with_source("192.0.2.1", 5060) == b'SIP/2.0/UDP h;x="'


PIECES = st.sampled_from(
    [b"SIP/2.0/UDP ", b"SIP/2.0/TLS ", b" ", b"h", b"192.0.2.1", b":5060", b":65535", b":65536", b":0", b"[::1]",
     b";branch=", b"z9hG4bK", b";rport", b";rport=", b";alias", b";received=", b"1", b";", b'"', b",", b"=",
     b";BRANCH=x", b"\t", b"\xff", b"_"]
)  # fmt: skip


@given(st.lists(PIECES, max_size=9).map(b"".join), st.booleans())
def test_the_plain_reader_says_nothing_else_than_the_general_one(tail: bytes, is_plain: bool) -> None:
    value = b"SIP/2.0/UDP h" + tail if is_plain else tail
    value = value.strip(b" \t")
    plain, general = Via(value), Via(value)
    if not _parse_plain(plain, value):
        assert facts(plain) == facts(Via(value)), "a refused value leaves no trace"
        return
    _parse_general(general, value)
    assert facts(plain) == facts(general)


@given(st.lists(st.lists(PIECES, max_size=9).map(b"".join), min_size=1, max_size=5))
def test_what_is_remembered_of_a_peer_changes_nothing(tails: list[bytes]) -> None:
    for tail in tails:
        for value in (b"SIP/2.0/UDP h" + tail, b"SIP/2.0/UDP h;rport" + tail, b"SIP/2.0/UDP h" + tail + b";rport"):
            expected: object
            try:
                general = Via(value)
                _parse_general(general, value)
                expected = facts(general)
            except ParseError:
                expected = None
            found: object
            try:
                found = facts(Via.parse(value))
            except ParseError:
                found = None
            assert found == expected


@given(st.lists(PIECES, max_size=9).map(b"".join))
def test_with_source_leaves_a_value_that_reads_back(tail: bytes) -> None:
    try:
        via = Via.parse(b"SIP/2.0/UDP h" + tail)
    except ParseError:
        return
    again = Via.parse(via.with_source("198.51.100.7", 5099))
    assert (again.branch, again.host, again.port) == (via.branch, via.host, via.port)
    assert again.received == b"198.51.100.7"
    assert again.rport == (5099 if via.has_rport else 0)
