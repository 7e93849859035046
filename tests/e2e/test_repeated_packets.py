"""UDP repeats, reorders and races: whatever arrives how often, a call is one call and one charge."""

from __future__ import annotations

import random

import pytest

from tests.e2e.bench import Bench
from tests.e2e.peer import SDP, Dialog, Peer, Seen, hang_up, reply

pytestmark = pytest.mark.slow

COPIES = 7


def invites(peer: Peer) -> list[Seen]:
    return [seen for seen in peer.seen if seen.method == "INVITE" and not seen.status]


def test_seven_copies_of_every_message_are_one_call(shared_bench: Bench) -> None:
    with shared_bench.peer(shared_bench.customer) as caller, shared_bench.peer(shared_bench.vendor) as vendor:
        dialog = shared_bench.call(caller)
        for _ in range(COPIES):
            caller.send(dialog.invite())
        invite = vendor.wait_for_request("INVITE")
        for _ in range(COPIES):
            vendor.send(reply(vendor, invite, 180, "Ringing"))
        for _ in range(COPIES):
            vendor.send(reply(vendor, invite, 200, "OK", body=SDP))
        answer = caller.wait_for_final()
        for _ in range(COPIES):
            caller.send(dialog.ack(answer))
        vendor.wait_for_request("ACK")
        for _ in range(COPIES):
            caller.send(dialog.invite())  # late copies, after the ACK (RFC 6026)
        for _ in range(COPIES):
            caller.send(dialog.inside("BYE", 2))
        bye = vendor.wait_for_request("BYE")
        for _ in range(COPIES):
            vendor.send(reply(vendor, bye, 200, "OK"))
        assert caller.wait_for_final("BYE").status == 200
        vendor.drain(0.3)
        assert len({seen.header("Via") for seen in invites(vendor)}) == 1
        assert len({seen.header("Via") for seen in vendor.seen if seen.method == "BYE"}) == 1
        cdr = shared_bench.cdr_of(dialog)
        assert (cdr.cause, len(cdr.attempts)) == ("normal", 1)
        assert cdr.net_nanos > 0


def test_seven_copies_of_cancel_are_one_end(shared_bench: Bench) -> None:
    with shared_bench.peer(shared_bench.customer) as caller, shared_bench.peer(shared_bench.vendor) as vendor:
        dialog = shared_bench.call(caller)
        caller.send(dialog.invite())
        invite = vendor.wait_for_request("INVITE")
        vendor.send(reply(vendor, invite, 180, "Ringing"))
        caller.wait_for_status(180)
        for _ in range(COPIES):
            caller.send(dialog.cancel())
        answer = caller.wait_for_final()
        assert answer.status == 487
        caller.send(dialog.ack(answer))
        cancel = vendor.wait_for_request("CANCEL")
        for _ in range(COPIES):
            vendor.send(reply(vendor, cancel, 200, "OK"))
            vendor.send(reply(vendor, invite, 487, "Request Terminated"))
        vendor.wait_for_request("ACK")
        cdr = shared_bench.cdr_of(dialog)
        assert (cdr.cause, cdr.status, cdr.gross_nanos) == ("cancelled", 487, 0)
        caller.drain(0.3)
        oks = [seen for seen in caller.seen if seen.method == "CANCEL"]
        assert {seen.status for seen in oks} == {200}


@pytest.mark.parametrize("seed", range(6))
def test_repeated_and_shuffled_packets_are_one_call_and_one_charge(shared_bench: Bench, seed: int) -> None:
    """Each side's packets are sent seven times over in random order, those of before among those of after."""
    chance = random.Random(seed)
    with shared_bench.peer(shared_bench.customer) as caller, shared_bench.peer(shared_bench.vendor) as vendor:
        dialog = shared_bench.call(caller)

        def shuffled(peer: Peer, *messages: str) -> None:
            deck = [text for text in messages for _ in range(COPIES)]
            chance.shuffle(deck)
            for text in deck:
                peer.send(text)

        shuffled(caller, dialog.invite())
        invite = vendor.wait_for_request("INVITE")
        shuffled(vendor, reply(vendor, invite, 180, "Ringing"), reply(vendor, invite, 200, "OK", body=SDP))
        answer = caller.wait_for_final()
        assert answer.status == 200
        shuffled(caller, dialog.ack(answer), dialog.invite())
        vendor.wait_for_request("ACK")
        shuffled(caller, dialog.inside("BYE", 2), dialog.ack(answer), dialog.invite())
        bye = vendor.wait_for_request("BYE")
        shuffled(vendor, reply(vendor, bye, 200, "OK"), reply(vendor, invite, 200, "OK", body=SDP))
        assert caller.wait_for_final("BYE").status == 200
        vendor.drain(0.3)
        assert len({seen.header("Via") for seen in invites(vendor)}) == 1
        cdr = shared_bench.cdr_of(dialog)
        assert (cdr.cause, cdr.release, len(cdr.attempts)) == ("normal", "caller", 1)
        shared_bench.assert_alive()


def test_cancel_and_200_in_one_moment_always_agree(shared_bench: Bench) -> None:
    """A hundred races: what the caller was told is what the CDR says and what was charged."""
    told: dict[str, tuple[Dialog, int]] = {}
    with shared_bench.peer(shared_bench.customer) as caller, shared_bench.peer(shared_bench.vendor) as vendor:
        for number in range(100):
            dialog = shared_bench.call(caller)
            caller.send(dialog.invite())
            invite = vendor.wait_for_request("INVITE")
            vendor.send(reply(vendor, invite, 180, "Ringing"))
            caller.wait_for_status(180)
            answer = reply(vendor, invite, 200, "OK", body=SDP)
            if number % 2:
                vendor.send(answer)
                caller.send(dialog.cancel())
            else:
                caller.send(dialog.cancel())
                vendor.send(answer)
            final = caller.wait_for_final()
            caller.send(dialog.ack(final))
            told[dialog.call_id] = (dialog, final.status)
            if final.status == 200:
                vendor.wait_for_request("ACK")
                hang_up(dialog, caller, vendor)
            else:
                # The vendor believes that it answered: the switch ACKs it and hangs up for us.
                vendor.send(reply(vendor, vendor.wait_for_request("BYE"), 200, "OK"))
        assert {status for _, status in told.values()} == {200, 487}
        for call_id, (dialog, status) in told.items():
            cdr = shared_bench.cdr_of(dialog)
            assert cdr.call_id == call_id
            assert cdr.status == status
            assert (cdr.cause == "normal") == (status == 200)
            assert (cdr.net_nanos > 0) == (status == 200)
