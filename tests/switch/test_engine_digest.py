"""Users by password through the engine: challenge, answer, copies, throttling."""

from __future__ import annotations

import hashlib
from pathlib import Path

import msgspec
import pytest

from config.settings import Settings, Sip
from switch.policy.hashes import digest_response
from switch.snapshot import SipUser
from switch.wire.auth import parse_challenge
from switch.wire.headers import PROXY_AUTHENTICATE, PROXY_AUTHORIZATION
from switch.wire.message import Response
from tests.fakes.carrier import DEFAULT_RECORDS, with_
from tests.fakes.world import SDP, Caller, World

PHONE = ("203.0.113.20", 5060)
URI = "sip:442071234567@192.0.2.1:5060"


def ha1(algorithm: str, password: str) -> str:
    name = {"MD5": "md5", "SHA-256": "sha256", "SHA-512-256": "sha512_256"}[algorithm]
    return hashlib.new(name, f"alice:tandem:{password}".encode()).hexdigest()


RECORDS = with_(DEFAULT_RECORDS, SipUser, 1, ha1_md5=ha1("MD5", "secret"), ha1_sha256=ha1("SHA-256", "secret"))


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path, records=RECORDS)


@pytest.fixture
def phone(world: World) -> Caller:
    return Caller(world, PHONE)


def challenges(phone: Caller) -> dict[str, str]:
    """Algorithm to nonce, of the last 407."""
    last = [r for r in phone.received if isinstance(r, Response) and r.status == 407][-1]
    found = {}
    for index, header in enumerate(last.ids):
        if header == PROXY_AUTHENTICATE:
            params = parse_challenge(last.lines[index].partition(b":")[2]).params
            found[params["algorithm"].decode()] = params["nonce"].decode()
    return found


def answer(
    nonce: str, *, algorithm: str = "SHA-256", password: str = "secret", nc: str = "00000001", uri: str = URI
) -> bytes:
    response = digest_response(
        algorithm, ha1(algorithm, password), b"INVITE", uri.encode(), nonce.encode(), nc.encode(), b"0a4f113b"
    )
    return (
        f'Proxy-Authorization: Digest username="alice",realm="tandem",nonce="{nonce}",uri="{uri}",qop=auth,'
        f'nc={nc},cnonce="0a4f113b",algorithm={algorithm},response="{response}"'
    ).encode()


def challenged(world: World, phone: Caller) -> dict[str, str]:
    phone.invite()
    world.run_for(0.1)
    assert phone.statuses()[-1] == 407
    return challenges(phone)


@pytest.mark.parametrize("algorithm", ["MD5", "SHA-256"])
def test_a_user_is_challenged_answers_and_calls(world: World, phone: Caller, algorithm: str) -> None:
    nonce = challenged(world, phone)[algorithm]
    phone.invite(extra=[answer(nonce, algorithm=algorithm)])
    world.run_for(0.1)
    assert phone.statuses() == [407, 180, 200]
    assert PROXY_AUTHORIZATION not in world.cheap.invites[0].ids
    phone.ack()
    phone.bye()
    world.run_for(0.1)
    assert (world.cdrs[0].sip_user_id, world.cdrs[0].endpoint_id) == (1, None)


def test_all_algorithms_are_offered_the_strongest_first_as_far_as_they_fit(world: World, phone: Caller) -> None:
    # A stranger is never sent more than it sent: a short INVITE gets a shorter choice.
    assert list(challenged(world, phone)) == ["SHA-256", "MD5"]
    phone.invite(body=SDP * 4)
    world.run_for(0.1)
    assert list(challenges(phone)) == ["SHA-512-256", "SHA-256", "MD5"]


def test_a_challenge_leaves_no_state(world: World, phone: Caller) -> None:
    challenged(world, phone)
    world.assert_idle()


@pytest.mark.parametrize(
    "change",
    [{"password": "wrong"}, {"uri": "sip:449001234567@192.0.2.1:5060"}, {"nc": "1"}, {"nc": "0000000g"}],
)
def test_a_wrong_answer_is_challenged_again_and_never_let_in(
    world: World, phone: Caller, change: dict[str, str]
) -> None:
    nonce = challenged(world, phone)["SHA-256"]
    phone.invite(extra=[answer(nonce, **change)])
    world.run_for(0.1)
    assert phone.statuses() == [407, 407]
    assert b"stale=true" not in phone.last(407).data
    assert world.cheap.invites == []


def test_an_answer_counts_once_from_whatever_address(world: World, phone: Caller) -> None:
    nonce = challenged(world, phone)["SHA-256"]
    line = answer(nonce)
    phone.invite(extra=[line])
    world.run_for(0.1)
    thief = Caller(world, ("203.0.113.99", 5060))
    thief.invite(extra=[line])
    world.run_for(0.1)
    assert thief.statuses() == [407]
    assert len(world.cheap.invites) == 1


def test_an_old_nonce_is_stale_and_one_retry_succeeds(world: World, phone: Caller) -> None:
    nonce = challenged(world, phone)["SHA-256"]
    world.run_for(400)
    phone.invite(extra=[answer(nonce)])
    world.run_for(0.1)
    assert b"stale=true" in phone.last(407).data
    phone.invite(extra=[answer(challenges(phone)["SHA-256"])])
    world.run_for(0.1)
    assert phone.statuses()[-1] == 200


def test_too_many_wrong_answers_are_throttled_and_plain_challenges_never_count(tmp_path: Path) -> None:
    tight = Settings(sip=msgspec.structs.replace(Sip(), auth_failures_max=3))
    world = World(tmp_path, records=RECORDS, settings=tight)
    phone = Caller(world, PHONE)
    for _ in range(10):
        challenged(world, phone)
    for _ in range(4):
        phone.invite(extra=[answer(challenges(phone)["SHA-256"], password="guess")])
        world.run_for(0.1)
    assert phone.statuses()[-4:] == [407, 407, 407, 403]
    world.run_for(400)
    phone.invite()
    world.run_for(0.1)
    phone.invite(extra=[answer(challenges(phone)["SHA-256"])])
    world.run_for(0.1)
    assert phone.statuses()[-1] == 200
