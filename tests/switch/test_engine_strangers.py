"""What people get from the engine that it does not know: little, short, and never somebody else's call."""

from __future__ import annotations

from pathlib import Path

import pytest

from switch.wire.message import Response
from tests.fakes.carrier import DEFAULT_RECORDS
from tests.fakes.world import CALLER, CHEAP, Peer, World

STRANGER = ("203.0.113.66", 5060)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def ask(method: str, address: tuple[str, int], *lines: str, uri: str = "sip:192.0.2.1") -> bytes:
    return "\r\n".join(
        [
            f"{method} {uri} SIP/2.0",
            f"Via: SIP/2.0/UDP {address[0]}:{address[1]};branch=z9hG4bKq1",
            "Max-Forwards: 70",
            "From: <sip:a@b>;tag=1",
            "To: <sip:192.0.2.1>",
            "Call-ID: q1",
            f"CSeq: 1 {method}",
            *lines,
            "Content-Length: 0\r\n\r\n",
        ]
    ).encode()


@pytest.mark.parametrize("method", ["OPTIONS", "INVITE", "REGISTER", "MESSAGE", "SUBSCRIBE", "PUBLISH", "BYE"])
def test_a_stranger_is_never_sent_more_than_it_sent(world: World, method: str) -> None:
    stranger = Peer(world, STRANGER)
    data = ask(method, STRANGER)
    stranger.send(data)
    world.run_for(60)
    assert sum(len(p.data) for p in world.log if p.target == STRANGER) <= len(data)
    world.assert_idle()


@pytest.mark.parametrize("address", [CALLER, CHEAP])
def test_customers_and_vendors_get_whole_answers(world: World, address: tuple[str, int]) -> None:
    peer = world.peers[address]
    peer.send(ask("OPTIONS", address))
    world.run_for(0.1)
    (answer,) = [r for r in peer.received if isinstance(r, Response)]
    assert (answer.status, answer.reason) == (200, b"OK")
    assert any(line.startswith(b"Allow:") for line in answer.lines)


def test_other_methods_are_not_served(world: World) -> None:
    for method in ("MESSAGE", "SUBSCRIBE", "PUBLISH", "REFER", "FOO"):
        world.caller.send(ask(method, CALLER))
        world.run_for(0.1)
        assert world.caller.statuses(method) == [405]


@pytest.mark.parametrize("method", ["BYE", "INVITE", "UPDATE", "INFO", "REFER", "MESSAGE", "NOTIFY", "PRACK"])
def test_requests_of_dialogs_that_are_not_there_get_481(world: World, method: str) -> None:
    data = ask(method, CALLER).replace(b"To: <sip:192.0.2.1>", b"To: <sip:192.0.2.1>;tag=none")
    world.caller.send(data)
    world.run_for(0.1)
    assert world.caller.statuses(method) == [481]
    assert world.cdrs == []
    world.assert_idle()


def test_an_ack_or_a_cancel_of_nothing_changes_nothing(world: World) -> None:
    world.caller.send(ask("ACK", CALLER))
    world.caller.send(ask("CANCEL", CALLER))
    world.run_for(1)
    assert world.names_to(CALLER) == ["481 CANCEL"]


@pytest.mark.parametrize(
    ("line", "status"),
    [("Proxy-Require: foo", 420), ("Require: foo", 420)],
)
def test_extensions_that_we_do_not_know_are_named(world: World, line: str, status: int) -> None:
    world.caller.send(ask("OPTIONS", CALLER, line))
    world.run_for(0.1)
    assert world.caller.statuses("OPTIONS") == [status]
    assert b"Unsupported: foo" in world.caller.last(status).data


def test_max_forwards_zero_ends_here_but_for_options(world: World) -> None:
    data = world.caller.invite()
    world._queue.clear()
    world.caller.send(data.replace(b"Max-Forwards: 70", b"Max-Forwards: 0"))
    world.caller.send(ask("OPTIONS", CALLER).replace(b"Max-Forwards: 70", b"Max-Forwards: 0"))
    world.run_for(0.1)
    assert world.caller.statuses() == [483]
    assert world.caller.statuses("OPTIONS") == [200]


def test_options_for_another_host_are_not_answered_for_it(world: World) -> None:
    world.caller.send(ask("OPTIONS", CALLER, uri="sip:203.0.113.9"))
    world.run_for(0.1)
    assert world.caller.statuses("OPTIONS") == [404]


def test_a_customers_name_from_another_address_gets_nothing(tmp_path: Path) -> None:
    world = World(tmp_path, records=tuple(r for r in DEFAULT_RECORDS if type(r).__name__ != "SipUser"))
    data = world.caller.invite(extra=[b"P-Asserted-Identity: <sip:15557770000@192.0.2.10>"])
    world._queue.clear()
    stranger = Peer(world, STRANGER)
    stranger.send(data)  # its Via still says 192.0.2.10
    stranger.send(data.replace(b";branch=", b";received=192.0.2.10;branch="))
    world.run_for(1)
    assert {p.target for p in world.log} == {("192.0.2.1", 5060), STRANGER}
    assert world.cheap.invites == []
    assert world.cdrs == []
