"""Peers that break the rules in the middle of a call: what they send ends or is refused, and nothing is left behind."""

from __future__ import annotations

from pathlib import Path

import pytest

from config.settings import Limits, Settings
from switch.snapshot import Endpoint
from tests.fakes.carrier import DEFAULT_RECORDS, with_
from tests.fakes.world import CALLER, CHEAP, SWITCH, Peer, World


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


@pytest.mark.parametrize(
    "line",
    [
        b'Record-Route: "open',
        b"Record-Route: <sip:192.0.2.9;lr>, <sip:open",
        b"Record-Route: <tel:123>",
        b"Record-Route: ,",
        b"Route: broken",
        b'Route: "open',
        b"Route: <sip:192.0.2.1:5060;lr>, <tel:123>",
    ],
)
def test_an_invite_with_a_broken_route_leaves_nothing_behind(world: World, line: bytes) -> None:
    world.caller.invite(extra=[line])
    world.run_for(0.1)
    if 200 in world.caller.statuses():
        world.caller.ack()
        world.caller.bye()
    assert len(world.caller.statuses()) >= 1
    world.run_for(100)
    world.assert_idle()


@pytest.mark.parametrize("contact", [b"Contact: ,", b"Contact: <tel:1>", b"Contact: *", b"X: y"])
def test_a_caller_without_a_usable_contact_is_reached_where_it_speaks_from(world: World, contact: bytes) -> None:
    data = world.caller.invite()
    world._queue.clear()
    lines = [contact if line.startswith(b"Contact") else line for line in data.split(b"\r\n")]
    world.caller.send(b"\r\n".join(lines))
    world.run_for(0.1)
    world.caller.ack()
    world.run_for(1)
    world.cheap.in_dialog("BYE", 1)
    world.run_for(0.1)
    (bye,) = world.caller.requests("BYE")
    world.caller.reply(bye, 200)
    world.run_for(0.1)
    assert world.cheap.statuses("BYE") == [200]
    assert world.cdrs[0].release == "callee"
    world.run_for(40)
    world.assert_idle()


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"Contact: <sip:peer@198.51.100.1:5060>", b"X: y"),
        (b"Contact: <sip:peer@198.51.100.1:5060>", b"Contact: ,"),
        (b"Contact: <sip:peer@198.51.100.1:5060>", b'Contact: "a, <b'),
        (b"Record-Route: ", b'Record-Route: "open, '),
        (b"Record-Route: ", b"Record-Route: <tel:1>, "),
    ],
)
def test_an_answer_with_a_broken_contact_or_route_set_is_a_call_like_others(
    world: World, old: bytes, new: bytes
) -> None:
    world.cheap.behaviour = (180,)
    world.caller.invite()
    world.run_for(0.01)
    answer = world.cheap.answer(200)
    world._queue.clear()
    assert old in answer
    world.cheap.send(answer.replace(old, new))
    world.run_for(0.1)
    assert world.caller.statuses() == [180, 200]
    world.caller.ack()
    world.run_for(5)
    world.caller.in_dialog("BYE", 2)
    world.run_for(0.1)
    assert [r.method for r in world.cheap.requests()] == [b"INVITE", b"ACK", b"BYE"]
    (cdr,) = world.cdrs
    assert (cdr.release, cdr.billed_s) == ("caller", 6)
    world.run_for(40)
    world.assert_idle()


def test_a_late_answer_without_a_contact_is_hung_up_all_the_same(world: World) -> None:
    world.cheap.behaviour = ()
    world.caller.invite()
    world.run_for(5.5)
    answer = world.cheap.answer(200)
    world._queue.clear()
    world.cheap.send(answer.replace(b"Contact: <sip:peer@198.51.100.1:5060>", b"X: y"))
    world.run_for(0.1)
    assert world.names_to(CHEAP)[-2:] == ["ACK", "BYE"]


def test_an_invite_of_as_many_vias_as_are_allowed_leaves_nothing_behind(world: World) -> None:
    """With ours there would be one more, and the vendor's answers could not be read."""
    vias = [b"Via: SIP/2.0/UDP 192.0.2.%d;branch=z9hG4bK%d" % (10, n) for n in range(69)]
    world.caller.invite(extra=vias)
    world.run_for(0.05)
    assert world.caller.statuses() == [483]
    assert world.cheap.invites == []
    world.run_for(60)
    world.assert_idle()


