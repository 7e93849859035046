"""Answers that come too late, acknowledgements that never come, and the end of the switch itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from sipp_scenarios.places import Place
from switch.snapshot import Provider, Record
from tests.e2e.bench import Bench
from tests.e2e.peer import SDP, answered_call, hang_up, reply

pytestmark = pytest.mark.slow


def two_vendors(place: Place) -> list[Record]:
    """The first has half a second for its first word."""
    place.vendors.append(place.other(11))
    records = place.records()
    first = place.provider(0).id
    return [
        replace(record, first_reply_ms=500) if isinstance(record, Provider) and record.id == first else record
        for record in records
    ]


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    made = Bench(tmp_path_factory.mktemp("late"), records=two_vendors)
    yield made
    made.close()


def test_a_200_of_a_vendor_given_up_is_acked_and_hung_up_and_charged_to_nobody(bench: Bench) -> None:
    second_at = bench.place.vendors[1]
    with (
        bench.peer(bench.customer) as caller,
        bench.peer(bench.vendor) as first,
        bench.peer(second_at) as second,
    ):
        dialog = bench.call(caller)
        caller.send(dialog.invite())
        lost = first.wait_for_request("INVITE")
        invite = second.wait_for_request("INVITE")
        second.send(reply(second, invite, 200, "OK", tag="second", body=SDP))
        caller.send(dialog.ack(caller.wait_for_final()))
        second.wait_for_request("ACK")
        first.send(reply(first, lost, 200, "OK", tag="first", body=SDP))
        ack = first.wait_for_request("ACK")
        bye = first.wait_for_request("BYE")
        first.send(reply(first, bye, 200, "OK"))
        assert ";tag=first" in ack.header("To")
        assert ";tag=first" in bye.header("To")
        assert [seen.status for seen in caller.seen if seen.status >= 200] == [200]
        hang_up(dialog, caller, second)
        cdr = bench.cdr_of(dialog)
        assert [attempt.cause for attempt in cdr.attempts] == ["first_reply_timeout", "answered"]
        assert cdr.attempts[0].cost_nanos == 0
        assert cdr.attempts[1].cost_nanos == cdr.cost_nanos > 0


def test_of_two_forks_that_answer_one_is_the_call(bench: Bench) -> None:
    with bench.peer(bench.customer) as caller, bench.peer(bench.vendor) as vendor:
        dialog = bench.call(caller)
        caller.send(dialog.invite())
        invite = vendor.wait_for_request("INVITE")
        vendor.send(reply(vendor, invite, 200, "OK", tag="one", body=SDP))
        answer = caller.wait_for_final()
        caller.send(dialog.ack(answer))
        vendor.wait_for_request("ACK")
        vendor.send(reply(vendor, invite, 200, "OK", tag="two", body=SDP))
        bye = vendor.wait_for_request("BYE")
        assert ";tag=two" in bye.header("To")
        vendor.send(reply(vendor, bye, 200, "OK"))
        assert ";tag=one" in answer.header("To")
        hang_up(dialog, caller, vendor)
        assert bench.cdr_of(dialog).cause == "normal"


def test_max_forwards_ends_at_zero_and_begins_at_seventy(bench: Bench) -> None:
    with bench.peer(bench.customer) as caller, bench.peer(bench.vendor) as vendor:
        dialog = bench.call(caller)
        caller.send(dialog.invite().replace("Max-Forwards: 70", "Max-Forwards: 0"))
        answer = caller.wait_for_final()
        assert answer.status == 483
        caller.send(dialog.ack(answer))
        dialog = bench.call(caller)
        caller.send(dialog.invite().replace("Max-Forwards: 70\r\n", ""))
        invite = vendor.wait_for_request("INVITE")
        assert invite.headers("Max-Forwards") == ["70"]
        vendor.send(reply(vendor, invite, 486, "Busy Here"))
        caller.send(dialog.ack(caller.wait_for_final()))


def test_an_invite_that_comes_back_to_us_is_a_loop(bench: Bench) -> None:
    """The vendor sends our INVITE on to us, as a customer's switch with a bad route does."""
    with bench.peer(bench.customer) as caller, bench.peer(bench.vendor) as vendor:
        dialog = bench.call(caller)
        caller.send(dialog.invite())
        invite = vendor.wait_for_request("INVITE")
        via = f"SIP/2.0/UDP {vendor.at[0]}:{vendor.at[1]};branch=z9hG4bKloop\r\nVia: "
        looped = invite.data.decode().replace("Via: ", "Via: " + via, 1)
        vendor.send(looped)
        assert vendor.wait_for_final().status in (403, 407, 482, 483)
        vendor.send(reply(vendor, invite, 486, "Busy Here"))
        caller.send(dialog.ack(caller.wait_for_final()))
        assert len([seen for seen in vendor.seen if seen.method == "INVITE" and not seen.status]) == 1


def test_sigterm_refuses_new_calls_and_lets_running_ones_end(tmp_path: Path) -> None:
    bench = Bench(tmp_path, drain_s=10.0)
    with bench.peer(bench.customer) as caller, bench.peer(bench.vendor) as vendor:
        try:
            dialog, _ = answered_call(caller, vendor)
            bench.terminate()
            late = bench.call(caller)
            caller.send(late.invite())
            refusal = caller.wait_for_final()
            assert refusal.status == 503
            assert refusal.header("Retry-After")
            hang_up(dialog, caller, vendor)
            assert bench.cdr_of(dialog).cause == "normal"
        finally:
            bench.close()


def test_a_call_that_outstays_the_drain_is_ended_with_its_cdr(tmp_path: Path) -> None:
    bench = Bench(tmp_path, drain_s=0.5)
    with bench.peer(bench.customer) as caller, bench.peer(bench.vendor) as vendor:
        dialog, _ = answered_call(caller, vendor)
        bench.terminate()
        for peer in (caller, vendor):
            peer.send(reply(peer, peer.wait_for_request("BYE"), 200, "OK"))
        bench.close()
        cdr = bench.cdr_of(dialog)
        assert cdr.release == "switch"
        assert cdr.net_nanos > 0
