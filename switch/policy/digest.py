"""Digest authentication of SIP users (RFC 3261 §22, RFC 7616, RFC 8760): challenge and check.

Only `qop="auth"` is offered and accepted. Whether the user is unknown, disabled, calls from a
forbidden address or gave a wrong password, the same work is done and the same is said. Nothing is
kept for a challenge; see `nonces`.
"""

from __future__ import annotations

import hmac
from typing import Final

from switch.policy.blocks import address_number
from switch.policy.causes import Cause
from switch.policy.hashes import ALGORITHMS, HEX_DIGITS, digest_response
from switch.policy.nonces import Nonces
from switch.policy.tables import Tables
from switch.policy.throttle import Throttle
from switch.snapshot import SipUser
from switch.wire.auth import Credentials, parse_credentials
from switch.wire.errors import ParseError
from switch.wire.uri import parse_uri

USERNAME_BYTES_MAX: Final = 256
CNONCE_BYTES_MAX: Final = 1024

_NC_DIGITS: Final = b"0123456789abcdefABCDEF"
_NOBODY: Final = {algorithm: "0" * digits for algorithm, digits in HEX_DIGITS.items()}
"""What is hashed in an unknown user's place."""


class Accepted:
    def __init__(self, user: SipUser) -> None:
        self.user: SipUser = user


class Refused:
    """`cause` has its status in the table of causes; 407 wants `challenge_lines(stale=…)`."""

    def __init__(self, cause: Cause, stale: bool = False) -> None:
        self.cause: Cause = cause
        self.stale: bool = stale


class Authenticator:
    """Challenges, and checks what comes back.

    Args:
        secret: at least 16 random bytes, drawn anew at each start.
        realm: the only one that is challenged for and accepted.
        nonce_lifetime_s: how long a nonce may be answered.
        failures_max, throttle_s: wrong answers of one address, or for one user, before both are
            left unjudged, and for how long.
        algorithms: what is offered and taken, strongest first.
    """

    def __init__(
        self,
        secret: bytes,
        realm: str,
        nonce_lifetime_s: float,
        failures_max: int,
        throttle_s: float,
        algorithms: tuple[str, ...] = ALGORITHMS,
    ) -> None:
        self._algorithms: tuple[str, ...] = algorithms
        self._realm: bytes = realm.encode()
        self.realm: str = realm
        self._nonces: Nonces = Nonces(secret, nonce_lifetime_s)
        self._addresses: Throttle = Throttle(failures_max, throttle_s)
        self._users: Throttle = Throttle(failures_max, throttle_s)
        self._homes: dict[int, str] = {}
        """By user id: where the user was last accepted from."""

    def challenge_lines(
        self,
        now_s: float,
        stale: bool = False,
        header: bytes = b"Proxy-Authenticate",
    ) -> list[bytes]:
        """Header lines without CRLF, one an algorithm, all with the same new nonce."""
        nonce = self._nonces.issue(now_s)
        realm = self._realm.replace(b"\\", b"\\\\").replace(b'"', b'\\"')
        start = header + b': Digest realm="' + realm + b'",nonce="' + nonce + b'",qop="auth"'
        if stale:
            start += b",stale=true"
        return [start + b",algorithm=" + algorithm.encode() for algorithm in self._algorithms]

    def shorter_challenges(self, lines: list[bytes], last: str) -> list[list[bytes]]:
        """The challenge and those with fewer algorithms, for an answer that has to be short.

        Args:
            last: the algorithm that is the last to go, if it is offered at all.
        """
        algorithms = self._algorithms
        kept = algorithms.index(last) if last in algorithms else len(lines) - 1
        return [lines, lines[1:], [lines[kept]]] if len(lines) > 2 else [lines, [lines[kept]]]

    def check(
        self,
        credentials_values: list[bytes],
        method: bytes,
        request_uri: bytes,
        tables: Tables,
        source_ip: str,
        now_s: float,
    ) -> Accepted | Refused:
        """Judge the values of a request's Authorization or Proxy-Authorization headers.

        Of several answers for our realm only the first is judged: one request is one try.
        """
        credentials = self._pick(credentials_values)
        if credentials is None:
            return Refused(Cause.CREDENTIALS_MISSING)
        params = credentials.params
        username = _username(params.get("username", b""))
        user = tables.users_by_name.get((username, self.realm))
        address = _address_name(source_ip)
        # Somebody else's wrong answers must not lock a user out of the place that he calls from.
        is_at_home = user is not None and self._homes.get(user.id) == source_ip
        if self._addresses.is_blocked(address, now_s) or (not is_at_home and self._users.is_blocked(username, now_s)):
            return Refused(Cause.CREDENTIALS_THROTTLED)

        nonce = params.get("nonce", b"")
        age_ms = self._nonces.age_ms(nonce, now_s)
        nc = params.get("nc", b"")
        if (
            age_ms is None
            or not _is_right(params, user, method, request_uri, nonce, nc, self._algorithms)
            or user is None
            or not _may_call(user, tables, source_ip)
        ):
            self._addresses.fail(address, now_s)
            self._users.fail(username, now_s)
            return Refused(Cause.CREDENTIALS_WRONG)
        if not self._nonces.is_fresh(age_ms, now_s):
            return Refused(Cause.CREDENTIALS_WRONG, stale=True)
        if not self._nonces.count(nonce, int(nc, 16), now_s):
            # Right but used: a copy, or requests that overtook each other. Whoever knows the
            # password answers a new nonce without asking for it; a copier gains nothing.
            return Refused(Cause.CREDENTIALS_WRONG, stale=True)
        self._homes[user.id] = source_ip
        return Accepted(user)

    def _pick(self, values: list[bytes]) -> Credentials | None:
        """The first digest answer for our realm; what cannot be read is nobody's answer."""
        for value in values:
            try:
                credentials = parse_credentials(value)
            except ParseError:
                continue
            if credentials.scheme == "digest" and credentials.params.get("realm") == self._realm:
                return credentials
        return None


