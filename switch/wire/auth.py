"""Credentials and challenges (RFC 3261 §20.7, §20.44, §25.1; RFC 7616 §3.3, §3.4; RFC 8760)."""

from __future__ import annotations

from typing import Final

from switch.wire.errors import ParseError
from switch.wire.scan import TOKEN_BYTES, end_of_quoted, is_token, refusing, split_outside, unquote

PARAMS_MAX: Final = 32
"""Twice what any scheme defines."""


class Credentials:
    """`scheme` and parameter names in lower case; values as bytes, unquoted, quoted-pairs undone."""

    __slots__ = ("params", "scheme")

    def __init__(self, scheme: str, params: dict[str, bytes]) -> None:
        self.scheme: str = scheme
        self.params: dict[str, bytes] = params


class Challenge:
    """As `Credentials`, of a 401 or 407."""

    __slots__ = ("params", "scheme")

    def __init__(self, scheme: str, params: dict[str, bytes]) -> None:
        self.scheme: str = scheme
        self.params: dict[str, bytes] = params


def parse_credentials(value: bytes) -> Credentials:
    """Read one Authorization or Proxy-Authorization value; a scheme that we do not know is fine.

    Raises:
        ParseError: broken grammar, a parameter twice, or more than `PARAMS_MAX`.
    """
    scheme, params = _parse(value)
    return Credentials(scheme, params)


def parse_challenge(value: bytes) -> Challenge:
    """Read one WWW-Authenticate or Proxy-Authenticate value.

    Raises:
        ParseError: broken grammar, a parameter twice, or more than `PARAMS_MAX`.
    """
    scheme, params = _parse(value)
    return Challenge(scheme, params)


def _parse(value: bytes) -> tuple[str, dict[str, bytes]]:
    scheme, _, rest = value.replace(b"\t", b" ").strip(b" ").partition(b" ")
    if not is_token(scheme):
        raise ParseError("bad authentication scheme")
    params: dict[str, bytes] = {}
    for piece in split_outside(rest, 44, False):
        if not piece:
            continue
        name, equals, text = piece.partition(b"=")
        name = name.rstrip(b" \t")
        text = text.lstrip(b" \t")
        if not equals or not is_token(name):
            raise ParseError("bad authentication parameter")
        key = name.decode("ascii").lower()
        # What a second reader would take from the other copy must not be ours to choose.
        if key in params:
            raise ParseError("authentication parameter comes twice")
        if len(params) == PARAMS_MAX:
            raise ParseError("too many authentication parameters")
        params[key] = _param_value(text)
    return scheme.decode("ascii").lower(), params


def _param_value(text: bytes) -> bytes:
    if text[:1] == b'"':
        if end_of_quoted(text, 0) != len(text):
            raise ParseError("bad authentication parameter")
        return unquote(text)
    # auth-param is a token; tokens with the characters of base64 and of URIs are seen in the wild.
    if 0 in text.translate(_VALUE):
        raise ParseError("bad authentication parameter")
    return text


_VALUE: Final = refusing(TOKEN_BYTES + b"/=:@;?&$#")
