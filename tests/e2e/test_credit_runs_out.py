"""Hundreds of SIPp calls on one credit, over a link that loses packets: together they never cost more than it."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from config.settings import Hold, Journal, Listener, Settings, Sip, Trace
from rating.money import parse_amount
from sipp_scenarios.places import PORT, QUICK, Place, with_changes
from sipp_scenarios.prices import compile_decks
from sipp_scenarios.sipp import Sipp
from sipp_scenarios.switch_process import SwitchProcess
from sipp_scenarios.traps import free_loopback_block
from switch.records import Cdr
from switch.replay import replay
from switch.snapshot import Customer, Snapshot

pytestmark = pytest.mark.slow

CALLS = 500
PER_S = 250
LOST_PERCENT = 5
CREDIT_MINUTES = 100
MINUTE = parse_amount("0.02556")
"""The number's rate of 0.0213 with 20 % tax."""
RUNS = int(os.environ.get("TANDEM_CREDIT_RUNS", "1"))
"""20 is the whole of it; each takes some 25 s."""


@pytest.mark.parametrize("limit", [0, 30 * MINUTE])
@pytest.mark.parametrize("seed", range(RUNS))
def test_parallel_calls_cost_no_more_than_the_credit_and_each_is_cut_on_both_sides(
    tmp_path: Path, seed: int, limit: int
) -> None:
    opening = CREDIT_MINUTES * MINUTE - limit
    cdrs, caller, vendor, folder = asyncio.run(play(tmp_path, seed, opening, limit))
    assert len(cdrs) == CALLS
    assert {cdr.cause for cdr in cdrs} <= {"credit_exhausted", "balance_insufficient", "no_ack"}
    charged = sum(cdr.gross_nanos for cdr in cdrs)
    assert charged <= opening + limit
    # What is left is less than what the dearest call's next second costs, times the calls that were cut.
    assert charged > (opening + limit) * 95 // 100
    recovered = replay(folder / "data" / "journal")
    assert recovered.calls == []
    assert [account.balance_nanos for account in recovered.accounts] == [opening - charged]
    assert len(cut(cdrs)) > CALLS // 4
    assert cut(cdrs) <= caller
    assert cut(cdrs) <= vendor


async def play(folder: Path, seed: int, opening: int, limit: int) -> tuple[list[Cdr], set[str], set[str], Path]:
    """One run; its CDRs, the calls whose BYE reached the caller and the vendor, and where the journal is."""
    place = Place(free_loopback_block(), 1, 1)
    compile_decks(folder)
    settings = Settings(
        sip=Sip(listeners=(Listener(transport="udp", host=place.switch[0], port=PORT),), allow_loopback=True),
        timers=QUICK,
        journal=Journal(sync="os"),
        hold=Hold(initial_s=2, max_s=8),
        drain_s=1.0,
        trace=Trace(ring_bytes=4_194_304),
    )
    records = with_changes(place.records(), Customer, debit_limit_nanos=limit)
    snapshot = Snapshot(version=1, records=tuple(records), balances={place.base: opening})
    switch = SwitchProcess(folder, settings, snapshot)
    await switch.start()
    vendor = Sipp("uas_talks_until_cut", at=place.vendors[0], logs=folder / "sipp")
    caller = Sipp("uac_talks_until_cut", at=place.caller, logs=folder / "sipp", to=place.switch)
    options = ("-lost", str(LOST_PERCENT), "-l", str(CALLS), "-nd", "-max_retrans", "10")
    try:
        await vendor.start(calls=100_000, timeout_s=90, options=options)
        await caller.start(
            calls=CALLS,
            keys={"dialled": f"44161{seed:07d}", "cli": "442071230000"},
            timeout_s=90,
            options=(*options, "-r", str(PER_S)),
        )
        await caller.wait()
        for _ in range(300):  # a BYE that was lost comes again for 64*T1
            if len(switch.read_cdrs()) >= CALLS and cut(switch.cdrs) <= heard_bye(caller) & heard_bye(vendor):
                break
            await asyncio.sleep(0.1)
    finally:
        caller.stop()
        vendor.stop()
        assert await switch.stop() == 0
    assert "Traceback" not in switch.log(), switch.log()[-3000:]
    return switch.read_cdrs(), heard_bye(caller), heard_bye(vendor), folder


def cut(cdrs: list[Cdr]) -> set[str]:
    return {cdr.call_id for cdr in cdrs if cdr.cause == "credit_exhausted"}


def heard_bye(sipp: Sipp) -> set[str]:
    """Call-IDs whose BYE came to that side."""
    requests = [each for each in sipp.trace() if each.is_received and not each.status]
    return {each.header("Call-ID") for each in requests if each.method == "BYE"}
