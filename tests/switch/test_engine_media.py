"""Codecs in offers and answers, and the bandwidth that calls may take together."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from switch.snapshot import Endpoint, Gateway, Record, SipUser
from switch.wire.headers import CONTENT_TYPE
from switch.wire.message import Message, Request
from tests.fakes.carrier import DEFAULT_RECORDS, with_
from tests.fakes.inbound_calls import INBOUND_RECORDS, InboundWorld
from tests.fakes.world import SDP, Address, Caller, Peer, Vendor, World

HEAD = b"v=0\r\no=u 1 1 IN IP4 192.0.2.10\r\ns=-\r\nc=IN IP4 192.0.2.10\r\nt=0 0\r\n"
OFFER = (
    HEAD + b"m=audio 6000 RTP/AVP 18 8 0 101\r\na=rtpmap:18 G729/8000\r\na=fmtp:18 annexb=no\r\n"
    b"a=rtpmap:8 PCMA/8000\r\na=rtpmap:101 telephone-event/8000\r\na=sendrecv\r\n"
)
PCMA = (
    HEAD + b"m=audio 6000 RTP/AVP 8 101\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:101 telephone-event/8000\r\na=sendrecv\r\n"
)
G729 = HEAD + b"m=audio 6000 RTP/AVP 18\r\n"
TYPE = b"Content-Type: application/sdp"
ISUP = b"Content-Type: application/isup;version=itu-t92+\r\n\r\n\x01\x11H\x00\r\nm=audio\x00"
MIXED = b"multipart/mixed;boundary=x"


def mixed(sdp: bytes) -> bytes:
    """A description and what an ISDN switch has to say beside it (RFC 3204)."""
    return b"--x\r\n%b\r\n\r\n%b\r\n--x\r\n%b\r\n--x--\r\n" % (TYPE, sdp, ISUP)


def records_of(*, gateway: dict[str, Any] | None = None, **endpoint: Any) -> tuple[Record, ...]:
    return with_(with_(DEFAULT_RECORDS, Endpoint, 1, **endpoint), Gateway, 1, **(gateway or {}))


def reply(peer: Vendor | Caller | Peer, request: Request, status: int, body: bytes, tag: str = "") -> None:
    peer.reply(request, status, tag=tag, body=body, extra=[TYPE] if body else [])


def in_dialog(peer: Caller | Vendor, method: str, cseq: int, body: bytes) -> None:
    """A request inside the dialog that has a description."""
    peer.in_dialog(method, cseq, extra=[TYPE], body=body)


def answered(world: World, offer: bytes = OFFER, answer: bytes = PCMA) -> None:
    world.cheap.behaviour = (100, 180)
    world.caller.invite(body=offer)
    world.run_for(0.1)
    reply(world.cheap, world.cheap.invites[-1], 200, answer, "cheap")
    world.run_for(0.1)


def length_is_right(message: Message) -> bool:
    return b"Content-Length: %d" % len(message.body) in message.lines


def test_a_codec_that_the_endpoint_may_not_use_leaves_the_offer_and_the_answer(tmp_path: Path) -> None:
    world = World(tmp_path, records=records_of(codecs=("PCMA",)))
    answered(world, answer=OFFER)
    (invite,) = world.cheap.invites
    assert invite.body == PCMA
    assert length_is_right(invite)
    answer = world.caller.last(200)
    assert answer.body == PCMA
    assert length_is_right(answer)
    world.caller.ack()
    world.caller.bye()
    world.run_for(1.0)
    assert world.cdrs[0].codecs == "PCMA"


def test_sip_users_have_codecs_too_and_gateways(tmp_path: Path) -> None:
    world = World(tmp_path, records=records_of(gateway={"codecs": ("PCMA", "GSM")}, codecs=("PCMA", "PCMU", "G729")))
    answered(world)
    assert world.cheap.invites[0].body == PCMA
    assert SipUser(id=1, customer_id=1, username="a", realm="b", codecs=("PCMA",)).codecs == ("PCMA",)


def test_with_no_codec_left_the_caller_is_sent_488_and_the_cdr_says_so(tmp_path: Path) -> None:
    world = World(tmp_path, records=records_of(codecs=("GSM",)))
    world.caller.invite(body=OFFER)
    world.run_for(0.1)
    assert world.caller.statuses() == [488]
    assert b'Reason: X.tandem;cause=488;text="codecs_refused"' in world.caller.last(488).lines
    assert not world.cheap.invites
    (cdr,) = world.cdrs
    assert (cdr.cause, cdr.status, cdr.dialled_out) == ("codecs_refused", 488, "442071234567")
    assert cdr.decision == "endpoint 1 may use none of g729, pcma, pcmu, telephone-event"


def test_a_gateway_without_a_common_codec_is_passed_over(tmp_path: Path) -> None:
    world = World(tmp_path, records=records_of(gateway={"codecs": ("GSM",)}))
    world.caller.invite(body=OFFER)
    world.run_for(0.1)
    world.caller.ack()
    world.caller.bye()
    world.run_for(0.1)
    assert not world.cheap.invites
    assert world.dear.invites[0].body == OFFER
    assert [candidate.outcome for candidate in world.cdrs[0].explanation] == ["codecs", "taken"]
    for_all = with_(records_of(gateway={"codecs": ("GSM",)}), Gateway, 2, codecs=("iLBC",))
    (tmp_path / "all").mkdir()
    world = World(tmp_path / "all", records=for_all)
    world.caller.invite(body=OFFER)
    world.run_for(0.1)
    assert world.caller.statuses() == [488]
    assert world.cdrs[0].cause == "codecs_refused"
    assert world.held() == 0


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (
            b"Content-Type: multipart/mixed;boundary=x",
            b"--x\r\nContent-Type: application/sdp\r\n\r\n" + PCMA + b"--x--",
        ),
        (
            b"Content-Type: multipart/mixed;boundary=x",
            b"--x\r\nContent-Type: application/sdp\r\nContent-Encoding: gzip\r\n\r\n" + OFFER + b"--x--",
        ),
        (b"Content-Type: application/octet-stream", OFFER),
        (b"Content-Type: application/sdp\r\nContent-Encoding: gzip", b"\x1f\x8b" + OFFER),
        (
            b"Content-Type: application/sdp",
            HEAD + b"m=audio 6000 RTP/AVP 8\na=x:\xff\x00\n\nm=application 1 x y\r\r\n",
        ),
        (b"Content-Type: application/sdp", b""),
    ],
)
def test_a_body_of_which_nothing_has_to_go_passes_byte_for_byte(tmp_path: Path, kind: bytes, body: bytes) -> None:
    world = World(tmp_path, records=records_of(codecs=("PCMA",)))
    world.caller.invite(body=body)
    data = world.caller.invite_data.replace(TYPE, kind, 1).replace(b"call1", b"call9")
    world.caller.call_id = "call9@192.0.2.10"
    world.caller.send(data.replace(b"z9hG4bKc1", b"z9hG4bKc9"))
    world.run_for(0.1)
    assert world.cheap.invites[-1].call_id.startswith(b"call9")
    assert world.cheap.invites[-1].body == body
    assert world.cheap.invites[-1].first(CONTENT_TYPE) is not None


def test_a_description_beside_other_parts_is_edited_and_the_others_stay_byte_for_byte(tmp_path: Path) -> None:
    world = World(tmp_path, records=records_of(codecs=("PCMA",), bandwidth_kbps=100))
    world.cheap.behaviour = (100, 180)
    world.caller.invite(body=mixed(OFFER), kind=MIXED)
    world.run_for(0.1)
    (invite,) = world.cheap.invites
    assert invite.body == mixed(PCMA)
    assert length_is_right(invite)
    assert in_use(world) == 80
    world.cheap.reply(invite, 200, tag="cheap", body=mixed(OFFER), extra=[b"Content-Type: " + MIXED])
    world.run_for(0.1)
    assert world.caller.last(200).body == mixed(PCMA)
    assert length_is_right(world.caller.last(200))
    world.caller.ack()
    world.caller.in_dialog("INVITE", 2, extra=[b"Content-Type: " + MIXED], body=mixed(G729))
    world.run_for(0.1)
    assert world.caller.statuses()[-1] == 488
    world.caller.bye(3)
    world.run_for(1.0)
    assert [cdr.codecs for cdr in world.cdrs] == ["PCMA"]


def test_with_no_codec_left_beside_other_parts_it_is_488_too(tmp_path: Path) -> None:
    world = World(tmp_path, records=records_of(codecs=("PCMA",), gateway={"codecs": ("GSM",)}))
    world.caller.invite(body=mixed(G729), kind=MIXED)
    world.run_for(0.1)
    assert world.caller.statuses() == [488]
    assert world.cdrs[0].decision == "endpoint 1 may use none of g729"
    world.caller.invite(body=mixed(OFFER), kind=MIXED)
    world.run_for(0.1)
    assert not world.cheap.invites
    assert world.dear.invites[0].body == mixed(PCMA)


def test_an_offer_that_the_callee_makes_is_edited_and_its_answer_in_the_ack(tmp_path: Path) -> None:
    world = World(tmp_path, records=records_of(codecs=("PCMA",)))
    answered(world, offer=b"", answer=OFFER)
    assert world.caller.last(200).body == PCMA
    in_dialog(world.caller, "ACK", 1, OFFER)
    world.run_for(0.1)
    assert world.cheap.requests("ACK")[-1].body == PCMA


def test_an_answer_with_nothing_but_codecs_that_may_not_be_used_ends_the_call(tmp_path: Path) -> None:
    world = World(tmp_path, records=records_of(codecs=("PCMA",)))
    answered(world, offer=b"", answer=G729)
    assert world.caller.statuses()[-1] == 488
    world.run_for(0.1)
    assert [request.method for request in world.cheap.requests()][-2:] == [b"ACK", b"BYE"]
    (cdr,) = world.cdrs
    assert (cdr.cause, cdr.status, cdr.answered_ms, cdr.gross_nanos) == ("codecs_refused", 488, None, 0)
    assert world.held() == 0
    assert world.engine.live_calls() == 0
    world.run_for(60.0)
    assert world.engine.stats().gauges["transactions"] == 0


@pytest.mark.parametrize("is_crashed", [False, True])
def test_offers_inside_the_dialog_are_edited_both_ways_and_refused_with_488(tmp_path: Path, is_crashed: bool) -> None:
    world = World(tmp_path, records=records_of(codecs=("PCMA",)))
    answered(world)
    world.caller.ack()
    world.run_for(0.1)
    if is_crashed:
        world.crash()
    in_dialog(world.caller, "INVITE", 2, OFFER)
    world.run_for(0.1)
    again = world.cheap.requests("INVITE")[-1]
    assert (again.cseq, again.body) == (2, PCMA)
    reply(world.cheap, again, 200, OFFER)
    world.run_for(0.1)
    assert world.caller.last(200).body == PCMA
    world.caller.ack(2)
    in_dialog(world.cheap, "UPDATE", 1, OFFER)
    world.run_for(0.1)
    (update,) = world.caller.requests("UPDATE")
    assert update.body == PCMA
    reply(world.caller, update, 200, PCMA)
    in_dialog(world.cheap, "INVITE", 2, G729)
    in_dialog(world.caller, "UPDATE", 3, G729)
    world.run_for(0.1)
    assert world.cheap.statuses()[-1] == 488
    assert world.caller.statuses("UPDATE") == [488]
    assert len(world.caller.requests("INVITE")) == 0
    assert len(world.cheap.requests("UPDATE")) == 0
    world.caller.bye(4)
    world.run_for(1.0)
    assert world.cdrs[0].cause == "normal"


def test_an_inbound_call_offers_an_endpoint_its_own_codecs_alone(tmp_path: Path) -> None:
    world = InboundWorld(tmp_path, with_(INBOUND_RECORDS, Endpoint, 20, codecs=("PCMA",), bandwidth_kbps=100))
    world.ring(body=OFFER)
    assert world.pbx.invites[0].body == PCMA
    assert world.carrier.statuses()[-1] == 200
    second = phone(world, (world.carrier.address[0], 5070))
    second.invite(world.carrier.number, body=OFFER)
    world.run_for(0.1)
    assert len(world.pbx.invites) == 1  # 80 of 100 kbit/s are taken
    world.carrier.ack()
    world.run_for(0.1)
    world.carrier.bye()
    world.run_for(0.1)
    third = phone(world, (world.carrier.address[0], 5071))
    third.invite(world.carrier.number, body=G729)
    world.run_for(0.1)
    assert len(world.pbx.invites) == 1
    assert world.cdrs[-1].explanation[0].outcome == "codecs"


def callers(world: World, count: int) -> list[Caller]:
    return [phone(world, ("192.0.2.10", 6000 + number)) for number in range(count)]


def phone(world: World, address: Address) -> Caller:
    """One whose calls are no other's of the same address."""
    made = Caller(world, address)
    made.serial = 100 * address[1]
    return made


