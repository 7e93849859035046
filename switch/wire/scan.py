"""The lexical pieces that several headers share: LWS, tokens, quoted strings, lists, parameters.

Everything here is linear in its input. Sources: RFC 3261 §7.3.1, §25.1.
"""

from __future__ import annotations

from typing import Final

from switch.wire.errors import ParseError

LETTERS_DIGITS: Final = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"


def refusing(allowed: bytes) -> bytes:
    """A table for `bytes.translate` that turns every other byte into 0.

    `0 in text.translate(table)` is the fastest test that CPython has for a set of bytes: half the
    time of a regular expression or of `translate` with a deletion list.
    """
    return bytes([byte if byte in allowed else 0 for byte in range(256)])


TOKEN_BYTES: Final = LETTERS_DIGITS + b"-.!%*_+`'~"

# A parameter's value may be a token, a host (brackets, colons) or a quoted string; peers also
# send slashes, at signs, base64 and what else stands unreserved in a URI.
PARAM_VALUE_BYTES: Final = TOKEN_BYTES + b"[]:/@&$#?^{}|="

TOKEN: Final = refusing(TOKEN_BYTES)
PARAM_VALUE: Final = refusing(PARAM_VALUE_BYTES)


def is_token(text: bytes) -> bool:
    return len(text) > 0 and 0 not in text.translate(TOKEN)


def unfold(value: bytes) -> bytes:
    """A value on one line: each fold, with the blanks round it, becomes one blank."""
    if 10 not in value:
        return value.strip(b" \t")
    return b" ".join([piece.strip(b" \t") for piece in value.split(b"\r\n")]).strip(b" ")


def end_of_quoted(text: bytes, start: int) -> int:
    """The index after the quoted string that begins at `start`, where a `"` stands.

    Raises:
        ParseError: the string does not end.
    """
    quote = text.find(b'"', start + 1)
    if quote < 0:
        raise ParseError("quoted string without end")
    if text.find(b"\\", start + 1, quote) < 0:
        return quote + 1
    at = start + 1
    end = len(text)
    while at < end:
        byte = text[at]
        if byte == 34:  # "
            return at + 1
        at += 2 if byte == 92 else 1  # a backslash takes the next byte with it
    raise ParseError("quoted string without end")


def unquote(text: bytes) -> bytes:
    """What a whole quoted string says: without its quotes, quoted-pairs undone. Others: unchanged."""
    if len(text) < 2 or text[0] != 34 or text[-1] != 34:
        return text
    inner = text[1:-1]
    if 92 not in inner:
        return inner
    out = bytearray()
    at = 0
    end = len(inner)
    while at < end:
        byte = inner[at]
        if byte == 92 and at + 1 < end:
            at += 1
            byte = inner[at]
        out.append(byte)
        at += 1
    return bytes(out)


def quote(text: bytes) -> bytes:
    """A quoted string that says `text`."""
    return b'"' + text.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'


def split_outside(text: bytes, separator: int, angles: bool) -> list[bytes]:
    """Split at one byte, but never inside quoted strings, nor inside `<…>` where `angles` is set.

    Pieces come stripped of blanks; empty ones are kept.

    Raises:
        ParseError: a quoted string or `<` has no end.
    """
    plain = bytes([separator])
    if 34 not in text and not (angles and 60 in text):
        return [piece.strip(b" \t") for piece in text.split(plain)]
    pieces: list[bytes] = []
    begin = 0
    at = 0
    end = len(text)
    while at < end:
        byte = text[at]
        if byte == 34:
            at = end_of_quoted(text, at)
        elif byte == 60 and angles:
            at = text.find(b">", at) + 1
            if at == 0:
                raise ParseError("< without >")
        elif byte == separator:
            pieces.append(text[begin:at].strip(b" \t"))
            at += 1
            begin = at
        else:
            at += 1
    pieces.append(text[begin:].strip(b" \t"))
    return pieces


def split_commas(value: bytes) -> list[bytes]:
    """The values of a comma list (RFC 3261 §7.3.1), unfolded by the caller; empty ones are left out.

    Raises:
        ParseError: a quoted string or `<` has no end.
    """
    if 44 not in value:
        return [value] if value else []
    return [piece for piece in split_outside(value, 44, True) if piece]


def parse_params(text: bytes) -> dict[bytes, bytes]:
    """`a=1;b;C="x"` as a dict: names in lower case, values as they stand (quotes included), b"" for none.

    Empty parameters (`;;`) are passed over: some peers send a trailing semicolon.

    Raises:
        ParseError: bad name or value, or a name that comes twice with different values (RFC 3261
            §7.3.1 forbids the second; what two parsers read differently is refused).
    """
    params: dict[bytes, bytes] = {}
    for piece in split_outside(text, 59, False):
        if not piece:
            continue
        name, equals, value = piece.partition(b"=")
        name = name.rstrip(b" \t").lower()
        value = value.lstrip(b" \t")
        if not is_token(name):
            raise ParseError("bad parameter name")
        if equals:
            check_param_value(value)
        before = params.get(name)
        if before is not None and before != value:
            raise ParseError("parameter comes twice")
        params[name] = value
    return params


def check_param_value(value: bytes) -> None:
    """A token, host or whole quoted string; empty is let pass, as peers send `;rport=`.

    Raises:
        ParseError: anything else.
    """
    if value[:1] == b'"':
        if end_of_quoted(value, 0) != len(value):
            raise ParseError("bad parameter value")
    elif 0 in value.translate(PARAM_VALUE):
        raise ParseError("bad parameter value")
