"""Gateways: probing, names, transports, sizes; and configuration that changes under calls."""

from __future__ import annotations

from pathlib import Path
from random import Random

import msgspec
import pytest

from config.settings import Listener, Settings, Sip
from rating.decks import compile_deck
from rating.rows import RateRow
from switch.engine import Engine
from switch.frames import Simulate
from switch.outputs import GatewayHealth, Send, Target
from switch.policy.tables import StaleDelta
from switch.snapshot import Delta, Endpoint, Gateway, Key, Provider, RateCard, Revision, Snapshot
from switch.wire.message import Request, parse_message
from tests.fakes.carrier import CENT, DEFAULT_RECORDS, SELL, with_
from tests.fakes.world import CHEAP, DEAR, World, settings

PROBED = with_(DEFAULT_RECORDS, Gateway, 1, probe=True, probe_interval_ms=10_000)


def healths(world: World) -> list[tuple[int, bool]]:
    return [(e.gateway_id, e.is_up) for e in world.events if isinstance(e, GatewayHealth)]


def test_a_gateway_goes_down_by_silence_and_comes_up_by_answers_each_by_its_threshold(tmp_path: Path) -> None:
    world = World(tmp_path, records=PROBED)
    world.run_for(40)
    assert healths(world) == [(1, False)]
    world.caller.invite()
    world.run_for(0.1)
    assert world.cheap.invites == []
    assert len(world.dear.invites) == 1
    answered = 0

    def answer_probes(seconds: float) -> None:
        nonlocal answered
        for _ in range(int(seconds * 10)):
            world.run_for(0.1)
            probes = world.cheap.requests("OPTIONS")
            if len(probes) > answered:
                answered = len(probes)
                world.cheap.reply(probes[-1], 200)

    answer_probes(25)
    assert healths(world) == [(1, False), (1, True)]
    world.caller.invite()
    world.run_for(0.1)
    assert len(world.cheap.invites) == 1


def test_a_503_to_a_probe_is_not_healthy(tmp_path: Path) -> None:
    world = World(tmp_path, records=PROBED)
    seen = 0
    for _ in range(400):
        world.run_for(0.1)
        probes = world.cheap.requests("OPTIONS")
        if len(probes) > seen:
            seen = len(probes)
            world.cheap.reply(probes[-1], 503)
    assert (1, False) in healths(world)
    (health,) = [g for g in world.engine.stats().gateways if g.gateway_id == 1]
    assert "503" in health.reason
    assert health.changed_ms > 0


def test_probing_stops_with_its_record(tmp_path: Path) -> None:
    world = World(tmp_path, records=PROBED)
    world.run_for(5)
    count = len(world.sent("OPTIONS", CHEAP))
    assert count >= 1
    world.engine.apply(Delta(version=2, remove=(Key("gateway", 1),)))
    world.run_for(60)
    assert len(world.sent("OPTIONS", CHEAP)) == count
    world.assert_idle()


def test_a_gateway_by_name_waits_for_its_addresses_and_is_then_called_there(tmp_path: Path) -> None:
    world = World(tmp_path, records=with_(DEFAULT_RECORDS, Gateway, 1, host="gw.example.net"))
    world.caller.invite()
    world.run_for(0.1)
    assert len(world.dear.invites) == 1
    world.engine.set_targets(1, [Target("udp", CHEAP[0], 5060, "gw.example.net")])
    world.caller.invite()
    world.run_for(0.1)
    (invite,) = world.cheap.invites
    assert invite.uri == b"sip:442071234567@gw.example.net"


def test_srv_priorities_go_first_and_weights_share(tmp_path: Path) -> None:
    world = World(tmp_path, records=with_(DEFAULT_RECORDS, Gateway, 1, host="gw.example.net"))
    targets = [Target("udp", CHEAP[0], 5060, "", 10, 3), Target("udp", DEAR[0], 5060, "", 20, 100)]
    world.engine.set_targets(1, targets)
    for _ in range(20):
        world.caller.invite()
        world.run_for(0.05)
    assert (len(world.cheap.invites), len(world.dear.invites)) == (20, 0)


LISTENERS = (
    Listener(transport="udp", host="192.0.2.1"),
    Listener(transport="tcp", host="192.0.2.1"),
    Listener(transport="tls", host="192.0.2.1", port=5061),
    Listener(transport="udp", host="2001:db8::1"),
)


def engine_with(folder: Path, **gateway: object) -> Engine:
    for name in ("sell", "cheap", "dear"):
        compile_deck([RateRow("44", "UK", CENT)], folder / name)
    records = with_(with_(DEFAULT_RECORDS, Gateway, 1, **gateway), Provider, 2, enabled=False)
    engine = Engine(Settings(sip=Sip(listeners=LISTENERS)), LISTENERS, Random(1), 0.0, folder)
    engine.load(Snapshot(version=1, records=records, balances={}))
    engine.take_outputs()
    return engine


