"""Who guesses at names and passwords learns nothing, from what is answered or from how long it takes."""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from switch.policy.hashes import ALGORITHMS, digest_response, make_ha1
from switch.snapshot import SipUser
from switch.wire.auth import parse_challenge
from switch.wire.headers import PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, WWW_AUTHENTICATE
from switch.wire.message import Response
from tests.fakes.carrier import DEFAULT_RECORDS, with_
from tests.fakes.world import CHEAP, Peer, World

SCANNER = ("203.0.113.66", 5060)
NUMBER = "442071234567"
REALM = "tandem"
KNOWN = {algorithm: make_ha1(algorithm, "alice", REALM, "password5000") for algorithm in ALGORITHMS}
RECORDS = with_(
    DEFAULT_RECORDS,
    SipUser,
    1,
    ha1_md5=KNOWN["MD5"],
    ha1_sha256=KNOWN["SHA-256"],
    ha1_sha512_256=KNOWN["SHA-512-256"],
)


class Scanner(Peer):
    """Sends one request after another and keeps the last answer to each."""

    def __init__(self, world: World) -> None:
        super().__init__(world, SCANNER)
        self._serial = 0

    def ask(self, method: str, user: str, *extra: str) -> Response | None:
        self._serial += 1
        call_id = f"scan-{self._serial}"
        uri = f"sip:{NUMBER if method == 'INVITE' else user}@192.0.2.1"
        lines = [
            f"{method} {uri} SIP/2.0",
            f"Via: SIP/2.0/UDP 203.0.113.66:5060;branch=z9hG4bK{self._serial}",
            f"From: <sip:{user}@192.0.2.1>;tag={self._serial}",
            f"To: <sip:{user}@192.0.2.1>",
            f"Call-ID: {call_id}",
            f"CSeq: {self._serial} {method}",
            "Contact: <sip:scan@203.0.113.66>",
            "Max-Forwards: 70",
            "User-Agent: friendly-scanner " + "x" * 400,
            *extra,
            "Content-Length: 0",
        ]
        self.send("\r\n".join([*lines, "", ""]).encode())
        self.world.run_for(0.01)
        found = [each for each in self.received if isinstance(each, Response) and each.call_id == call_id.encode()]
        return found[-1] if found else None


def answer(nonce: str, username: str, password: str, nc: int = 1, algorithm: str = "SHA-256") -> str:
    uri, cnonce, count = f"sip:{NUMBER}@192.0.2.1", "0a4f113b", f"{nc:08x}"
    ha1 = make_ha1(algorithm, username, REALM, password)
    parts = (b"INVITE", uri.encode(), nonce.encode(), count.encode(), cnonce.encode())
    response = digest_response(algorithm, ha1, *parts)
    return (
        f'Proxy-Authorization: Digest username="{username}",realm="{REALM}",nonce="{nonce}",uri="{uri}",qop=auth,'
        f'nc={count},cnonce="{cnonce}",algorithm={algorithm},response="{response}"'
    )


def nonce_of(response: Response | None) -> str:
    assert response is not None
    for header, line in zip(response.ids, response.lines, strict=True):
        if header in (PROXY_AUTHENTICATE, WWW_AUTHENTICATE):
            return parse_challenge(line.partition(b":")[2]).params["nonce"].decode()
    return ""


def shape(response: Response | None) -> tuple[Any, ...]:
    """All that an answer tells, but for what differs with each question."""
    if response is None:
        return ()
    names = tuple(line.split(b":")[0] for line in response.lines)
    return response.status, names


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path, records=RECORDS)


@pytest.mark.parametrize("method", ["INVITE", "REGISTER", "OPTIONS"])
def test_a_scan_of_a_thousand_names_finds_none(world: World, method: str) -> None:
    scanner = Scanner(world)
    known = shape(scanner.ask(method, "alice"))
    for name in [f"{number}" for number in range(100, 1_100)]:
        assert shape(scanner.ask(method, name)) == known, name
    assert shape(scanner.ask(method, "alice")) == known
    assert world.cheap.received == []


