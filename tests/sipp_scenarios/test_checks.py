"""A check that finds nothing wrong proves nothing until it has found something wrong."""

from __future__ import annotations

from decimal import Decimal

import pytest
from msgspec.structs import replace

from sipp_scenarios import checks
from sipp_scenarios.case import Caller, Case, Outcome, Played, Try, Vendor
from sipp_scenarios.places import Place
from sipp_scenarios.sipp import Message
from switch.records import Cdr
from tests.fakes.cdrs import make_attempt, make_cdr

PLACE = Place(99, 1, 1)
CASE = Case(
    name="x",
    what="x",
    vendors=(Vendor(scenario="uas_answers"),),
    outcomes=(Outcome(talk_ms=(1_000, 2_000), tries=(Try(0, 200, "answered"),)),),
)
TAXES = {PLACE.base: Decimal("0.2")}


def right_cdr() -> Cdr:
    """1.2 s to London: 2 s billed at 0.019333333 with a fee of 0.001; bought at 0.0107."""
    attempt = make_attempt(
        provider_id=PLACE.base + 1,
        gateway_id=PLACE.base + 1,
        card_id=PLACE.base + 1,
        rate_nanos=10_700_000,
        dialled_out="442071000001",
        answered_ms=100,
        ended_ms=1_300,
        billed_s=2,
        cost_nanos=400_000,
    )
    return make_cdr(
        0,
        customer_id=PLACE.base,
        endpoint_id=PLACE.base,
        route_id=PLACE.base,
        source="127.99.1.1:5060",
        dialled_in="442071000001",
        dialled_out="442071000001",
        progress_ms=50,
        answered_ms=100,
        ended_ms=1_300,
        pdd_ms=50,
        duration_ms=1_200,
        billed_s=2,
        card_id=PLACE.base,
        revision_id=1,
        prefix="4420",
        destination="London",
        rate_nanos=19_333_333,
        net_nanos=1_700_000,
        tax_nanos=400_000,
        gross_nanos=2_100_000,
        cost_nanos=400_000,
        margin_nanos=1_300_000,
        attempts=(attempt,),
    )


def faults(*cdrs: Cdr) -> list[str]:
    return checks.check_cdrs(CASE, Played(place=PLACE, callers=[], vendors=[], cdrs=list(cdrs)), TAXES)


def test_a_right_cdr_passes() -> None:
    assert faults(right_cdr()) == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"cause": "failed"},
        {"status": 486},
        {"release": "callee"},
        {"customer_id": 7},
        {"duration_ms": 2_001},
        {"answered_ms": None},
        {"billed_s": 1},
        {"net_nanos": 1_600_000},
        {"net_nanos": 1_700_001},
        {"tax_nanos": 300_000},
        {"gross_nanos": 1_700_000},
        {"cost_nanos": 0},
        {"margin_nanos": 0},
        {"prefix": "44"},
        {"destination": "United Kingdom"},
        {"attempts": ()},
        {"dialled_out": "1234442071000001"},
    ],
    ids=str,
)
def test_any_wrong_field_is_found(wrong: dict[str, object]) -> None:
    assert faults(replace(right_cdr(), **wrong))


def test_a_missing_and_a_second_cdr_are_found() -> None:
    assert faults()
    assert faults(right_cdr(), right_cdr())


def test_a_failed_attempt_that_costs_is_found() -> None:
    cdr = right_cdr()
    costly = replace(cdr.attempts[0], status=503, cause="rejected", cost_nanos=1)
    assert any(
        "costs money" in fault
        for fault in checks.charged_right(
            replace(cdr, attempts=(costly, *cdr.attempts)), "442071000001", TAXES[PLACE.base]
        )
    )


def invite(call_id: str, branch: str, *, is_received: bool) -> Message:
    start = "INVITE sip:1@x SIP/2.0"
    head = f"Via: SIP/2.0/UDP x;branch={branch}\nTo: <sip:1@x>\nCall-ID: {call_id}\nCSeq: 1 INVITE\n\n"
    return Message(is_received, start, f"{start}\n{head}")


def answer(status: int, call_id: str) -> Message:
    return Message(True, f"SIP/2.0 {status} x", f"SIP/2.0 {status} x\nCall-ID: {call_id}\nCSeq: 1 INVITE\n\n")


def packet_faults(caller: list[Message], vendor: list[Message]) -> list[str]:
    case = Case(name="x", what="x", callers=(Caller(),), vendors=(Vendor(scenario="uas_answers"),))
    return checks.check_packets(case, Played(place=PLACE, callers=[caller], vendors=[vendor], cdrs=[]))


def test_packets_of_a_right_call_pass() -> None:
    caller = [invite("1@x", "a", is_received=False), answer(200, "1@x")]
    assert packet_faults(caller, [invite("1@x", "b", is_received=True)]) == []


def test_a_second_invite_another_call_and_another_answer_are_found() -> None:
    caller = [invite("1@x", "a", is_received=False), answer(200, "1@x")]
    vendor = [invite("1@x", "b", is_received=True)]
    assert packet_faults(caller, [*vendor, invite("1@x", "c", is_received=True)])
    assert packet_faults(caller, [*vendor, answer(200, "2@y")])
    assert packet_faults([caller[0], answer(486, "1@x")], vendor)
    assert packet_faults(caller, [])
