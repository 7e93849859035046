from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switch.wire.auth import PARAMS_MAX, parse_challenge, parse_credentials
from switch.wire.errors import ParseError
from switch.wire.scan import quote


def test_credentials_are_read() -> None:
    credentials = parse_credentials(
        b'Digest  username = "Mufasa",Realm="a, \\"b\\" \\\\",\tnc=00000001 , uri="sip:x@y;z=1"'
        b",qop=auth, algorithm=SHA-256"
    )
    assert credentials.scheme == "digest"
    assert credentials.params == {
        "username": b"Mufasa", "realm": b'a, "b" \\', "nc": b"00000001", "uri": b"sip:x@y;z=1", "qop": b"auth",
        "algorithm": b"SHA-256",
    }  # fmt: skip


def test_an_unknown_scheme_is_no_error() -> None:
    credentials = parse_credentials(b"NoOneKnowsThisScheme opaque-data=here")
    assert (credentials.scheme, credentials.params) == ("nooneknowsthisscheme", {"opaque-data": b"here"})
    assert parse_credentials(b"Basic").params == {}


def test_a_challenge_is_read() -> None:
    challenge = parse_challenge(b'DIGEST realm="vendor", nonce="84a4=", qop="auth,auth-int", stale=FALSE,')
    assert challenge.scheme == "digest"
    assert challenge.params["qop"] == b"auth,auth-int"
    assert challenge.params["stale"] == b"FALSE"


@pytest.mark.parametrize(
    "value",
    [
        b"", b'Digest username="bob', b'Digest username="bob\\"', b'Digest a="x"y', b"Digest a", b'Digest a="x" b="y"',
        b"Digest a=1, a=1", b"Digest a=1, A=2", b'Digest response="x", RESPONSE="y"', b"Digest =x", b'Dig(est a="b"',
        b"Digest a=(x", b"Digest a\x00=b", b"Digest a=\x01", b'Digest "a"=b', b'"Digest" a=b',
        b"Digest " + b",".join(b"p%d=x" % n for n in range(PARAMS_MAX + 1)),
    ],
)  # fmt: skip
def test_broken_or_doubled_parameters_are_refused(value: bytes) -> None:
    with pytest.raises(ParseError):
        parse_credentials(value)


def test_an_empty_quoted_value_is_an_empty_value() -> None:
    assert parse_credentials(b'Digest response=""').params == {"response": b""}


@given(st.dictionaries(st.from_regex(r"[a-z][a-z0-9-]{0,8}", fullmatch=True), st.binary(max_size=30), max_size=8))
def test_what_was_quoted_is_read_back(params: dict[str, bytes]) -> None:
    written = b",".join(name.encode() + b"=" + quote(value) for name, value in params.items())
    assert parse_credentials(b"Digest " + written).params == {
        name: value.replace(b"\t", b" ") for name, value in params.items()
    }


@given(st.binary(max_size=200))
def test_any_bytes_are_credentials_or_refused(value: bytes) -> None:
    with suppress(ParseError):
        parse_credentials(b"Digest " + value)