def in_use(world: World) -> int:
    live = world.engine.live
    return live.kbps(next(key for key in live.calls if key & 15 == 0)) if world.engine.live_calls() else 0


def test_calls_take_bandwidth_up_to_the_limit_exactly_however_many_come_at_once(tmp_path: Path) -> None:
    world = World(tmp_path, records=records_of(bandwidth_kbps=800))
    phones = callers(world, 50)
    for each in phones:
        each.invite(body=SDP)
    world.run_for(0.5)
    statuses = [each.statuses()[-1] for each in phones]
    assert (statuses.count(200), statuses.count(503)) == (10, 40)
    refused = [cdr for cdr in world.cdrs if cdr.cause == "bandwidth_exceeded"]
    assert len(refused) == 40
    assert refused[0].decision == "endpoint 1: 800 of 800 kbit/s in use, 80 wanted"
    for each in phones:
        if each.statuses()[-1] == 200:
            each.ack()
            each.bye()
    world.run_for(0.5)
    phones[0].invite(body=SDP)
    world.run_for(0.5)
    assert phones[0].statuses()[-1] == 200


def test_what_the_answer_leaves_is_free_for_others_and_survives_a_restart(tmp_path: Path) -> None:
    world = World(tmp_path, records=records_of(bandwidth_kbps=110))
    answered(world, answer=G729)
    world.caller.ack()
    world.run_for(0.1)
    assert in_use(world) == 24
    world.crash()
    assert in_use(world) == 24
    second, third = callers(world, 2)
    world.cheap.behaviour = (180,)
    second.invite(body=OFFER)
    world.run_for(0.1)
    assert in_use(world) == 104
    third.invite(body=G729)
    world.run_for(0.1)
    assert third.statuses() == [503]


