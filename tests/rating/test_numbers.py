"""One number has one form, whatever its spelling; dial patterns mean what they say."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rating.numbers import PatternError, compile_dial_pattern, normalise_e164, strip_digits


@pytest.mark.parametrize(
    "spelling",
    [
        *("442079460958", "+442079460958", "00442079460958", "011442079460958"),
        *("+44 20 7946 0958", "+44-20-7946-0958", "+44.20.7946.0958", "(+44)2079460958", "44 (20) 7946-0958"),
        *("tel:+44-20-7946-0958", "TEL:+442079460958", "+442079460958;ext=12", "tel:+442079460958;phone-context=x"),
        *("442079460958;npdi;rn=+1", "00 44 20 7946 0958", "011-44-20-7946-0958"),
    ],
)
def test_all_spellings_of_a_number_are_one_number(spelling: str) -> None:
    assert normalise_e164(spelling) == "442079460958"


@pytest.mark.parametrize(
    "text",
    [
        *("", "+", "00", "011", ";ext=1", "02079460958", "+02079460958", "0002079460958", "0110442079460958"),
        *("123456", "+123456", "1234567890123456", "++442079460958", "44+2079460958", "4420794609a8", "anonymous"),
        *(
            "442079460958\r\n",
            "４４２０７９４６０９５８",
            "44207946095٨",
            "*67442079460958",
            "sip:442079460958",
            "4" * 500,
        ),
        "+" + " " * 200 + "442079460958",
    ],
)
def test_what_is_no_international_number_is_none(text: str) -> None:
    assert normalise_e164(text) is None


@given(st.from_regex(r"[1-9][0-9]{6,14}", fullmatch=True), st.sampled_from(["", "+", "00", "011", "tel:+", "tel:"]))
def test_every_valid_number_is_found_behind_every_prefix(digits: str, prefix: str) -> None:
    assert normalise_e164(prefix + digits) == digits


@given(st.text(max_size=40))
def test_any_text_gives_e164_digits_or_none(text: str) -> None:
    number = normalise_e164(text)
    assert number is None or re.fullmatch(r"[1-9][0-9]{6,14}", number)


@pytest.mark.parametrize(
    ("pattern", "matching", "other"),
    [
        ("1NXXNXXXXXX", ["12125551234"], ["11125551234", "1212555123", "121255512345", "02125551234"]),
        ("ZXX", ["100", "999"], ["099", "10", "1000"]),
        ("00.", ["001", "0044207"], ["00", "01"]),
        ("00!", ["00", "001"], ["0"]),
        ("+[1-37].", ["+15", "+35", "+799"], ["+45", "+1", "15"]),
        ("[5*]#", ["5#", "*#"], ["##", "5"]),
        ("!", ["", "123", "*#"], ["+1", "12a"]),
        (".9", ["09", "999"], ["9", "98"]),
        ("!!5!!", ["5", "12534"], ["", "1234"]),
        ("1.2.3", ["14243", "10020003"], ["123", "1423"]),
        ("xnz", ["021"], ["011", "020"]),
    ],
)
def test_patterns_match_what_they_describe(pattern: str, matching: list[str], other: list[str]) -> None:
    compiled = compile_dial_pattern(pattern)
    assert [text for text in matching if not compiled.matches(text)] == []
    assert [text for text in other if compiled.matches(text)] == []


@pytest.mark.parametrize(
    "pattern", ["", "1 2", "(1)", "a", "[", "[]", "1[2", "[9-1]", "[a-z]", "1]", "X{3}", "9" * 129, "½"]
)
def test_patterns_that_mean_nothing_are_refused(pattern: str) -> None:
    with pytest.raises(PatternError):
        compile_dial_pattern(pattern)


_AS_REGEX = {"X": "[0-9]", "Z": "[1-9]", "N": "[2-9]", ".": "[0-9*#]+", "!": "[0-9*#]*", "+": r"\+", "*": r"\*"}


@given(st.text("XZN.!0123+*#", min_size=1, max_size=8), st.text("0129+*#", max_size=10))
def test_patterns_agree_with_the_regular_expression_they_stand_for(pattern: str, text: str) -> None:
    regex = "".join(_AS_REGEX.get(character, character) for character in pattern)
    assert compile_dial_pattern(pattern).matches(text) == (re.fullmatch(regex, text) is not None)


def test_a_pattern_of_nothing_but_wildcards_takes_the_longest_text_in_one_pass() -> None:
    pattern = compile_dial_pattern("." * 60 + "+")
    assert not pattern.matches("1" * 128)
    assert compile_dial_pattern("!" * 100).matches("1" * 128)
    assert not pattern.matches("1" * 1_000_000)


@pytest.mark.parametrize(
    ("text", "count", "rest"), [("15551234", 1, "5551234"), ("+15551234", 1, "5551234"), ("15", 0, "15"), ("15", 5, "")]
)
def test_stripping_counts_digits(text: str, count: int, rest: str) -> None:
    assert strip_digits(text, count) == rest