def _is_right(
    params: dict[str, bytes],
    user: SipUser | None,
    method: bytes,
    request_uri: bytes,
    nonce: bytes,
    nc: bytes,
    algorithms: tuple[str, ...],
) -> bool:
    """Whether the response is the one that the stored hash gives for this very request.

    The hashes are computed before anything is asked of the user, known or not.
    """
    algorithm = params.get("algorithm", b"MD5").decode("latin-1").upper()
    if algorithm not in algorithms:
        return False
    ha1 = "" if user is None else _ha1_of(user, algorithm)
    uri = params.get("uri", b"")
    cnonce = params.get("cnonce", b"")
    if len(cnonce) > CNONCE_BYTES_MAX:
        return False
    expected = digest_response(algorithm, ha1 or _NOBODY[algorithm], method, uri, nonce, nc, cnonce)
    is_equal = hmac.compare_digest(expected.encode(), params.get("response", b"").lower())
    return (
        is_equal
        # An account without a hash of this algorithm refuses it: an MD5 answer is no way round SHA-256.
        and ha1 != ""
        and params.get("qop", b"") == b"auth"
        and cnonce != b""
        and len(nc) == 8
        and not nc.translate(None, _NC_DIGITS)
        and _is_same_target(uri, request_uri)
    )


def _ha1_of(user: SipUser, algorithm: str) -> str:
    if algorithm == "SHA-256":
        return user.ha1_sha256
    if algorithm == "SHA-512-256":
        return user.ha1_sha512_256
    return user.ha1_md5


def _is_same_target(uri: bytes, request_uri: bytes) -> bool:
    """Whether the digest's `uri` names what the request is for.

    Clients differ in the parameters that they leave in, and a proxy may have added some; scheme,
    user, host and port are what an answer must not be carried over to another of.
    """
    if uri == request_uri:
        return True
    try:
        ours = parse_uri(request_uri)
        theirs = parse_uri(uri)
    except ParseError:
        return False
    return (
        ours.scheme == theirs.scheme
        and ours.user == theirs.user
        and ours.host == theirs.host
        and (ours.port == theirs.port or (ours.port in (0, 5060) and theirs.port in (0, 5060)))
    )


def _may_call(user: SipUser, tables: Tables, source_ip: str) -> bool:
    if not user.enabled:
        return False
    caller = tables.user_callers.get(user.id)
    return caller is not None and (caller.allowed is None or source_ip in caller.allowed)


def _username(value: bytes) -> str:
    """A user name for looking up; one that no account can have where it is too long or no UTF-8."""
    if len(value) > USERNAME_BYTES_MAX:
        return ""
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return ""


def _address_name(source_ip: str) -> str:
    """Under what an address is counted: IPv6 by its /64, which one host has all of."""
    if ":" not in source_ip:
        return source_ip
    number, is_v6 = address_number(source_ip)
    return f"{number >> 64:x}::/64" if is_v6 else source_ip
