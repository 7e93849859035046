"""Customers' own expressions, by RE2: linear in the text whatever they say, bounded in size.

Source: https://github.com/google/re2/wiki/Syntax.
"""

from __future__ import annotations

from typing import Any, Final

import re2  # type: ignore[import-untyped]

from rating.numbers import PatternError

PATTERN_CHARACTERS_MAX: Final = 500
_PROGRAM_BYTES_MAX: Final = 1 << 18
"""Memory that one compiled expression may take; RE2's own default is 32 times that."""


def compile_pattern(expression: str, what: str) -> object:
    """An expression whose groups can be asked for.

    Args:
        what: the field that it stands in, for the error.
    Raises:
        PatternError: too long, not RE2, or too large once compiled.
    """
    if len(expression) > PATTERN_CHARACTERS_MAX:
        raise PatternError(f"{what}: over {PATTERN_CHARACTERS_MAX} characters")
    options = re2.Options()
    options.log_errors = False
    options.max_mem = _PROGRAM_BYTES_MAX
    try:
        return re2.compile(expression, options)
    except re2.error as error:
        reason = error.args[0] if error.args else error
        shown = reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)
        raise PatternError(f"{what}: {expression!r}: {shown}") from error


def is_match(pattern: object, text: str) -> bool:
    """Whether it matches from the first character on."""
    compiled: Any = pattern
    return compiled.match(text) is not None


def group_count(pattern: object | None) -> int:
    if pattern is None:
        return 0
    compiled: Any = pattern
    return int(compiled.groups)


def expand(template: list[str], pattern: object | None, text: str) -> str:
    """Literals and group numbers in turn, with what the groups hold; the whole text where there is no pattern."""
    found: Any = None
    if pattern is not None:
        compiled: Any = pattern
        found = compiled.match(text)
    out = template[0]
    for index in range(1, len(template), 2):
        if found is not None:
            out += found.group(int(template[index])) or ""
        elif template[index] == "0":
            out += text
        out += template[index + 1]
    return out