def test_an_invite_with_the_longest_via_line_can_be_cancelled(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.cheap.behaviour = ()
    data = world.caller.invite(branch="z9hG4bKx")
    world._queue.clear()
    via = b"Via: SIP/2.0/UDP elsewhere.example:5060;branch=z9hG4bKx"
    via += b";x=" + b"y" * (8_192 - len(via) - 3)
    world.peers.clear()  # they could not read it either
    lines = [via if line.startswith(b"Via") else line for line in data.split(b"\r\n")]
    world.caller.send(b"\r\n".join(lines))
    world.run_for(0.1)
    sent = [p.data for p in world.log if p.target == CHEAP][-1]
    branch = sent[sent.index(b"branch=") + 7 :].partition(b"\r\n")[0]
    ringing = b"SIP/2.0 180 X\r\nVia: SIP/2.0/UDP 192.0.2.1:5060;branch=" + branch + sent[sent.index(b"\r\nFrom: ") :]
    world.carry(CHEAP, SWITCH, ringing)
    world.run_for(0.1)
    (live,) = world.engine.list_calls(None, world.now)
    assert live.state == "ringing"
    world.engine.end_call(live.cdr_id, world.now)
    world._collect()
    world.run_for(0.1)
    assert b"CANCEL" in [p.data[:6] for p in world.log if p.target == CHEAP]
    world.run_for(60)
    world.assert_idle()


def test_the_limits_of_the_settings_rule(tmp_path: Path) -> None:
    world = World(tmp_path, settings=Settings(limits=Limits(header_lines_max=20)))
    world.caller.invite(extra=[b"X-%d: y" % n for n in range(20)])
    world.run_for(0.1)
    assert world.caller.statuses() == [513]
    assert world.cheap.invites == []


def test_a_display_name_with_angle_brackets_does_not_outlive_a_forced_number(tmp_path: Path) -> None:
    world = World(tmp_path, records=with_(DEFAULT_RECORDS, Endpoint, 1, force_from="442079460000"))
    data = world.caller.invite()
    world._queue.clear()
    world.caller.send(data.replace(b'From: "15557770000" <', b'From: "<sip:15557770000@192.0.2.10>" <'))
    world.run_for(0.1)
    (invite,) = world.cheap.invites
    assert invite.from_value() == b"<sip:442079460000@192.0.2.10>;tag=callercall1@"


def test_options_inside_a_dialog_ends_at_zero_hops_like_everything(world: World) -> None:
    world.talk(1)
    for method in ("OPTIONS", "INFO"):
        data = world.caller.in_dialog(method, 2)
        world._queue.clear()
        world.caller.send(data.replace(b"Max-Forwards: 70", b"Max-Forwards: 0"))
        world.run_for(0.1)
        assert world.caller.statuses(method) == [483]
    assert world.cheap.requests("OPTIONS") == []


def test_a_caller_of_rfc_2543_without_a_tag_is_hung_up_by_either_side(world: World) -> None:
    for releases in ("caller", "callee"):
        data = world.caller.invite()
        world._queue.clear()
        tag = b";tag=caller" + world.caller.call_id[:6].encode()
        world.caller.send(data.replace(tag, b""))
        world.run_for(0.1)
        ack = world.caller.ack()
        world._queue.clear()
        world.caller.send(ack.replace(tag, b""))
        world.run_for(40)
        assert len(world.cdrs) == (0 if releases == "caller" else 1)
        if releases == "caller":
            bye = world.caller.bye()
            world._queue.clear()
            world.caller.send(bye.replace(tag, b""))
        else:
            world.cheap.in_dialog("BYE", 1)
        world.run_for(0.1)
        assert world.cdrs[-1].release == releases
    world.caller.reply(world.caller.requests("BYE")[0], 200)
    world.run_for(60)
    world.assert_idle()


def test_our_own_address_on_another_port_is_no_contact_of_others(world: World) -> None:
    own = Peer(world, ("192.0.2.1", 8080))
    world.cheap.behaviour = (180,)
    world.caller.invite()
    world.run_for(0.01)
    answer = world.cheap.answer(200)
    world._queue.clear()
    world.cheap.send(answer.replace(b"peer@198.51.100.1:5060", b"peer@192.0.2.1:8080"))
    world.run_for(0.1)
    world.caller.ack()
    world.run_for(0.1)
    assert own.received == []
    assert len(world.cheap.requests("ACK")) == 1


@pytest.mark.parametrize("contact", [b"[::ffff:127.0.0.1]", b"[::ffff:192.0.2.1]", b"[::1]"])
def test_mapped_addresses_are_what_they_stand_for(world: World, contact: bytes) -> None:
    from switch.call.hops import Hops, Local
    from switch.outputs import Flow

    hops = Hops([Local(0, "udp", "2001:db8::1", 5060), Local(1, "udp", "192.0.2.1", 5060)])
    heard_from = Flow(0, ("2001:db8:1::5", 5060))
    assert hops.towards(b"sip:x@" + contact, heard_from) is heard_from


def test_forks_beyond_what_is_remembered_are_left_to_themselves(world: World) -> None:
    world.caller.invite()
    world.run_for(0.1)
    world.caller.ack()
    for number in range(100):
        world.cheap.answer(200, tag=f"fork{number}")
    world.run_for(0.5)
    assert len(world.sent("BYE", CHEAP)) <= 32
    world.caller.bye()
    world.run_for(60)
    world.assert_idle()
    assert CALLER in world.peers