@pytest.mark.parametrize(
    ("gateway", "listener", "address", "uri"),
    [
        ({"host": "198.51.100.1", "transport": "tcp"}, 1, ("198.51.100.1", 5060), b";transport=tcp"),
        ({"host": "198.51.100.1", "transport": "tls"}, 2, ("198.51.100.1", 5061), b";transport=tls"),
        ({"host": "2001:db8::9", "port": 5070}, 3, ("2001:db8::9", 5070), b"@[2001:db8::9]:5070"),
    ],
)
def test_each_gateway_is_reached_from_a_listener_of_its_kind(
    tmp_path: Path, gateway: dict[str, object], listener: int, address: tuple[str, int], uri: bytes
) -> None:
    engine = engine_with(tmp_path, **gateway)
    data = World(tmp_path).caller.invite()
    engine.receive(data, 0, ("192.0.2.10", 5060), 1.0)
    _, send = engine.take_outputs().sends  # the first is 100 Trying
    assert isinstance(send, Send)
    assert (send.flow.listener, send.flow.address) == (listener, address)
    assert send.token
    request = parse_message(send.data)
    assert isinstance(request, Request)
    assert request.uri.endswith(uri)
    # Both sides have to find us: one Record-Route for each of them (RFC 5658).
    assert send.data.count(b"Record-Route: ") == 2


@pytest.mark.parametrize(("also_tcp", "listener"), [(True, 1), (False, 0)])
def test_a_request_too_big_for_udp_goes_by_tcp_where_the_gateway_takes_it(
    tmp_path: Path, also_tcp: bool, listener: int
) -> None:
    engine = engine_with(tmp_path, also_tcp=also_tcp)
    data = World(tmp_path).caller.invite(body=b"v=0\r\n" + b"a=x\r\n" * 300)
    engine.receive(data, 0, ("192.0.2.10", 5060), 1.0)
    _, send = engine.take_outputs().sends
    assert isinstance(send, Send)
    assert send.flow.listener == listener
    assert (b"SIP/2.0/TCP" in send.data) is also_tcp


def test_a_gateway_that_cannot_be_connected_to_is_left_at_once(tmp_path: Path) -> None:
    records = with_(DEFAULT_RECORDS, Gateway, 1, transport="udp")
    world = World(tmp_path, records=records)
    world.cheap.behaviour = ()
    world.caller.invite()
    world.run_for(0.01)
    (token,) = world.engine.layer.tokens
    world.engine.send_failed(token, "refused", world.now)
    world._collect()
    world.run_for(0.1)
    assert len(world.dear.invites) == 1


def test_sips_goes_to_tls_gateways_alone(tmp_path: Path) -> None:
    engine = engine_with(tmp_path, host="198.51.100.1")
    data = World(tmp_path).caller.invite(uri="sips:442071234567@192.0.2.1")
    engine.receive(data, 0, ("192.0.2.10", 5060), 1.0)
    outputs = engine.take_outputs()
    assert [send.data[:11] for send in outputs.sends if isinstance(send, Send)] == [b"SIP/2.0 100", b"SIP/2.0 503"]
    assert outputs.records[-1].cdr.explanation[0].outcome == "insecure"  # type: ignore[union-attr]


# Configuration under calls.


