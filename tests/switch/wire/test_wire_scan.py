import pytest
from hypothesis import given
from hypothesis import strategies as st

from switch.wire.errors import ParseError
from switch.wire.scan import parse_params, quote, split_commas, unfold, unquote


def test_a_fold_becomes_one_blank() -> None:
    assert unfold(b" one  \r\n\t two\r\n   three ") == b"one two three"


def test_commas_in_quotes_and_angles_do_not_split() -> None:
    assert split_commas(b'"a,\\",b" <sip:x,y@z>;p="q,r" , <sip:b>,,') == [b'"a,\\",b" <sip:x,y@z>;p="q,r"', b"<sip:b>"]


@pytest.mark.parametrize("value", [b'"a, b', b'a, "b\\"', b"<sip:a, b", b'"\\'])
def test_an_open_quote_or_angle_is_refused(value: bytes) -> None:
    with pytest.raises(ParseError):
        split_commas(value + b",x")


def test_parameters_are_read_with_blanks_case_and_quotes() -> None:
    assert parse_params(b' A = b ; lr;Q="x;\\"y" ;') == {b"a": b"b", b"lr": b"", b"q": b'"x;\\"y"'}


@pytest.mark.parametrize("text", [b"a=1;A=2", b"tag=x;tag=y", b'a="x"y', b"a=b c", b"=b", b"a b", b"a=<b", b"a=(b"])
def test_ambiguous_or_broken_parameters_are_refused(text: bytes) -> None:
    with pytest.raises(ParseError):
        parse_params(text)


@given(st.binary(max_size=60))
def test_quoting_is_undone_by_unquoting(text: bytes) -> None:
    assert unquote(quote(text)) == text
    assert split_commas(quote(text) + b",x") == [quote(text), b"x"]


@given(st.lists(st.binary(min_size=1, max_size=12), min_size=1, max_size=6))
def test_quoted_values_joined_by_commas_split_again(texts: list[bytes]) -> None:
    quoted = [quote(text) for text in texts]
    assert split_commas(b" , ".join(quoted)) == quoted
