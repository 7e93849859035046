"""From a decoder's complaint to the field that it is about."""

from __future__ import annotations

import ast
import re
from typing import Any, Final, TypeVar

import msgspec
from msgspec import inspect

from control.services.errors import FieldError, Invalid

T = TypeVar("T")

_COMPLAINT: Final = re.compile(r"^(?P<reason>.*?)(?: - at (?:`key` in )?`\$(?P<path>.*)`)?$", re.DOTALL)
_PATTERN: Final = re.compile(r"Expected `str` matching regex (?P<pattern>['\"].*)", re.DOTALL)
_STEP: Final = re.compile(r"[^.\[\]]+")
_NAMED_FIELD: Final = re.compile(r"(?:unknown|missing required) field `(?P<name>[^`]*)`")

SHAPES: Final[dict[str, str]] = {
    r"^(?![\s\S]*\x00)": "holds a NUL",
    r"^(?![\s\S]*[\x00-\x1f\x7f])": "holds a line end, or another control character",
    r"^-?[0-9]+(\.[0-9]+)?$(?!\n)": "not a decimal number, as in 12.5",
    r"^[0-9]+(\.[0-9]+)?$(?!\n)": "not a percentage of 0 or more, as in 20.5",
    r"^[0-9]*$(?!\n)": "takes digits and nothing else",
    r"^[0-9]+$(?!\n)": "takes digits and nothing else",
    r"^[0-9 ]*$(?!\n)": "takes digits and nothing else",
    r"^([1-9][0-9]*)?$(?!\n)": "takes digits, the first of them not 0",
    r"^\+?[0-9]*$(?!\n)": "takes digits, with or without + before them",
    r"^[0-9*#]*$(?!\n)": "takes digits, * and #",
    r"^[A-Z]{3}$(?!\n)": "not three capital letters of ISO 4217, as in USD",
    r"^(off|100|[0-9]{1,2})$(?!\n)": "neither off nor a percentage from 0 to 100",
    r"^[A-Za-z0-9._/-]+$(?!\n)": "takes letters, digits and . _ / -",
    r"^[A-Za-z0-9._~+*!-]+$(?!\n)": "takes letters, digits and . _ ~ + * ! -",
    r"^[A-Za-z0-9+*#._~-]*$(?!\n)": "takes letters, digits and + * # . _ ~ -",
    r"^[A-Za-z0-9+*#._~$\\-]*$(?!\n)": "takes letters, digits and + * # . _ ~ -, and groups such as $1",
    r"^[Xx]-[A-Za-z0-9!%*_+`'~.-]+$(?!\n)": "no header of one's own, as in X-Account",
    r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$(?!\n)": "no day, as in 2027-02-01",
    r"^[0-9]{4}-(0[1-9]|1[0-2])$(?!\n)": "no month, as in 2027-02",
}
"""What a text that breaks a pattern does wrong, in words: whoever fills a form reads no expressions."""


def convert(values: Any, kind: type[T], *, is_text: bool = False) -> T:
    """Plain values as a struct, or `Invalid` with the path of what does not fit.

    Args:
        is_text: every value is text as in a query string; numbers and booleans are read out of it.
    """
    try:
        return msgspec.convert(values, kind, str_keys=True, strict=not is_text)
    except msgspec.ValidationError as error:
        raise Invalid([field_complaint(error, kind)]) from error


def decode(body: bytes, kind: type[T]) -> T:
    """JSON as a value of this type.

    Raises:
        Invalid: the first field that does not fit; path `""` where it is no JSON at all.
    """
    try:
        return msgspec.json.decode(body, type=kind)
    except msgspec.ValidationError as error:
        raise Invalid([field_complaint(error, kind)]) from error
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise Invalid([FieldError("", f"not JSON: {reason}")]) from error


def field_complaint(error: msgspec.ValidationError, kind: Any = None) -> FieldError:
    """`Expected `int`, got `str` - at `$.timers.pdd_ms`` as path and reason, in words that help.

    Args:
        kind: what was decoded, whose fields name the values that they take.
    """
    found = _COMPLAINT.match(str(error))
    reason, path = (found["reason"], found["path"] or "") if found else (str(error), "")
    path = path.removeprefix(".")
    named = _NAMED_FIELD.search(reason)
    if named is not None:
        path = f"{path}.{named['name']}" if path else named["name"]
    pattern = _PATTERN.fullmatch(reason)
    if pattern is not None:
        reason = SHAPES.get(ast.literal_eval(pattern["pattern"]), reason)
    elif reason.startswith("Invalid enum value") and kind is not None:
        taken = _literals(inspect.type_info(kind), _STEP.findall(path))
        if taken:
            reason += f"; one of {', '.join(str(value) for value in taken)}"
    return FieldError(path=path, reason=reason)


def _literals(kind: inspect.Type, path: list[str]) -> list[Any]:
    """The values that the field at this path takes, where these are few and named."""
    if isinstance(kind, inspect.Metadata):
        return _literals(kind.type, path)
    if isinstance(kind, inspect.UnionType):
        return [value for each in kind.types for value in _literals(each, path)]
    if not path:
        return list(kind.values) if isinstance(kind, inspect.LiteralType) else []
    if isinstance(kind, inspect.StructType):
        return [
            value for field in kind.fields if field.encode_name == path[0] for value in _literals(field.type, path[1:])
        ]
    if isinstance(kind, inspect.ListType | inspect.VarTupleType):
        return _literals(kind.item_type, path[1:])
    return []
