"""Telephone numbers: one form for the many spellings of one number, and dial patterns.

The one form is E.164 without its plus: 7 to 15 digits (ITU-T E.164 §6), the first not a zero.
Rates, block lists and routes only ever see that form, so a spelling cannot slip past them.
"""

from __future__ import annotations

from typing import Final

DIGITS_MIN: Final = 7
DIGITS_MAX: Final = 15
TEXT_MAX: Final = 128
"""Longer input is no telephone number, whatever it holds."""
PATTERN_MAX: Final = 128

_WITHOUT_SEPARATORS: Final = str.maketrans("", "", "-.() ")
_DIGITS: Final = "0123456789"
_ANY: Final = "0123456789*#"


class PatternError(ValueError):
    """A dial pattern that cannot be used; the text names the place and the reason."""


def normalise_e164(text: str) -> str | None:
    """The number's digits in E.164 order without `+`, or None where the text is no such number.

    Takes `+`, `00` and `011` international forms, a bare number that already looks like E.164, the
    visual separators of RFC 3966 §5.1.1 and blanks, `tel:`, and cuts parameters (`;ext=…`).
    A national number (leading 0) is nobody's E.164 number and is refused.
    """
    # What nearly every call brings: bare digits.
    if text.isdigit() and text.isascii():
        digits = text
    else:
        digits = strip_separators(text)
        if digits.startswith("+"):
            return _checked(digits[1:])
    if digits.startswith("0"):
        if digits.startswith("00"):
            return _checked(digits[2:])
        if digits.startswith("011"):
            return _checked(digits[3:])
        return None
    return _checked(digits)


def strip_separators(text: str) -> str:
    """Takes `tel:`, parameters and visual separators away; what is left may be anything."""
    if len(text) > TEXT_MAX:
        return ""
    bare = text.partition(";")[0].translate(_WITHOUT_SEPARATORS)
    return bare[4:] if bare[:4].lower() == "tel:" else bare


def strip_digits(text: str, count: int) -> str:
    """Takes `count` digits off the front; a `+` goes with them and is not counted."""
    if count <= 0:
        return text
    start = 1 if text.startswith("+") else 0
    return text[start + count :]


def _checked(digits: str) -> str | None:
    if DIGITS_MIN <= len(digits) <= DIGITS_MAX and digits.isdigit() and digits.isascii() and digits[0] != "0":
        return digits
    return None


class DialPattern:
    """A compiled dial pattern: one bit a position, all positions advanced at once.

    So a text of n characters costs n steps whatever the pattern; no backtracking, no `re`.
    """

    __slots__ = ("_accept", "_advance", "_loops", "_skips", "_start", "text")

    def __init__(self, text: str, elements: list[tuple[str, bool, bool]]) -> None:
        self.text: str = text
        # Bit i stands for "elements before i are matched".
        self._advance: dict[str, int] = {}
        self._loops: dict[str, int] = {}
        self._skips: int = 0
        for place, (allowed, repeats, is_optional) in enumerate(elements):
            bit = 1 << place
            for character in allowed:
                if not is_optional:
                    self._advance[character] = self._advance.get(character, 0) | bit
                if repeats:
                    self._loops[character] = self._loops.get(character, 0) | (bit if is_optional else bit << 1)
            if is_optional:
                self._skips |= bit
        self._accept: int = 1 << len(elements)
        self._start: int = self._closure(1)

    def matches(self, text: str) -> bool:
        """Whether the whole text is one that the pattern describes."""
        if len(text) > TEXT_MAX:
            return False
        states = self._start
        for character in text:
            advance = self._advance.get(character, 0)
            states = self._closure(((states & advance) << 1) | (states & self._loops.get(character, 0)))
            if not states:
                return False
        return bool(states & self._accept)

    def _closure(self, states: int) -> int:
        """Adds what is reached by leaving `!` elements out; adding carries through runs of them."""
        if not self._skips:
            return states
        while True:
            wider = states | ((states & self._skips) << 1)
            if wider == states:
                return states
            states = wider


def compile_dial_pattern(text: str) -> DialPattern:
    """Compiles `X` 0–9, `Z` 1–9, `N` 2–9, `[…]`, `.` one or more, `!` zero or more, and literals.

    Literals are digits, `+`, `*` and `#`; `[…]` holds those and ranges of digits (`[1-37]`).
    `.` and `!` stand for digits, `*` and `#`, at any place of the pattern.

    Raises:
        PatternError: anything else, an empty or a too long pattern.
    """
    if not text:
        raise PatternError("empty pattern")
    if len(text) > PATTERN_MAX:
        raise PatternError(f"longer than {PATTERN_MAX} characters")
    elements: list[tuple[str, bool, bool]] = []
    place = 0
    while place < len(text):
        character = text[place]
        if character == "[":
            end = text.find("]", place)
            if end < 0:
                raise PatternError(f"place {place + 1}: '[' without ']'")
            elements.append((_class(text[place + 1 : end], place + 1), False, False))
            place = end + 1
            continue
        elements.append(_element(character, place + 1))
        place += 1
    return DialPattern(text, elements)


def _element(character: str, place: int) -> tuple[str, bool, bool]:
    if character in "Xx":
        return (_DIGITS, False, False)
    if character in "Zz":
        return (_DIGITS[1:], False, False)
    if character in "Nn":
        return (_DIGITS[2:], False, False)
    if character == ".":
        return (_ANY, True, False)
    if character == "!":
        return (_ANY, True, True)
    if character in _ANY or character == "+":
        return (character, False, False)
    raise PatternError(f"place {place}: {character!r} means nothing here")


def _class(text: str, place: int) -> str:
    """The characters that `[text]` allows."""
    found = ""
    at = 0
    while at < len(text):
        first = text[at]
        if at + 2 < len(text) and text[at + 1] == "-":
            last = text[at + 2]
            if first not in _DIGITS or last not in _DIGITS or first > last:
                raise PatternError(f"place {place + at + 1}: bad range {text[at : at + 3]!r}")
            found += _DIGITS[int(first) : int(last) + 1]
            at += 3
            continue
        if first not in _ANY and first != "+":
            raise PatternError(f"place {place + at + 1}: {first!r} means nothing in brackets")
        found += first
        at += 1
    if not found:
        raise PatternError(f"place {place}: empty brackets")
    return found
