"""What is kept of the messages of a switch: calls of known sources, all of them; of the rest a sample."""

from __future__ import annotations

from pathlib import Path

import pytest

from switch.ring import Ring
from switch.ring_format import BLOCK_BYTES, SENT
from switch.ring_read import Kept, RingFile
from switch.tap import Tap
from switch.wire.message import parse_message
from tests.fakes.world import CALLER, Peer, World

STRANGER = ("203.0.113.66", 5060)


class Kit:
    """A world whose messages are kept."""

    def __init__(self, folder: Path, *, strangers_per_s: int = 0, **more: object) -> None:
        self.path = folder / "ring"
        self.world = World(folder, **more)  # type: ignore[arg-type]
        tap = Tap(self.world.engine, self.world.engine.layer, Ring(self.path, 8 * BLOCK_BYTES), strangers_per_s)
        tap.wall_offset_s = self.world.wall_offset_s
        self.world.tap = tap

    def kept(self, call_id: str) -> list[Kept]:
        ring = RingFile(self.path)
        try:
            return ring.find([call_id.encode()], 0, 10**17)
        finally:
            ring.close()

    def names(self, call_id: str) -> list[str]:
        found = []
        for each in self.kept(call_id):
            line = each.data.split(b"\r\n", 1)[0].decode()
            name = line.split()[1] if line.startswith("SIP/2.0") else line.split()[0]
            found.append(f"{'>' if each.direction == SENT else '<'} {each.peer.partition(':')[0]} {name}")
        return found


def test_a_whole_call_is_kept_message_by_message_on_both_legs(tmp_path: Path) -> None:
    kit = Kit(tmp_path)
    kit.world.talk(5.0)
    kit.world.caller.bye()
    kit.world.run_for(1.0)
    here, there = CALLER[0], "198.51.100.1"
    assert kit.names(kit.world.caller.call_id) == [
        f"< {here} INVITE",
        f"> {here} 100",
        f"> {there} INVITE",
        f"< {there} 100",
        f"< {there} 180",
        f"> {here} 180",
        f"< {there} 200",
        f"> {here} 200",
        f"< {here} ACK",
        f"> {there} ACK",
        f"< {here} BYE",
        f"> {there} BYE",
        f"< {there} 200",
        f"> {here} 200",
    ]
    first = kit.kept(kit.world.caller.call_id)[0]
    assert first.at_us // 1_000 == kit.world.cdrs[0].invited_ms


def test_each_attempt_of_a_hunted_call_is_kept_with_the_vendor_that_it_went_to(tmp_path: Path) -> None:
    kit = Kit(tmp_path)
    kit.world.cheap.behaviour = (503,)
    kit.world.talk(1.0)
    sent = [each.peer for each in kit.kept(kit.world.caller.call_id) if each.data.startswith(b"INVITE")]
    assert sent == ["192.0.2.10:5060", "198.51.100.1:5060", "198.51.100.2:5060"]


def test_a_refused_call_and_a_cancelled_one_are_kept_to_their_last_message(tmp_path: Path) -> None:
    kit = Kit(tmp_path)
    caller = kit.world.caller
    caller.invite("99999")
    kit.world.run_for(1.0)
    names = [name.split()[-1] for name in kit.names(caller.call_id)]
    assert names[0] == "INVITE"
    assert names[-1] == "ACK"
    kit.world.cheap.behaviour = (180,)
    caller.invite()
    kit.world.run_for(1.0)
    caller.cancel()
    kit.world.run_for(1.0)
    names = kit.names(caller.call_id)
    assert f"< {CALLER[0]} CANCEL" in names
    assert f"> {CALLER[0]} 487" in names
    assert f"> {CALLER[0]} 200" in names, "the answer to the CANCEL"


def test_a_strangers_flood_is_sampled_and_washes_no_call_out(tmp_path: Path) -> None:
    kit = Kit(tmp_path, strangers_per_s=5)
    kit.world.talk(1.0)
    call_id = kit.world.caller.call_id
    stranger = Peer(kit.world, STRANGER)
    before = len(kit.names(call_id))
    data = INVITE.replace(b"CALLID", b"flood@x")
    for number in range(20_000):
        stranger.send(data.replace(b"z9hG4bKx", b"z9hG4bK%d" % number))
        if number % 2_000 == 0:
            kit.world.run_for(0.3)
    kit.world.run_for(0.3)
    # Ten thirds of a second, each with its question and its answer.
    assert 0 < len(kit.kept("flood@x")) <= 5 * 5
    assert len(kit.names(call_id)) == before


@pytest.mark.parametrize("method", [b"OPTIONS", b"REGISTER", b"MESSAGE"])
def test_what_is_no_call_is_not_kept_from_a_known_address_either(tmp_path: Path, method: bytes) -> None:
    kit = Kit(tmp_path)
    data = INVITE.replace(b"INVITE", method).replace(b"CALLID", b"ping@x").replace(STRANGER[0].encode(), b"192.0.2.10")
    kit.world.caller.send(data)
    kit.world.run_for(1.0)
    assert kit.kept("ping@x") == []


def test_a_message_that_the_engine_stumbles_over_is_kept_all_the_same(tmp_path: Path) -> None:
    class Stumbles:
        def receive(self, *_: object) -> None:
            raise RuntimeError("ours")

    kit = Kit(tmp_path)
    tap = Tap(Stumbles(), kit.world.engine.layer, Ring(kit.path, 8 * BLOCK_BYTES), 10)  # type: ignore[arg-type]
    with pytest.raises(RuntimeError):
        tap.receive(INVITE.replace(b"CALLID", b"odd@x"), 0, STRANGER, 1.0)
    assert len(kit.kept("odd@x")) == 1


INVITE = (
    b"INVITE sip:442071234567@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/UDP 203.0.113.66:5060;branch=z9hG4bKx\r\n"
    b"From: <sip:1@203.0.113.66>;tag=1\r\nTo: <sip:442071234567@192.0.2.1>\r\nCall-ID: CALLID\r\nCSeq: 1 INVITE\r\n"
    b"Contact: <sip:1@203.0.113.66>\r\nMax-Forwards: 70\r\nUser-Agent: friendly-scanner for a while longer than us\r\n"
    b"Content-Length: 0\r\n\r\n"
)
assert parse_message(INVITE)
