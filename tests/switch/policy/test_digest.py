"""Digest authentication from outside: a client that answers, and one that cheats."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switch.policy.causes import Cause
from switch.policy.digest import Accepted, Authenticator, Refused
from switch.policy.hashes import ALGORITHMS, digest_response, make_ha1
from switch.policy.tables import Tables
from switch.snapshot import Customer, SipUser, Snapshot
from switch.wire.auth import parse_challenge

REALM = "tandem"
URI = b"sip:442079460000@sip.example.com"
HOME = "192.0.2.50"


def user(
    record_id: int, name: str, password: str, algorithms: tuple[str, ...] = ALGORITHMS, **changes: object
) -> SipUser:
    ha1 = {algorithm: make_ha1(algorithm, name, REALM, password) for algorithm in algorithms}
    return SipUser(
        id=record_id,
        customer_id=1,
        username=name,
        realm=REALM,
        ha1_md5=ha1.get("MD5", ""),
        ha1_sha256=ha1.get("SHA-256", ""),
        ha1_sha512_256=ha1.get("SHA-512-256", ""),
        **changes,  # type: ignore[arg-type]
    )


def tables() -> Tables:
    held = Tables(None)
    held.load(
        Snapshot(
            version=1,
            records=(
                Customer(id=1, name="Acme", status="active"),
                user(1, "alice", "secret"),
                user(2, "strict", "secret", ("SHA-256",)),
                user(3, "blocked", "secret", enabled=False),
                user(4, "homebound", "secret", ip_allow_list=("192.0.2.0/24",)),
                user(5, 'od"d\\', "secret"),
            ),
        )
    )
    return held


TABLES = tables()


def authenticator(failures_max: int = 20, algorithms: tuple[str, ...] = ALGORITHMS) -> Authenticator:
    return Authenticator(b"0123456789abcdef", REALM, 300.0, failures_max, 300.0, algorithms)


def nonce_of(auth: Authenticator, now_s: float = 0.0) -> bytes:
    return parse_challenge(auth.challenge_lines(now_s)[0].partition(b": ")[2]).params["nonce"]


def answer(
    nonce: bytes,
    *,
    username: str = "alice",
    password: str = "secret",
    realm: str = REALM,
    algorithm: str = "SHA-256",
    method: bytes = b"INVITE",
    uri: bytes = URI,
    nc: bytes = b"00000001",
    cnonce: bytes = b"abc",
    **instead: bytes | None,
) -> bytes:
    """What a right client sends; `instead` replaces parameters after the response was computed."""
    response = digest_response(
        algorithm, make_ha1(algorithm, username, realm, password), method, uri, nonce, nc, cnonce
    )
    params: dict[str, bytes | None] = {
        "username": username.encode(),
        "realm": realm.encode(),
        "nonce": nonce,
        "uri": uri,
        "response": response.encode(),
        "algorithm": algorithm.encode(),
        "cnonce": cnonce,
        "qop": b"auth",
        "nc": nc,
        **instead,
    }
    plain = ("algorithm", "qop", "nc")
    return b"Digest " + b", ".join(
        name.encode() + b"=" + (value if name in plain else b'"' + _quoted(value) + b'"')
        for name, value in params.items()
        if value is not None
    )


def _quoted(value: bytes) -> bytes:
    return value.replace(b"\\", b"\\\\").replace(b'"', b'\\"')


def check(
    auth: Authenticator,
    *values: bytes,
    method: bytes = b"INVITE",
    uri: bytes = URI,
    source_ip: str = HOME,
    now_s: float = 1.0,
) -> Accepted | Refused:
    return auth.check(list(values), method, uri, TABLES, source_ip, now_s)


def verdict(found: Accepted | Refused) -> tuple[Cause, bool]:
    assert isinstance(found, Refused)
    return found.cause, found.stale


MISSING = (Cause.CREDENTIALS_MISSING, False)
WRONG = (Cause.CREDENTIALS_WRONG, False)
STALE = (Cause.CREDENTIALS_WRONG, True)
THROTTLED = (Cause.CREDENTIALS_THROTTLED, False)


def test_a_challenge_offers_every_algorithm_strongest_first_with_one_nonce() -> None:
    lines = authenticator().challenge_lines(0.0)
    assert all(line.startswith(b"Proxy-Authenticate: Digest ") for line in lines)
    params = [parse_challenge(line.partition(b": ")[2]).params for line in lines]
    assert [p["algorithm"] for p in params] == [b"SHA-512-256", b"SHA-256", b"MD5"]
    assert {p["realm"] for p in params} == {b"tandem"}
    assert {p["qop"] for p in params} == {b"auth"}
    assert len({p["nonce"] for p in params}) == 1
    assert not any("stale" in p for p in params)
    stale = authenticator().challenge_lines(0.0, True, b"WWW-Authenticate")
    assert stale[0].startswith(b"WWW-Authenticate: Digest ")
    assert parse_challenge(stale[0].partition(b": ")[2]).params["stale"] == b"true"


def test_only_what_is_allowed_is_offered_and_taken() -> None:
    auth = authenticator(algorithms=("SHA-256",))
    (line,) = auth.challenge_lines(0.0)
    assert line.endswith(b",algorithm=SHA-256")
    for other in ("MD5", "SHA-512-256"):
        assert verdict(check(auth, answer(nonce_of(auth), algorithm=other))) == WRONG
    assert isinstance(check(auth, answer(nonce_of(auth), algorithm="SHA-256")), Accepted)


@pytest.mark.parametrize(
    ("algorithms", "last", "kept"),
    [
        (ALGORITHMS, "SHA-256", ["SHA-512-256 SHA-256 MD5", "SHA-256 MD5", "SHA-256"]),
        (ALGORITHMS, "MD5", ["SHA-512-256 SHA-256 MD5", "SHA-256 MD5", "MD5"]),
        (("SHA-256", "MD5"), "SHA-256", ["SHA-256 MD5", "SHA-256"]),
        (("MD5",), "SHA-256", ["MD5", "MD5"]),
        (("SHA-512-256", "MD5"), "SHA-256", ["SHA-512-256 MD5", "MD5"]),
    ],
)
def test_a_short_challenge_leaves_algorithms_out(algorithms: tuple[str, ...], last: str, kept: list[str]) -> None:
    auth = authenticator(algorithms=algorithms)
    found = [
        b" ".join([line.rpartition(b"=")[2] for line in lines]).decode()
        for lines in auth.shorter_challenges(auth.challenge_lines(0.0), last)
    ]
    assert found == kept


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_right_answer_is_accepted(algorithm: str) -> None:
    auth = authenticator()
    found = check(auth, answer(nonce_of(auth), algorithm=algorithm))
    assert isinstance(found, Accepted)
    assert found.user.username == "alice"


def test_an_answer_without_algorithm_is_md5() -> None:
    auth = authenticator()
    value = answer(nonce_of(auth), algorithm="MD5").replace(b", algorithm=MD5", b"")
    assert isinstance(check(auth, value), Accepted)


def test_a_name_with_quotes_and_backslashes_is_that_name() -> None:
    auth = authenticator()
    found = check(auth, answer(nonce_of(auth), username='od"d\\'))
    assert isinstance(found, Accepted)
    assert found.user.id == 5


@pytest.mark.parametrize(
    "changes",
    [
        {"password": "guess"},
        {"username": "nobody"},
        {"username": "blocked"},
        {"response": b""},
        {"response": None},
        {"nonce": b"made-up-made-up-made-up-made-up-"},
        {"qop": None},
        {"qop": b"auth-int"},
        {"nc": b"000000001"},
        {"nc": b"0000000g"},
        {"nc": b"+0000001"},
        {"cnonce": b""},
        {"method": b"BYE"},
        {"uri": b"sip:15551230001@sip.example.com"},
        {"uri": b"sip:442079460000@elsewhere.example.com"},
        {"uri": b"sip:442079460000@sip.example.com:5070"},
        {"uri": b"tel:442079460000"},
        {"uri": b"442079460000"},
    ],
    ids=str,
)
def test_a_wrong_answer_is_refused_without_stale(changes: dict[str, object]) -> None:
    auth = authenticator()
    instead = {name: changes[name] for name in ("response", "qop") if name in changes}
    inputs = {name: value for name, value in changes.items() if name not in instead and name != "nonce"}
    nonce = changes.get("nonce") or nonce_of(auth)
    value = answer(nonce, **inputs, **instead)  # type: ignore[arg-type]
    assert verdict(check(auth, value)) == WRONG


def test_parameters_of_the_uri_do_not_matter_but_its_target_does() -> None:
    auth = authenticator()
    nonce = nonce_of(auth)
    assert isinstance(check(auth, answer(nonce, uri=URI + b":5060;transport=udp")), Accepted)
    # Captured, and sent with another number in the Request-URI.
    captured = answer(nonce, nc=b"00000002")
    assert verdict(check(auth, captured, uri=b"sip:15551230001@sip.example.com")) == WRONG


def test_the_same_answer_is_accepted_once_from_any_address() -> None:
    auth = authenticator()
    value = answer(nonce_of(auth))
    assert isinstance(check(auth, value), Accepted)
    assert verdict(check(auth, value)) == STALE
    assert verdict(check(auth, value, source_ip="198.51.100.1")) == STALE


def test_counts_have_to_rise() -> None:
    auth = authenticator()
    nonce = nonce_of(auth)
    outcomes = [
        isinstance(check(auth, answer(nonce, nc=nc)), Accepted)
        for nc in (b"00000000", b"00000001", b"00000003", b"00000002", b"0000000a", b"0000000A", b"0000000B")
    ]
    assert outcomes == [False, True, True, False, True, False, True]


def test_an_old_nonce_is_stale_and_one_retry_succeeds() -> None:
    auth = authenticator()
    value = answer(nonce_of(auth, 0.0))
    assert verdict(check(auth, value, now_s=300.1)) == STALE
    assert isinstance(check(auth, answer(nonce_of(auth, 300.1)), now_s=300.2), Accepted)


def test_an_old_nonce_with_a_wrong_password_is_not_stale() -> None:
    auth = authenticator()
    assert verdict(check(auth, answer(nonce_of(auth, 0.0), password="guess"), now_s=900.0)) == WRONG


def test_md5_is_refused_where_the_account_demands_sha_256() -> None:
    auth = authenticator()
    nonce = nonce_of(auth)
    assert verdict(check(auth, answer(nonce, username="strict", algorithm="MD5"))) == WRONG
    assert verdict(check(auth, answer(nonce, username="strict", algorithm="SHA-512-256"))) == WRONG
    assert isinstance(check(auth, answer(nonce, username="strict")), Accepted)


def test_an_empty_hash_is_nobodys_password() -> None:
    # The answer of one who hashes with what stands in for a hash that the account has not.
    auth = authenticator()
    nonce = nonce_of(auth)
    for ha1 in ("", "0" * 32):
        response = digest_response("MD5", ha1, b"INVITE", URI, nonce, b"00000001", b"abc").encode()
        for username in ("strict", "nobody"):
            assert verdict(check(auth, answer(nonce, username=username, algorithm="MD5", response=response))) == WRONG


def test_an_address_that_the_user_may_not_call_from_is_refused_like_a_wrong_password() -> None:
    auth = authenticator()
    nonce = nonce_of(auth)
    assert verdict(check(auth, answer(nonce, username="homebound"), source_ip="198.51.100.7")) == WRONG
    assert isinstance(check(auth, answer(nonce, username="homebound")), Accepted)


@pytest.mark.parametrize(
    "values",
    [
        (),
        (b"Basic YWxpY2U6c2VjcmV0",),
        (b'Digest realm="',),
        (b"",),
        (b'Digest username="alice", username="bob", realm="tandem"',),
    ],
)
def test_what_is_no_answer_to_us_is_a_missing_one(values: tuple[bytes, ...]) -> None:
    auth = authenticator(1)
    assert verdict(check(auth, *values)) == MISSING
    assert verdict(check(auth, answer(nonce_of(auth), realm="elsewhere"))) == MISSING
    # And it is no wrong answer: the one allowed failure is still there.
    assert isinstance(check(auth, answer(nonce_of(auth))), Accepted)


def test_our_realms_answer_is_found_among_others() -> None:
    auth = authenticator()
    values = (b"Basic abc", answer(b"x" * 32, realm="elsewhere"), answer(nonce_of(auth)))
    assert isinstance(check(auth, *values), Accepted)


def test_one_request_is_one_try() -> None:
    auth = authenticator()
    nonce = nonce_of(auth)
    assert verdict(check(auth, answer(nonce, password="guess"), answer(nonce))) == WRONG


def test_wrong_answers_throttle_the_address_and_it_is_forgiven_later() -> None:
    auth = authenticator(5)
    for number in range(5):
        assert verdict(check(auth, answer(nonce_of(auth), username=f"u{number}", password="guess"))) == WRONG
    assert verdict(check(auth, answer(nonce_of(auth)))) == THROTTLED
    assert isinstance(check(auth, answer(nonce_of(auth)), source_ip="192.0.2.51"), Accepted)
    assert isinstance(check(auth, answer(nonce_of(auth, 301.0)), now_s=301.0), Accepted)


def test_wrong_answers_throttle_the_user_from_everywhere_but_home() -> None:
    auth = authenticator(5)
    assert isinstance(check(auth, answer(nonce_of(auth))), Accepted)
    for number in range(5):
        found = check(auth, answer(nonce_of(auth), password="guess"), source_ip=f"198.51.100.{number}")
        assert verdict(found) == WRONG
    assert verdict(check(auth, answer(nonce_of(auth)), source_ip="203.0.113.9")) == THROTTLED
    assert isinstance(check(auth, answer(nonce_of(auth))), Accepted)


def test_unknown_names_are_throttled_like_known_ones() -> None:
    for username in ("alice", "nobody"):
        auth = authenticator(3)
        found = [
            verdict(check(auth, answer(nonce_of(auth), username=username, password="g"), source_ip=f"192.0.2.{n}"))
            for n in range(5)
        ]
        assert found == [WRONG] * 3 + [THROTTLED] * 2


def test_one_hosts_ipv6_addresses_are_one_source() -> None:
    auth = authenticator(3)
    for number in range(3):
        check(auth, answer(nonce_of(auth), username=f"u{number}"), source_ip=f"2001:db8::{number}")
    assert verdict(check(auth, answer(nonce_of(auth)), source_ip="2001:db8::ffff")) == THROTTLED
    assert isinstance(check(auth, answer(nonce_of(auth)), source_ip="2001:db8:0:1::1"), Accepted)


def test_challenges_are_never_counted() -> None:
    auth = authenticator(2)
    for _ in range(100):
        auth.challenge_lines(0.0)
        assert verdict(check(auth)) == MISSING
    assert isinstance(check(auth, answer(nonce_of(auth))), Accepted)


def test_a_user_name_of_ten_kilobytes_is_an_unknown_user() -> None:
    auth = authenticator()
    assert verdict(check(auth, answer(nonce_of(auth), username="a" * 10_000))) == WRONG


@given(st.lists(st.binary(max_size=300), max_size=4))
def test_any_bytes_are_refused_without_an_exception(values: list[bytes]) -> None:
    assert isinstance(check(authenticator(), *values), Refused)


@given(
    st.dictionaries(
        st.sampled_from(["username", "nonce", "uri", "response", "algorithm", "cnonce", "qop", "nc"]),
        st.binary(max_size=40).filter(lambda value: not set(value) & set(b'"\\\r\n\0')),
    )
)
def test_any_parameters_are_refused_without_an_exception(params: dict[str, bytes]) -> None:
    auth = authenticator()
    value = b'Digest realm="tandem"' + b"".join(b', %s="%s"' % (n.encode(), v) for n, v in params.items())
    assert isinstance(check(auth, value), Refused)