def test_a_running_call_keeps_the_price_that_it_began_with(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.talk(59)
    compile_deck([RateRow("44", "UK", 99 * CENT)], tmp_path / "sell2")
    card = next(r for r in DEFAULT_RECORDS if isinstance(r, RateCard) and r.id == SELL)
    changed = RateCard(
        id=SELL,
        name=card.name,
        direction="sell",
        vendor_card_ids=card.vendor_card_ids,
        revisions=(Revision(id=99, path="sell2"),),
    )
    world.engine.apply(Delta(version=2, put=(changed,)))
    world.caller.bye()
    world.run_for(0.1)
    assert (world.cdrs[0].revision_id, world.cdrs[0].net_nanos) == (11, 50_000_000)
    world.caller.invite()
    world.run_for(0.1)
    world.caller.ack()
    world.caller.bye()
    world.run_for(0.1)
    assert world.cdrs[1].revision_id == 99


def test_a_delta_out_of_order_changes_nothing(tmp_path: Path) -> None:
    world = World(tmp_path)
    with pytest.raises(StaleDelta):
        world.engine.apply(Delta(version=5, remove=(Key("customer", 1),)))
    world.caller.invite()
    world.run_for(0.1)
    assert world.caller.statuses() == [180, 200]


def test_without_a_snapshot_calls_are_refused(tmp_path: Path) -> None:
    engine = Engine(Settings(), (Listener(transport="udp", host="192.0.2.1"),), Random(1))
    data = World(tmp_path).caller.invite()
    engine.receive(data, 0, ("192.0.2.10", 5060), 1.0)
    (send,) = engine.take_outputs().sends
    assert isinstance(send, Send)
    assert send.data.startswith(b"SIP/2.0 503 ")


@pytest.mark.parametrize(("allowed", "status"), [(True, 180), (False, 407)])
def test_loopback_is_no_customer_over_udp_unless_configured(tmp_path: Path, allowed: bool, status: int) -> None:
    records = with_(DEFAULT_RECORDS, Endpoint, 1, host="127.0.0.0/8")
    world = World(tmp_path, records=records, settings=settings(allow_loopback=allowed))
    data = world.caller.invite()
    world._queue.clear()
    from tests.fakes.world import Peer

    peer = Peer(world, ("127.0.0.1", 5060))
    peer.send(data)
    world.run_for(0.01)
    assert peer.statuses()[0] == status


def test_simulation_decides_as_a_call_would_and_sends_nothing(tmp_path: Path) -> None:
    world = World(tmp_path)
    simulated = world.engine.simulate(
        Simulate(id=1, dialled="442071234567", cli="1555", source_ip="192.0.2.10"), world.now
    )
    assert simulated.is_admitted
    assert [c.provider_name for c in simulated.candidates] == ["Cheapline", "Dearline"]
    refused = world.engine.simulate(Simulate(id=2, dialled="33123456789", source_ip="192.0.2.10"), world.now)
    assert (refused.is_admitted, refused.cause, refused.status) == (False, "no_sell_rate", 404)
    world.run_for(1)
    assert world.log == []


def test_a_whole_snapshot_goes_on_probing_as_before_and_forgets_gateways_that_are_gone(tmp_path: Path) -> None:
    world = World(tmp_path, records=PROBED)
    world.run_for(33)
    assert [g.gateway_id for g in world.engine.stats().gateways] == [1]
    sent = len(world.sent("OPTIONS", CHEAP))
    for version in range(2, 12):
        copies = tuple(msgspec.convert(msgspec.to_builtins(record), type(record)) for record in PROBED)
        world.engine.load(Snapshot(version=version, records=copies))
        world.run_for(0.1)
    assert len(world.sent("OPTIONS", CHEAP)) == sent
    others = tuple(r for r in PROBED if not (isinstance(r, Gateway) and r.id == 1))
    world.engine.load(Snapshot(version=12, records=others))
    assert world.engine.stats().gateways == []
    world.run_for(60)
    world.assert_idle()


def test_a_caller_whose_stream_is_gone_is_reached_over_a_new_one_and_then_given_up(tmp_path: Path) -> None:
    engine = engine_with(tmp_path, host="198.51.100.1")
    world = World(tmp_path)
    data = world.caller.invite().replace(b"SIP/2.0/UDP", b"SIP/2.0/TCP")
    engine.receive(data, 1, ("192.0.2.10", 40_123), 1.0, connection=7)
    invite = engine.take_outputs().sends[-1]
    assert isinstance(invite, Send)
    world.cheap.invites.append(parse_message(invite.data))  # type: ignore[arg-type]
    engine.receive(world.cheap.answer(200), 0, CHEAP, 1.1)
    engine.take_outputs()
    (live,) = engine.list_calls(None, 1.2)
    engine.end_call(live.cdr_id, 5.0)
    to_caller, _ = engine.take_outputs().sends
    assert isinstance(to_caller, Send)
    assert to_caller.flow.connection == 7
    engine.send_failed(to_caller.token, "the connection is gone", 5.0)
    (again,) = engine.take_outputs().sends
    assert isinstance(again, Send)
    assert (again.flow.listener, again.flow.address, again.flow.connection) == (1, ("192.0.2.10", 5060), 0)
    assert again.data == to_caller.data
    engine.send_failed(again.token, "refused", 5.1)
    assert engine.take_outputs().sends == []


def test_a_vendor_on_penalty_gets_no_call_until_it_is_over(tmp_path: Path) -> None:
    world = World(tmp_path)
    until_ms = world.engine.board.now_ms(world.now) + 60_000
    vendor = next(each for each in DEFAULT_RECORDS if isinstance(each, Provider) and each.id == 1)
    world.engine.apply(Delta(version=2, put=(msgspec.structs.replace(vendor, penalty_until_ms=until_ms),)))
    for waits_s, invites in ((0.1, 0), (60.0, 1)):
        world.run_for(waits_s)
        world.caller.invite()
        world.run_for(0.5)
        world.caller.ack()
        world.caller.bye()
        world.run_for(0.5)
        assert len(world.cheap.invites) == invites
    first, second = world.cdrs
    assert [each.outcome for each in first.explanation] == ["penalty", "taken"]
    assert second.attempts[0].provider_id == 1
