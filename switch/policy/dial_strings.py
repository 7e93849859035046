"""Dial strings of an ingress route: which numbers it takes.

Digits only (with or without `+`) are a prefix. Anything else is an RE2 expression that has to
match from the first digit on, as a prefix does; `$` ties it to the last. RE2 takes linear time in
the number's length whatever the expression, so that a customer's own `(a+)+$` costs nobody.
Source: https://github.com/google/re2/wiki/Syntax.
"""

from __future__ import annotations

from typing import Final

import re2  # type: ignore[import-untyped]

from rating.numbers import PatternError

DIAL_STRING_CHARACTERS_MAX: Final = 500
_PROGRAM_BYTES_MAX: Final = 1 << 20
"""Memory that one compiled expression may take; RE2's own default is eight times that."""


class DialString:
    """One line, compiled. Exactly one of `prefix` and `expression` is set."""

    def __init__(self, text: str, prefix: str, expression: str) -> None:
        self.text: str = text
        self.prefix: str = prefix
        self.expression: str = expression
        self.matcher: object = _compile(expression) if expression else None

    def matches(self, digits: str) -> bool:
        """Whether a number (E.164 digits without `+`) passes."""
        if self.matcher is None:
            return digits.startswith(self.prefix)
        return _is_match(self.matcher, digits)


class DialStrings:
    """All lines of a route as one question: prefixes in one `startswith`, expressions in one match."""

    def __init__(self, lines: list[DialString]) -> None:
        self._prefixes: tuple[str, ...] = tuple([line.prefix for line in lines if line.prefix])
        self._matchers: list[object] = _join([line for line in lines if line.expression])
        self._is_everything: bool = not lines

    def matches(self, digits: str) -> bool:
        if self._is_everything or digits.startswith(self._prefixes):
            return True
        return any(_is_match(matcher, digits) for matcher in self._matchers)


def compile_dial_string(text: str) -> DialString:
    """Compile one line.

    Raises:
        PatternError: empty, too long, not RE2, or too large once compiled.
    """
    line = text.strip()
    if not line:
        raise PatternError("a dial string is empty")
    if len(line) > DIAL_STRING_CHARACTERS_MAX:
        raise PatternError(f"a dial string has over {DIAL_STRING_CHARACTERS_MAX} characters")
    digits = line.removeprefix("+")
    if digits.isascii() and digits.isdigit():
        return DialString(line, digits, "")
    return DialString(line, "", line)


def _join(lines: list[DialString]) -> list[object]:
    """One matcher for all expressions; one for each where together they are too large."""
    if len(lines) < 2:
        return [line.matcher for line in lines]
    try:
        return [_compile("|".join([f"(?:{line.expression})" for line in lines]))]
    except PatternError:
        return [line.matcher for line in lines]


def _compile(expression: str) -> object:
    options = re2.Options()
    options.log_errors = False
    options.never_capture = True
    options.max_mem = _PROGRAM_BYTES_MAX
    try:
        return re2.compile(expression, options)
    except re2.error as error:
        reason = error.args[0] if error.args else error
        shown = reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)
        raise PatternError(f"dial string {expression!r}: {shown}") from error


def _is_match(matcher: object, digits: str) -> bool:
    return matcher.match(digits) is not None  # type: ignore[attr-defined]
