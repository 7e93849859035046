"""Answers that keep no state: never longer than the question, and yet not missing for a long phrase."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fakes.world import CALLER, World


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def bye(to: str, padding: str = "") -> bytes:
    """A BYE for no dialog of ours, as short as phones send it."""
    host, port = CALLER
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


def test_a_short_bye_for_no_call_is_answered_without_a_phrase_rather_than_not_at_all(world: World) -> None:
    request = bye("gone")
    world.caller.send(request)
    world.run_for(0.1)
    assert world.caller.statuses("BYE") == [481]
    assert len(world.caller.last(481).data) <= len(request)


def test_a_bye_with_room_for_it_gets_the_whole_phrase(world: World) -> None:
    world.caller.send(bye("gone", "User-Agent: a phone that says at some length what it is\r\n"))
    world.run_for(0.1)
    assert b"481 Call/Transaction Does Not Exist" in world.caller.last(481).data
