import pytest
from hypothesis import given
from hypothesis import strategies as st

from switch.wire.errors import ParseError
from switch.wire.message import plain_tag
from switch.wire.name_addr import NameAddr, replace_uri


@pytest.mark.parametrize(
    ("value", "display", "uri", "tag"),
    [
        (b'"A. \\"G\\" Bell <x>" <sip:a@b;x=1?y=z>;tag=1', b'"A. \\"G\\" Bell <x>"', b"sip:a@b;x=1?y=z", b"1"),
        (b"caller<sip:caller@example.com>;tag=323", b"caller", b"sip:caller@example.com", b"323"),
        (b"sip:a@b;tag=1;x", b"", b"sip:a@b", b"1"),
        (b"<tel:+1555>", b"", b"tel:+1555", b""),
        (b"isbn:2983792873", b"", b"isbn:2983792873", b""),
        (b"sip:vivekg@chair ;   tag    = 19", b"", b"sip:vivekg@chair", b"19"),
        (b"J\xc3\xb6rg (Sales) <sip:j@h> ; TAG = x", b"J\xc3\xb6rg (Sales)", b"sip:j@h", b"x"),
        (b"<sip:a@b>;;tag=1;", b"", b"sip:a@b", b"1"),
        (b'"\x00\x07\xff" <sip:a@b>', b'"\x00\x07\xff"', b"sip:a@b", b""),
    ],
)
def test_values_come_apart(value: bytes, display: bytes, uri: bytes, tag: bytes) -> None:
    address = NameAddr.parse(value)
    assert (address.display, address.uri, address.tag) == (display, uri, tag)


@pytest.mark.parametrize(
    "value",
    [
        b"", b'"Mr. J. User <sip:j@h>', b"Bell, Alexander <sip:a@b>;tag=43", b'"W" < sip:t@h >', b"<sip:a@b",
        b"sip:a@b>", b"<sip:a@b>x", b"<sip:a@b> (comment", b"(comment <sip:a@b>",
        b"<>", b"<a@b>", b"a b", b'"x" sip:a@b', b'"x"',
        b"sip:a@b?Route=%3Csip:h%3E", b"sip:a@b,sip:c@d", b"<sip:a@[::1>", b"<sip:a@b>;tag=1;tag=2", b"<sip:a>;tag=a b",
        b"<sip:a@b>;tag=\xff", b"a;b <sip:a@b>", b"<sip:<a@b>>", b'<sip:a"@b>', b"\x00 <sip:a@b>", b"<sip:a\x01@b>",
    ],
)  # fmt: skip
def test_broken_values_are_refused(value: bytes) -> None:
    with pytest.raises(ParseError):
        NameAddr.parse(value)


def test_only_the_uri_is_replaced() -> None:
    assert replace_uri(b'"A <x>"  <sip:a@b>;tag=1;Q', b"sip:n@m") == b'"A <x>"  <sip:n@m>;tag=1;Q'
    assert replace_uri(b" sip:a@b ;tag=1", b"sip:n@m;user=phone") == b"<sip:n@m;user=phone> ;tag=1"


PIECES = st.sampled_from(
    [b"<", b">", b"sip:", b"a@b", b'"', b'"Al"', b"Al", b" ", b";tag=", b"x1", b";", b",", b"[", b"]", b"\\", b"(",
     b"\xff", b"\x00", b"tel:1", b"?", b"=", b";TAG=", b"\t", b":"]
)  # fmt: skip


@given(
    st.lists(PIECES, max_size=6).map(b"".join),
    st.lists(PIECES, max_size=4).map(b"".join),
    st.lists(PIECES, max_size=5).map(b"".join),
)
def test_the_plain_tag_reader_says_nothing_else_than_the_general_one(display: bytes, uri: bytes, tail: bytes) -> None:
    for value in (display + b"<sip:a" + uri + b">" + tail, display + uri + tail, b"<sip:a@b>;tag=" + tail):
        value = value.strip(b" \t")
        tag = plain_tag(value)
        if tag is not None:
            assert NameAddr.parse(value).tag == tag


@pytest.mark.parametrize(
    "value",
    [
        b'"Al\\" <sip:a@b>;tag=1',
        b'"a<b" <sip:a@b>',
        b'x"y" <sip:a@b>',
        b"<sip:[::1]>",
        b"<sip:a@b> ;tag=1",
        b"<sip:a@b>;tag=1;x",
        b"sip:a",
    ],
)
def test_the_plain_tag_reader_stands_aside(value: bytes) -> None:
    assert plain_tag(value) is None


@pytest.mark.parametrize(
    "value", [b'"A B" <sip:a@b>;tag=1', b"<sip:a@b;x=y>;tag=1", b"Al Bo<sip:a@b>;tag=1", b'""<sip:a>;tag=1']
)
def test_the_plain_tag_reader_takes_the_usual_forms(value: bytes) -> None:
    assert plain_tag(value) == b"1"


@given(st.lists(PIECES, max_size=10).map(b"".join))
def test_a_replaced_uri_reads_back(value: bytes) -> None:
    try:
        before = NameAddr.parse(value)
    except ParseError:
        return
    after = NameAddr.parse(replace_uri(value, b"sip:new@host"))
    assert (after.uri, after.display, after.params) == (b"sip:new@host", before.display, before.params)
