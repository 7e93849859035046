"""Dial strings: prefixes, RE2 expressions, and what is refused when it is saved."""

from __future__ import annotations

import pytest

from rating.numbers import PatternError
from switch.policy.dial_strings import DialStrings, compile_dial_string


@pytest.mark.parametrize(
    ("text", "number", "is_match"),
    [
        ("44", "442079460000", True),
        ("+44", "442079460000", True),
        (" 44 ", "442079460000", True),
        ("44", "4", False),
        ("44", "1442079460", False),
        ("44(20|161)", "442079460000", True),
        ("44(20|161)", "441619460000", True),
        ("44(20|161)", "441519460000", False),
        ("^1[2-9][0-9]{9}$", "12125550100", True),
        ("^1[2-9][0-9]{9}$", "121255501000", False),
        ("20", "442079460000", False),
        (".*00$", "442079460000", True),
    ],
)
def test_a_line_takes_the_numbers_that_it_describes_from_their_first_digit(
    text: str, number: str, is_match: bool
) -> None:
    assert compile_dial_string(text).matches(number) is is_match
    assert DialStrings([compile_dial_string(text)]).matches(number) is is_match


@pytest.mark.parametrize("text", ["", "   ", "44(", "*44", "[9-0]", "(?=44)", r"(a)\1", "x" * 501, "((4{99}){99}){99}"])
def test_a_line_that_cannot_be_used_is_refused(text: str) -> None:
    with pytest.raises(PatternError):
        compile_dial_string(text)


def test_any_line_of_several_passes() -> None:
    lines = DialStrings([compile_dial_string(text) for text in ("33", "44", "49(1|2)", "1[2-9]")])
    assert [lines.matches(n) for n in ("331", "441", "4910", "1299", "4930", "1199")] == [True] * 4 + [False] * 2


def test_no_lines_take_everything() -> None:
    assert DialStrings([]).matches("999")


def test_a_nested_repetition_costs_linear_time() -> None:
    # Backtracking would take 2^60 steps here: this test would never end.
    assert not compile_dial_string("(1+)+$").matches("1" * 60 + "2")


def test_expressions_too_large_together_still_work_one_by_one() -> None:
    lines = [compile_dial_string("[0-9]{3}([0-9]?){999}" + str(digit) * 3 + "$") for digit in range(10)]
    together = DialStrings(lines)
    assert together.matches("1234777")
    assert not together.matches("12347")
