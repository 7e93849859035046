"""Digest as a phone does it: every algorithm, and every way of getting it wrong, over real sockets.

The answers are computed here from the RFC texts, apart from `switch.policy.digest`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator

import pytest

from sipp_scenarios.changes import PASSWORD, REALM, user_name, with_sip_user
from sipp_scenarios.places import Place
from switch.snapshot import Record
from tests.e2e.bench import Bench
from tests.e2e.peer import SDP, Dialog, Peer, Seen, hang_up, reply

pytestmark = pytest.mark.slow

ALLOW = f"Allow: {', '.join(['INVITE, ACK, CANCEL, BYE, OPTIONS, PRACK, UPDATE, INFO, REFER, NOTIFY'] * 4)}"
HASHES = {"MD5": "md5", "SHA-256": "sha256", "SHA-512-256": "sha512_256"}


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    def only_digest(place: Place) -> list[Record]:
        return with_sip_user(place, place.records())

    made = Bench(tmp_path_factory.mktemp("digest"), records=only_digest)
    yield made
    made.close()


@pytest.fixture
def phone(bench: Bench) -> Iterator[Peer]:
    with bench.peer(bench.stranger) as peer:
        yield peer


@pytest.fixture
def vendor(bench: Bench) -> Iterator[Peer]:
    with bench.peer(bench.vendor) as peer:
        yield peer


class Challenge:
    """One Proxy-Authenticate line of a 407."""

    def __init__(self, line: str) -> None:
        self.fields = {name.lower(): value.strip('"') for name, value in re.findall(r'(\w+)=("[^"]*"|[^,\s]+)', line)}

    @property
    def algorithm(self) -> str:
        return str(self.fields["algorithm"])


def challenges(answer: Seen) -> dict[str, Challenge]:
    """By algorithm."""
    found = [Challenge(line) for line in answer.headers("Proxy-Authenticate")]
    return {challenge.algorithm: challenge for challenge in found}


def credentials(challenge: Challenge, user: str, password: str, uri: str, other: dict[str, str] | None = None) -> str:
    """A Proxy-Authorization line (RFC 7616 §3.4.1); `other` replaces fields after the response is computed."""
    other = dict(other or {})
    fields = {
        "username": user,
        "realm": challenge.fields["realm"],
        "nonce": challenge.fields["nonce"],
        "uri": uri,
        "nc": other.pop("nc", "00000001"),
        "cnonce": "0a4f113b",
        "qop": "auth",
        "algorithm": challenge.algorithm,
    }

    def digest(*parts: str) -> str:
        return hashlib.new(HASHES[challenge.algorithm], ":".join(parts).encode()).hexdigest()

    ha1 = digest(user, fields["realm"], password)
    ha2 = digest("INVITE", uri)
    fields["response"] = digest(ha1, fields["nonce"], fields["nc"], fields["cnonce"], "auth", ha2)
    fields |= other
    plain = ("nc", "qop", "algorithm")
    written = (f"{name}={value}" if name in plain else f'{name}="{value}"' for name, value in fields.items())
    return "Proxy-Authorization: Digest " + ", ".join(written)


def challenged(phone: Peer, bench: Bench) -> tuple[Dialog, dict[str, Challenge]]:
    """A first INVITE without credentials, as long as those of phones are: a short one gets fewer algorithms."""
    dialog = bench.call(phone)
    phone.send(dialog.invite(ALLOW))
    answer = phone.wait_for_final()
    assert answer.status == 407
    phone.send(dialog.ack(answer))
    return dialog, challenges(answer)


def again(phone: Peer, bench: Bench, authorization: str) -> tuple[Dialog, int]:
    """A new INVITE with these credentials; the status of what comes first, 100 aside."""
    dialog = bench.call(phone)
    phone.send(dialog.invite(authorization))
    answer = phone.wait_for(lambda seen: seen.status > 100 and seen.method == "INVITE")
    if answer.status >= 300:
        phone.send(dialog.ack(answer))
    return dialog, answer.status


@pytest.mark.parametrize("algorithm", list(HASHES))
def test_a_right_answer_makes_a_call_in_each_algorithm(bench: Bench, phone: Peer, vendor: Peer, algorithm: str) -> None:
    _, offered = challenged(phone, bench)
    assert list(offered) == ["SHA-512-256", "SHA-256", "MD5"]  # the strongest first (RFC 8760 §2.4)
    assert offered[algorithm].fields["realm"] == REALM
    dialog = bench.call(phone)
    phone.send(dialog.invite(credentials(offered[algorithm], user_name(bench.place), PASSWORD, dialog.uri)))
    invite = vendor.wait_for_request("INVITE")
    assert not invite.headers("Proxy-Authorization")  # ours alone to read
    vendor.send(reply(vendor, invite, 200, "OK", body=SDP))
    phone.send(dialog.ack(phone.wait_for_final()))
    vendor.wait_for_request("ACK")
    hang_up(dialog, phone, vendor)
    cdr = bench.cdr_of(dialog)
    assert (cdr.cause, cdr.sip_user_id, cdr.endpoint_id) == ("normal", bench.place.base, None)


def test_an_answer_counts_once_from_any_address(bench: Bench, phone: Peer, vendor: Peer) -> None:
    _, offered = challenged(phone, bench)
    uri = bench.call(phone).uri
    line = credentials(offered["SHA-256"], user_name(bench.place), PASSWORD, uri)
    dialog = bench.call(phone)
    phone.send(dialog.invite(line))
    invite = vendor.wait_for_request("INVITE")
    vendor.send(reply(vendor, invite, 486, "Busy Here"))
    phone.send(dialog.ack(phone.wait_for_final()))
    vendor.drain(0.1)
    assert again(phone, bench, line)[1] == 407
    with bench.peer(bench.second_stranger) as thief:
        assert again(thief, bench, line)[1] == 407
    assert vendor.drain(0.2) == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"response": ""},
        {"response": "0" * 64},
        {"realm": "elsewhere"},
        {"nonce": "made-up"},
        {"nc": "000000001"},
        {"nc": "0000000g"},
        {"uri": "sip:49301234567@127.0.0.1"},
        {"qop": "auth-int"},
        {"algorithm": "MD5"},
        {"algorithm": "SHA-999"},
        {"username": "nobody"},
    ],
    ids=str,
)
def test_a_wrong_answer_is_challenged_again(bench: Bench, phone: Peer, vendor: Peer, wrong: dict[str, str]) -> None:
    _, offered = challenged(phone, bench)
    before = len(bench.cdrs())
    uri = bench.call(phone).uri
    line = credentials(offered["SHA-256"], user_name(bench.place), PASSWORD, uri, wrong)
    dialog = bench.call(phone)
    phone.send(dialog.invite(line))
    answer = phone.wait_for_final()
    phone.send(dialog.ack(answer))
    assert answer.status in (400, 407)
    if answer.status == 407:
        # Only a nonce of ours that has grown old may be called stale (RFC 7616 §3.3).
        assert all(challenge.fields.get("stale", "false") == "false" for challenge in challenges(answer).values())
    bench.assert_clean(vendor, before)


def test_an_answer_to_one_number_is_none_for_another(bench: Bench, phone: Peer, vendor: Peer) -> None:
    _, offered = challenged(phone, bench)
    line = credentials(offered["SHA-256"], user_name(bench.place), PASSWORD, bench.call(phone).uri)
    dialog = bench.call(phone, "49301234567")
    phone.send(dialog.invite(line))
    assert phone.wait_for_final().status in (400, 407)
    assert vendor.drain(0.2) == []


def test_unknown_user_and_wrong_password_get_the_same_answer(bench: Bench, phone: Peer) -> None:
    texts = []
    for user, password in (("nobody", PASSWORD), (user_name(bench.place), "wrong")):
        _, offered = challenged(phone, bench)
        dialog = bench.call(phone)
        phone.send(dialog.invite(credentials(offered["SHA-256"], user, password, dialog.uri)))
        answer = phone.wait_for_final()
        phone.send(dialog.ack(answer))
        texts.append((answer.start_line, [line.partition(":")[0] for line in answer.lines[1:]]))
    assert texts[0] == texts[1]


@pytest.mark.parametrize("size", [0, 50, 100, 200, 400, 800])
def test_a_stranger_never_gets_more_octets_than_it_sent(bench: Bench, phone: Peer, size: int) -> None:
    """Its address may be forged; so nothing is repeated either."""
    dialog = bench.call(phone)
    text = dialog.invite("X-Padding: " + "x" * size, body="")
    phone.send(text)
    answers = phone.drain(1.0)  # several of timer G's intervals
    assert sum(len(answer.data) for answer in answers) <= len(text)
    assert [answer.status for answer in answers] in ([407], [])
