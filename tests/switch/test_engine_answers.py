"""Answers that keep no state: never longer than the question, and yet not missing for a long phrase."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fakes.world import Caller, World

STRANGER = ("203.0.113.66", 5060)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.fixture
def stranger(world: World) -> Caller:
    return Caller(world, STRANGER)


def bye(to: str, padding: str = "") -> bytes:
    """A BYE for no dialog of ours, as short as phones send it."""
    host, port = STRANGER
    return (
        f"BYE sip:442071234567@192.0.2.1:5060 SIP/2.0\r\n"
        f"Via: SIP/2.0/UDP {host}:{port};branch=z9hG4bKstray;rport\r\n"
        f"Max-Forwards: 70\r\n"
        f"From: <sip:15557770000@{host}>;tag=a\r\n"
        f"To: <sip:442071234567@192.0.2.1>;tag={to}\r\n"
        f"Call-ID: stray@{host}\r\n"
        f"CSeq: 7 BYE\r\n"
        f"{padding}Content-Length: 0\r\n\r\n"
    ).encode()


def test_a_short_bye_for_no_call_is_answered_without_a_phrase_rather_than_not_at_all(
    world: World, stranger: Caller
) -> None:
    request = bye("gone")
    stranger.send(request)
    world.run_for(0.1)
    assert stranger.statuses("BYE") == [481]
    assert len(stranger.last(481).data) <= len(request)


def test_a_bye_with_room_for_it_gets_the_whole_phrase(world: World, stranger: Caller) -> None:
    stranger.send(bye("gone", "User-Agent: a phone that says at some length what it is\r\n"))
    world.run_for(0.1)
    assert b"481 Call/Transaction Does Not Exist" in stranger.last(481).data
