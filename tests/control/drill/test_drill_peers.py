"""A drill's caller and vendors against each other, over a link that loses what a test wants lost."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Iterator
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from control.drill.caller import Caller
from control.drill.carrier import CUSTOMERS
from control.drill.endpoint import TIMEOUT_S, Endpoint
from control.drill.plan import CallPlan, Ending, draw_calls
from control.drill.vendor import Vendor
from control.drill.witness import CallSeen, LegSeen
from switch.wire.message import Request, parse_message
from tests.fakes.fast_loop import LinkedTransport, link, run_fast

SWITCH = ("127.0.0.1", 40_000)
Lost = Callable[[bytes], bool]


def a_plan(ending: Ending, serial: int = 7, *, ring_s: float = 0.3, talk_s: float = 2.0) -> CallPlan:
    return CallPlan(
        serial=serial,
        customer=CUSTOMERS[1],
        number=f"4420{serial:07d}",
        ending=ending,
        ring_s=ring_s,
        talk_s=talk_s,
    )


class Play:
    """Calls that were played straight from the caller to one vendor, to their ends."""

    def __init__(self, *plans: CallPlan, is_lost: Lost = lambda _: False, is_first: bool = True) -> None:
        self.calls: list[CallSeen] = []
        self.legs: list[LegSeen] = []
        self.packets: list[tuple[float, str, bytes]] = []
        """Sent by whom, `caller` or `vendor`."""
        run_fast(lambda: self._play(plans, is_lost, is_first))

    async def _play(self, plans: tuple[CallPlan, ...], is_lost: Lost, is_first: bool) -> None:
        began = asyncio.get_running_loop().time()
        caller = Caller(SWITCH, Random(1))
        by_serial = {plan.serial: plan for plan in plans}
        vendor = Vendor("Meridian", is_first=is_first, switch=SWITCH, rng=Random(2), plans=by_serial)
        ends = link(caller._endpoint, vendor._endpoint, is_lost)
        await asyncio.gather(*(caller.play(plan) for plan in plans))
        await vendor.rest()
        self.calls, self.legs = caller.seen, vendor.seen
        for name, end in zip(("caller", "vendor"), ends, strict=True):
            self.packets += [(round(at - began, 2), name, data) for at, data in end.sent]
        caller.close()
        vendor.close()

    def sent_at(self, name: str, start: bytes) -> list[float]:
        return [at for at, who, data in self.packets if who == name and data.startswith(start)]


@pytest.mark.parametrize(("ending", "hangs_up"), [("caller", "caller"), ("callee", "vendor")])
def test_an_answered_call_is_ended_by_one_bye_of_the_side_that_was_to(ending: Ending, hangs_up: str) -> None:
    play = Play(a_plan(ending))
    assert play.sent_at("caller" if hangs_up == "caller" else "vendor", b"BYE") == [pytest.approx(2.3, abs=0.02)]
    assert play.sent_at("vendor" if hangs_up == "caller" else "caller", b"BYE") == []
    assert play.calls[0].is_answered
    assert play.calls[0].is_ended
    assert play.legs[0].is_acked
    assert not play.legs[0].is_up


@pytest.mark.parametrize(("ending", "status"), [("busy", 486), ("unavailable", 503), ("cancel", 487)])
def test_a_call_that_is_not_answered_ends_with_the_status_of_its_plan(ending: Ending, status: int) -> None:
    play = Play(a_plan(ending))
    assert play.calls[0].status == status
    assert play.calls[0].is_cancelled == (ending == "cancel")
    assert play.sent_at("caller", b"ACK") == [pytest.approx(0.3, abs=0.02)]
    assert play.legs[0].answered_ms is None


def test_the_second_vendor_answers_what_the_first_one_fails() -> None:
    assert Play(a_plan("unavailable"), is_first=False).calls[0].is_answered
    assert Play(a_plan("silence"), is_first=False).calls[0].is_answered


def test_an_invite_that_nobody_hears_is_repeated_at_doubling_intervals_for_thirty_two_seconds() -> None:
    play = Play(a_plan("caller"), is_lost=lambda data: data.startswith(b"INVITE"))
    assert play.sent_at("caller", b"INVITE") == [0.0, 0.5, 1.5, 3.5, 7.5, 15.5, 31.5]
    assert play.calls[0].status == 0
    assert play.sent_at("caller", b"CANCEL") == []


def test_an_invite_that_was_heard_is_not_repeated_and_is_cancelled_when_patience_ends() -> None:
    play = Play(a_plan("cancel", ring_s=8.0), is_lost=lambda data: b"SIP/2.0 4" in data)
    assert play.sent_at("caller", b"INVITE") == [0.0]
    assert play.calls[0].is_cancelled
    assert play.sent_at("vendor", b"SIP/2.0 487")[:4] == pytest.approx([8.0, 8.5, 9.5, 11.5], abs=0.02)


def test_a_bye_that_nobody_hears_is_repeated_every_four_seconds_at_most() -> None:
    play = Play(a_plan("caller"), is_lost=lambda data: data.startswith(b"BYE"))
    at = play.sent_at("caller", b"BYE")
    assert [round(later - earlier, 1) for earlier, later in itertools.pairwise(at)][:5] == [0.5, 1, 2, 4, 4]
    assert at[-1] - at[0] <= TIMEOUT_S
    assert play.calls[0].bye_status == 0
    assert play.legs[0].is_up


def test_a_200_whose_acks_are_lost_is_repeated_and_then_hung_up_by_the_vendor() -> None:
    play = Play(a_plan("caller", talk_s=60.0), is_lost=lambda data: data.startswith(b"ACK"))
    at = [sent for sent in play.sent_at("vendor", b"SIP/2.0 200") if sent < 30]
    assert at[:5] == pytest.approx([0.3, 0.8, 1.8, 3.8, 7.8], abs=0.02)
    assert len(play.sent_at("caller", b"ACK")) == len(at) + 1  # each copy has its ACK
    assert play.calls[0].bye_received_ms is not None
    assert not play.legs[0].is_acked


def test_a_copy_of_a_request_gets_the_same_answer_and_is_not_passed_on_twice() -> None:
    async def work() -> None:
        passed: list[Request] = []
        endpoint = Endpoint(SWITCH, passed.append)
        transport = LinkedTransport(("127.0.0.1", 1), lambda _: False)
        endpoint.connection_made(transport)
        for _ in range(3):
            endpoint.datagram_received(OPTIONS, SWITCH)
        endpoint.answer(passed[0], b"the answer")
        endpoint.datagram_received(OPTIONS, SWITCH)
        assert len(passed) == 1
        assert [data for _, data in transport.sent] == [b"the answer"] * 2

    run_fast(work)


def test_bytes_that_are_no_message_are_dropped() -> None:
    async def work() -> None:
        endpoint = Endpoint(SWITCH, lambda _: pytest.fail("passed on"))
        endpoint.datagram_received(b"\xff\x00 SIP/2.0\r\n\r\n", SWITCH)

    run_fast(work)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10_000), st.sampled_from([0.0, 0.1, 0.3]))
def test_whatever_is_lost_every_call_comes_to_an_end_and_both_sides_agree_on_answers(seed: int, loss: float) -> None:
    dice = Random(seed)
    plans = first(draw_calls(Random(seed)), 12)
    play = Play(*plans, is_lost=lambda _: dice.random() < loss)
    answered = {leg.serial for leg in play.legs if leg.answered_ms is not None}
    for call in play.calls:
        assert not call.is_answered or call.plan.serial in answered
        if loss == 0.0 and call.is_answered:
            assert call.is_ended
    if loss == 0.0:
        assert not [leg for leg in play.legs if leg.is_up]
    for _, _, data in play.packets:
        parse_message(data)


def first(calls: Iterator[CallPlan], count: int) -> list[CallPlan]:
    return [next(calls) for _ in range(count)]


OPTIONS = (
    b"OPTIONS sip:x@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP 127.0.0.1:9;branch=z9hG4bKo\r\nMax-Forwards: 70\r\n"
    b"From: <sip:a@x>;tag=1\r\nTo: <sip:b@x>\r\nCall-ID: c\r\nCSeq: 1 OPTIONS\r\nContent-Length: 0\r\n\r\n"
)
