import pytest
from hypothesis import given
from hypothesis import strategies as st

from switch.wire import headers
from switch.wire.errors import ParseError
from switch.wire.headers import COMPACT, NAMES, OTHER, TOUCHED_MAX, header_id


@pytest.mark.parametrize(("hid", "name"), sorted(NAMES.items()))
def test_a_name_is_known_in_any_case_and_with_blanks_before_the_colon(hid: int, name: bytes) -> None:
    for spelling in (name, name.lower(), name.upper(), name.title(), name.swapcase(), name + b" ", name + b"\t "):
        assert header_id(spelling) == hid


@pytest.mark.parametrize(("name", "hid"), sorted(COMPACT.items()))
def test_a_compact_form_is_its_long_form(name: bytes, hid: int) -> None:
    assert header_id(name) == header_id(name.upper()) == header_id(name + b" ") == hid


@pytest.mark.parametrize(
    "name", [b"To\x01", b"Contact\x00", b"P-Asserted-Identity\x7f", b"Fr om", b"", b" ", b"\xc3\xa9", b"To\x0b"]
)
def test_a_name_that_is_no_token_is_refused(name: bytes) -> None:
    with pytest.raises(ParseError):
        header_id(name)


def test_a_name_that_we_do_not_know_is_other() -> None:
    assert header_id(b"C%6Fntact") == header_id(b"Xenon") == OTHER
    assert header_id(b"X-Acme") == header_id(b"x-acme ") == headers.X_HEADER <= TOUCHED_MAX


def test_what_a_proxy_strips_or_edits_has_a_low_id() -> None:
    assert max(headers.P_ASSERTED_IDENTITY, headers.P_CHARGE_INFO, headers.CONTENT_LENGTH, headers.ROUTE) <= TOUCHED_MAX
    assert min(headers.REQUIRE, headers.USER_AGENT, headers.MAX_BREADTH) > TOUCHED_MAX


@given(st.binary(max_size=40))
def test_any_bytes_have_an_id_or_are_refused(name: bytes) -> None:
    try:
        assert header_id(name) in {*NAMES, headers.X_HEADER, OTHER}
    except ParseError:
        assert not name.rstrip(b" \t").isalnum()