@pytest.mark.parametrize("method", ["INVITE", "REGISTER"])
def test_wrong_answers_for_known_and_unknown_names_are_answered_alike(world: World, method: str) -> None:
    scanner = Scanner(world)
    seen = set()
    for name in ("alice", "nobody", "1000"):
        nonce = nonce_of(scanner.ask("INVITE", name))
        header = answer(nonce, name, "wrong")
        if method == "REGISTER":
            header = header.removeprefix("Proxy-")
        seen.add(shape(scanner.ask(method, name, header)))
    assert len(seen) == 1


def test_ten_thousand_passwords_are_cut_off_before_the_fiftieth(world: World) -> None:
    scanner = Scanner(world)
    nonce = nonce_of(scanner.ask("INVITE", "alice"))
    statuses: Counter[int] = Counter()
    judged = 0
    for number in range(10_000):
        # The right one is among them, and comes too late.
        found = scanner.ask("INVITE", "alice", answer(nonce, "alice", f"password{number}", number + 1))
        status = 0 if found is None else found.status
        statuses[status] += 1
        if status == 407:
            judged += 1
            nonce = nonce_of(found) or nonce
        if number % 1_000 == 0:
            scanner.received.clear()
    assert judged <= 50
    assert set(statuses) <= {407, 403, 0}
    assert statuses[403] + statuses[0] >= 9_950
    assert world.cheap.received == []
    assert world.cdrs == []


def test_as_many_hashes_are_computed_for_an_unknown_name_as_for_a_wrong_password(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Time is what hashing costs: counted, since a clock would also measure the machine's mood."""
    scanner = Scanner(world)
    counts: Counter[str] = Counter()

    def counted(name: str) -> Any:
        real = getattr(hashlib, name)

        def count(*args: Any, **more: Any) -> Any:
            counts[name] += 1
            return real(*args, **more)

        return count

    blocked = with_(RECORDS, SipUser, 1, ha1_sha256=KNOWN["SHA-256"], enabled=False)
    off = Scanner(World(world.folder, records=blocked, has_decks=True))
    found = []
    for asker, name in ((scanner, "alice"), (scanner, "nobody"), (off, "alice")):
        nonce = nonce_of(asker.ask("INVITE", name))
        header = answer(nonce, name, "wrong" if asker is scanner else "password5000")
        with monkeypatch.context() as patched:
            for algorithm in ("md5", "sha256", "new"):
                patched.setattr(hashlib, algorithm, counted(algorithm))
            counts.clear()
            status = shape(asker.ask("INVITE", name, header))
            found.append((dict(counts), status))
    assert found[0] == found[1] == found[2]
    assert found[0][0]["sha256"] >= 2


@pytest.mark.parametrize("status", [401, 407])
def test_a_vendor_that_asks_for_a_password_is_given_none(world: World, status: int) -> None:
    """A challenge for our own realm, from whoever we call, is no way to a digest (CVE-2021-41158)."""
    name = b"WWW-Authenticate" if status == 401 else b"Proxy-Authenticate"
    challenge = name + b': Digest realm="tandem",nonce="dcd98b7102dd2f0e8b11d0f600bfb0c093",qop="auth",algorithm=MD5'
    world.cheap.behaviour = ()
    world.caller.invite()
    world.run_for(0.01)
    (invite,) = world.cheap.requests("INVITE")
    world.cheap.reply(invite, status, tag="v", extra=[challenge])
    world.run_for(1.0)
    assert world.dear.requests("INVITE"), "the next vendor is asked"
    for peer in (world.cheap, world.dear):
        for request in peer.requests():
            assert PROXY_AUTHORIZATION not in request.ids
            assert b"uthorization" not in request.data
    assert [packet for packet in world.log if packet.target == CHEAP and b"Digest" in packet.data] == []
    assert not [each for each in world.caller.received if b"dcd98b" in each.data]
