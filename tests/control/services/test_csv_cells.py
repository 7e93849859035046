"""Cells of CSV files: no formula goes out, and nothing is lost on the way."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control.services.csv_cells import Sheet, csv_line, guard, unguard
from control.services.errors import Invalid

TEXTS = st.text(alphabet=st.sampled_from("'=+-@\t\rab ,;\"\n[]{}é＝"), max_size=12)


@given(TEXTS)
def test_a_guarded_text_is_no_formula_and_comes_back_as_it_was(text: str) -> None:
    assert not guard(text).startswith(("=", "+", "-", "@", "\t", "\r", "＝", "＋", "－", "＠"))
    assert unguard(guard(text)) == text


def test_a_quote_before_a_plain_word_stays() -> None:
    assert guard("'s-Hertogenbosch") == unguard("'s-Hertogenbosch") == "'s-Hertogenbosch"


@given(st.lists(st.lists(TEXTS, min_size=2, max_size=2), max_size=6))
def test_what_is_written_is_read_again(rows: list[list[str]]) -> None:
    data = csv_line(["a", "b"]) + b"".join(csv_line(row) for row in rows)
    read = [cells for _, cells in Sheet(data, ("a", "b"), "a").lines()]
    assert read[1:] == [row for row in rows if any(cell.strip() for cell in row)]


def test_each_line_has_the_number_that_it_begins_at() -> None:
    sheet = Sheet(b'\xef\xbb\xbfname;note\r\nx;"two\r\nlines"\r\n\r\ny;z\r\n', ("name", "note"), "name")
    assert list(sheet.lines()) == [(1, ["name", "note"]), (2, ["x", "two\r\nlines"]), (5, ["y", "z"])]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "name: the column is missing"),
        (b"name,bogus\n", "bogus: a column that is not known"),
        (b"name,name\n", "name: a column twice"),
        (b"name\n\xff\n", "file: not UTF-8"),
        (b'name\n"x\n', "file: unexpected end of data"),
    ],
)
def test_a_file_that_cannot_be_read_says_why(data: bytes, reason: str) -> None:
    with pytest.raises(Invalid, match=reason):
        list(Sheet(data, ("name", "note"), "name").lines())
