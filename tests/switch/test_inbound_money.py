"""Whatever becomes of calls to numbers, over crashes too: no debt beyond the limit, no hold or channel left."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from switch.frames import Entry
from switch.snapshot import DidDestination
from tests.fakes.inbound_calls import ENDPOINT, ENDPOINT_2, USER, InboundWorld, customer_records, did_records
from tests.fakes.world import World

NUMBERS = (DidDestination("number", value="442071110000"), DidDestination("number", value="442071110001"))
BEHAVIOURS = ((100, 180, 200), (200,), (503,), (180, 486), (100,), (100, 180), (), (603,))
MINUTE = 50_000_000

STEPS = st.one_of(
    st.sampled_from(["ack", "bye", "cancel", "crash", "reboot", "answer", "end"]),
    st.floats(0.05, 90.0),
    st.sampled_from(["invite", "invite", "invite"]),
    st.tuples(st.sampled_from(["cheap", "dear", "pbx", "pbx_2"]), st.sampled_from(BEHAVIOURS)),
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("decks")
    InboundWorld(made)
    return made


def take(world: InboundWorld, step: Any) -> None:
    if isinstance(step, float):
        world.run_for(step)
    elif isinstance(step, tuple):
        getattr(world, step[0]).behaviour = step[1]
    elif step == "invite":
        world.ring()
    elif step == "crash":
        world.crash()
    elif step == "reboot":
        world.crash(down_s=5.0, beats=False)
    elif step == "answer":
        for vendor in (world.cheap, world.dear, world.pbx, world.pbx_2):
            if vendor.invites:
                vendor.answer(200)
    elif step == "end":
        for call_id in list(world.engine.board.calls.live):
            world.engine.end_call(call_id, world.now)
        world._collect()
    elif step == "cancel":
        if hasattr(world.carrier, "invite_data"):
            world.carrier.cancel()
    elif world.carrier.received and any(100 < getattr(each, "status", 0) < 300 for each in world.carrier.received):
        world.carrier.ack() if step == "ack" else world.carrier.bye()
    world.run_for(0.05)
    check(world)


def check(world: World) -> None:
    accounts = world.engine.board.accounts
    accounts.ledger.check()
    account = accounts.ledger.accounts[1]
    assert account.balance_nanos + account.debit_limit_nanos >= 0
    assert account.balance_nanos == CREDIT - sum(cdr.gross_nanos for cdr in world.cdrs)


CREDIT = 3 * MINUTE


@settings(deadline=None, max_examples=40)
@given(
    destinations=st.lists(st.sampled_from([*NUMBERS, ENDPOINT, ENDPOINT_2, USER]), min_size=1, max_size=4),
    steps=st.lists(STEPS, min_size=3, max_size=14),
    customer=st.fixed_dictionaries(
        {
            "debit_limit_nanos": st.sampled_from([0, MINUTE // 3]),
            "allow_inbound_without_credit": st.booleans(),
            "daily_spend_limit_nanos": st.sampled_from([None, 0, MINUTE]),
        }
    ),
    did=st.fixed_dictionaries(
        {"order": st.sampled_from(["serial", "random"])}, optional={"customer_card_id": st.none()}
    ),
)
def test_any_calls_to_numbers_leave_books_that_add_up(
    folder: Path, destinations: list[DidDestination], steps: list[Any], customer: dict[str, Any], did: dict[str, Any]
) -> None:
    records = did_records(customer_records(**customer), destinations=tuple(destinations), **did)
    world = InboundWorld(folder, records, has_decks=True)
    world.engine.book([Entry(1, 1, CREDIT)], world.now)
    world._collect()
    for step in ["invite", *steps]:
        take(world, step)
    take(world, "end")
    world.run_for(200)
    check(world)
    assert world.held() == 0
    world.assert_idle()