def test_a_new_offer_takes_more_only_where_there_is_more(tmp_path: Path) -> None:
    world = World(tmp_path, records=records_of(bandwidth_kbps=100))
    answered(world, answer=G729)
    world.caller.ack()
    world.run_for(0.1)
    in_dialog(world.caller, "INVITE", 2, PCMA)
    world.run_for(0.1)
    assert in_use(world) == 80
    reply(world.cheap, world.cheap.requests("INVITE")[-1], 488, b"")
    world.run_for(0.1)
    assert in_use(world) == 24
    world.caller.ack(2)
    (second,) = callers(world, 1)
    second.invite(body=G729)
    world.run_for(0.1)
    in_dialog(world.caller, "INVITE", 3, PCMA)
    world.run_for(0.1)
    assert world.caller.statuses()[-1] == 488
    assert len(world.cheap.requests("INVITE")) == 3


def test_without_an_offer_a_call_takes_what_g711_does(tmp_path: Path) -> None:
    world = World(tmp_path, records=records_of(bandwidth_kbps=100))
    world.cheap.behaviour = (180,)
    world.caller.invite(body=b"")
    world.run_for(0.1)
    assert in_use(world) == 80


def test_an_answer_that_comes_behind_the_bye_takes_no_bandwidth_any_more(tmp_path: Path) -> None:
    world = World(tmp_path, records=records_of(bandwidth_kbps=100))
    answered(world, answer=G729)
    world.caller.ack()
    in_dialog(world.caller, "INVITE", 2, PCMA)
    world.run_for(0.1)
    world.caller.bye(3)
    world.run_for(0.1)
    reply(world.cheap, world.cheap.requests("INVITE")[-1], 200, PCMA, "cheap")
    world.run_for(70)
    world.assert_idle()


@pytest.mark.parametrize("limits", [{"bandwidth_kbps": 30}, {"codecs": ("G729",)}])
def test_a_bye_ends_the_call_whatever_it_describes(tmp_path: Path, limits: dict[str, Any]) -> None:
    world = World(tmp_path, records=records_of(**limits))
    answered(world, offer=G729, answer=G729)
    world.caller.ack()
    world.run_for(1)
    in_dialog(world.caller, "BYE", 2, PCMA)
    world.run_for(1)
    assert [cdr.cause for cdr in world.cdrs] == ["normal"]
    world.run_for(70)
    world.assert_idle()
