from hypothesis import given
from hypothesis import strategies as st

from switch.wire import uri as module
from switch.wire.errors import ParseError
from switch.wire.uri import KNOWN_BYTES_MAX, KNOWN_MAX, Uri, parse_uri


def fields(uri: Uri) -> tuple[object, ...]:
    return (uri.raw, uri.scheme, uri.user, uri.password, uri.host, uri.port, uri.params, uri.headers)


def reading(raw: bytes) -> tuple[object, ...] | str:
    try:
        return fields(parse_uri(raw))
    except ParseError as error:
        return str(error)


@given(st.one_of(st.binary(max_size=40), st.from_regex(rb"sips?:[a-z0-9]{0,4}@?[a-z0-9.:]{0,9}(;lr)?", fullmatch=True)))
def test_a_uri_reads_the_same_the_second_time(raw: bytes) -> None:
    first = reading(raw)
    assert reading(raw) == first


def test_the_memory_of_uris_is_bounded() -> None:
    for number in range(KNOWN_MAX + 100):
        parse_uri(b"sip:%d@example.com" % number)
    assert 0 < len(module._known) <= KNOWN_MAX


def test_long_uris_are_not_remembered() -> None:
    raw = b"sip:" + b"1" * KNOWN_BYTES_MAX + b"@example.com"
    assert parse_uri(raw).host == b"example.com"
    assert raw not in module._known
