import pytest
from hypothesis import given
from hypothesis import strategies as st

from switch.wire.errors import ParseError
from switch.wire.uri import parse_uri, percent_decoded


def test_a_sip_uri_comes_apart() -> None:
    uri = parse_uri(b"SIPS:+1555;npdi:secret@Example.COM:5061;Transport=TCP;lr?Subject=x")
    assert (uri.scheme, uri.user, uri.password, uri.host, uri.port) == (
        b"sips",
        b"+1555;npdi",
        b"secret",
        b"example.com",
        5061,
    )
    assert uri.params == {b"transport": b"TCP", b"lr": b""}
    assert (uri.param(b"lr"), uri.param(b"maddr"), uri.headers) == (b"", None, b"Subject=x")


def test_a_uri_without_user_has_only_a_host() -> None:
    uri = parse_uri(b"sip:192.0.2.1:5060")
    assert (uri.user, uri.host, uri.port) == (b"", b"192.0.2.1", 5060)


def test_user_parts_may_hold_what_ends_a_host() -> None:
    uri = parse_uri(b"sip:user;par=u%40example.net@example.com")
    assert (uri.user, uri.host, uri.params) == (b"user;par=u%40example.net", b"example.com", {})
    assert parse_uri(b"sip:a?b/c@h").user == b"a?b/c"


@pytest.mark.parametrize(
    ("raw", "host", "port"),
    [
        (b"sip:[2001:DB8::1]", b"[2001:db8::1]", 0),
        (b"sip:[2001:db8::10:5070]", b"[2001:db8::10:5070]", 0),
        (b"sip:[2001:db8:::192.0.2.1]", b"[2001:db8::192.0.2.1]", 0),
        (b"sip:a@[::ffff:192.0.2.10]:19823;lr", b"[::ffff:192.0.2.10]", 19823),
    ],
)
def test_ipv6_hosts_keep_their_brackets(raw: bytes, host: bytes, port: int) -> None:
    uri = parse_uri(raw)
    assert (uri.host, uri.port) == (host, port)


def test_a_tel_uri_has_its_number_as_user() -> None:
    uri = parse_uri(b"tel:+1-201-555-0123;phone-context=example.com;ext=5")
    assert (uri.scheme, uri.user, uri.host) == (b"tel", b"+1-201-555-0123", b"")
    assert uri.param(b"ext") == b"5"


def test_another_scheme_is_kept_whole() -> None:
    uri = parse_uri(b"nobodyKnowsThisScheme:totallyopaquecontent")
    assert (uri.scheme, uri.user) == (b"nobodyknowsthisscheme", b"totallyopaquecontent")


@pytest.mark.parametrize(
    "raw",
    [
        b"", b"sip:", b"sip:@h", b"sip:a@", b"sip:a@b@c", b"sip:a b@c", b"sip:a@b c", b"<sip:a@b>", b'sip:"a"@b',
        b"sip:a@b:", b"sip:a@b:x", b"sip:a@b:65536", b"sip:a@b:-1", b"sip:a@b:123456", b"sip:2001:db8::10",
        b"sip:[2001:db8::1", b"sip:[2001:db8::::1]", b"sip:[::1%eth0]", b"sip:[::1]x", b"sip:[]",
        b"sip:a@b;x=1;X=2", b"sip:a@b;=1", b"sip:a@h\xc3\xa9", b"sip:a\x00@b", b"sip:a@b\x7f", b"tel:", b"tel:;x=1",
        b"no-scheme", b"1sip:x", b"s p:x", b"x:", b":x",
    ],
)  # fmt: skip
def test_broken_uris_are_refused(raw: bytes) -> None:
    with pytest.raises(ParseError):
        parse_uri(raw)


def test_escapes_are_undone_once() -> None:
    assert parse_uri(b"sip:%2B1%35%2541@h").user_text() == "+15%41"
    assert percent_decoded("é".encode()) == percent_decoded(b"%c3%A9") == "é"


@pytest.mark.parametrize(
    "user", [b"a%00", b"a%0d%0ab", b"a%", b"a%4", b"a%4g", b"a%7f", b"%ff", b"%c2%85", b"%e2%80%ae"]
)
def test_escapes_that_hide_controls_or_break_are_refused(user: bytes) -> None:
    with pytest.raises(ParseError):
        parse_uri(b"sip:" + user + b"@h").user_text()


@given(st.binary(max_size=80))
def test_any_bytes_are_a_uri_or_refused(raw: bytes) -> None:
    try:
        uri = parse_uri(b"sip:" + raw)
    except ParseError:
        return
    assert uri.host
    assert b"@" not in uri.host


@given(st.text(st.characters(categories=("L", "N", "P", "S")), min_size=1, max_size=20))
def test_every_user_survives_escaping(text: str) -> None:
    escaped = b"".join(b"%%%02X" % byte for byte in text.encode())
    assert parse_uri(b"sip:" + escaped + b"@h").user_text() == text
