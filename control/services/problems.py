"""From a decoder's complaint to the field that it is about."""

from __future__ import annotations

import re
from typing import Any, Final, TypeVar

import msgspec

from control.services.errors import FieldError, Invalid

T = TypeVar("T")

_COMPLAINT: Final = re.compile(r"^(?P<reason>.*?)(?: - at (?:`key` in )?`\$(?P<path>.*)`)?$", re.DOTALL)
_NAMED_FIELD: Final = re.compile(r"(?:unknown|missing required) field `(?P<name>[^`]*)`")


def convert(values: Any, kind: type[T], *, is_text: bool = False) -> T:
    """Plain values as a struct, or `Invalid` with the path of what does not fit.

    Args:
        is_text: every value is text as in a query string; numbers and booleans are read out of it.
    """
    try:
        return msgspec.convert(values, kind, str_keys=True, strict=not is_text)
    except msgspec.ValidationError as error:
        raise Invalid([field_complaint(error)]) from error


def decode(body: bytes, kind: type[T]) -> T:
    """JSON as a value of this type.

    Raises:
        Invalid: the first field that does not fit; path `""` where it is no JSON at all.
    """
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        raise Invalid([field_complaint(error)]) from error
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise Invalid([FieldError("", f"not JSON: {reason}")]) from error


def field_complaint(error: msgspec.ValidationError) -> FieldError:
    """`Expected `int`, got `str` - at `$.timers.pdd_ms`` as path and reason."""
    found = _COMPLAINT.match(str(error))
    reason, path = (found["reason"], found["path"] or "") if found else (str(error), "")
    path = path.removeprefix(".")
    named = _NAMED_FIELD.search(reason)
    if named is not None:
        path = f"{path}.{named['name']}" if path else named["name"]
    return FieldError(path=path, reason=reason)
