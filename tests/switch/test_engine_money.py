"""Holds in the call path: what is let in, what goes on, what is cut, and what it costs in the end."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from rating.rows import RateRow
from switch.frames import Entry, Simulate
from switch.outputs import Alarm, Flow
from switch.records import Admitted, Answered, Extended
from switch.recovered import recover
from switch.snapshot import Customer, Delta, IngressRoute
from tests.fakes.carrier import CENT, CREDIT, DEFAULT_RECORDS, with_
from tests.fakes.world import CALLER, CHEAP, World

MINUTE = 5 * CENT
"""What a minute costs on the default sell card: 1/1, no fee."""


def customer(**changes: object) -> tuple[object, ...]:
    return with_(DEFAULT_RECORDS, Customer, 1, **{"debit_limit_nanos": 0, **changes})


def world_with(folder: Path, balance: int, row: RateRow | None = None, **changes: object) -> World:
    decks = None if row is None else {"sell": (row,)}
    world = World(folder, records=customer(**changes), decks=decks)  # type: ignore[arg-type]
    world.engine.book([Entry(1, 1, balance)], world.now)
    return world


def test_a_call_holds_a_minute_ahead_and_gives_the_rest_back(tmp_path: Path) -> None:
    world = world_with(tmp_path, 10 * MINUTE)
    world.caller.invite()
    world.run_for(0.1)
    assert (world.balance(), world.held()) == (10 * MINUTE, MINUTE)
    world.caller.ack()
    world.run_for(30)
    world.caller.bye()
    world.run_for(0.1)
    # 31 s are 0.0258333…, up to the card's four decimals.
    assert (world.cdrs[0].billed_s, world.cdrs[0].gross_nanos) == (31, 25_900_000)
    assert (world.balance(), world.held()) == (10 * MINUTE - world.cdrs[0].gross_nanos, 0)


def test_without_credit_for_one_increment_a_call_is_refused_with_402(tmp_path: Path) -> None:
    world = world_with(tmp_path, MINUTE // 2, RateRow("44", "UK", MINUTE, 60, 60))
    world.caller.invite()
    world.run_for(0.1)
    assert world.caller.statuses() == [402]
    assert world.cheap.invites == []
    cdr = world.cdrs[0]
    assert (cdr.cause, cdr.status, cdr.gross_nanos, cdr.prefix) == ("balance_insufficient", 402, 0, "44")
    assert world.held() == 0


@pytest.mark.parametrize("mode", ["off", "rate", "worst_case", "expected"])
def test_a_vendor_price_beyond_all_reason_is_written_down_all_the_same(tmp_path: Path, mode: str) -> None:
    records = with_(customer(debit_limit_nanos=CREDIT), IngressRoute, 1, profit_mode=mode)  # type: ignore[arg-type]
    dearest = RateRow("44", "UK", 10**18, connect_fee_nanos=10**18)
    decks: dict[str, tuple[RateRow, ...]] = {"cheap": (dearest,), "dear": (dearest,)}
    world = World(tmp_path, records=records, decks=decks)  # every record goes through the journal's encoder
    world.caller.invite()
    world.run_for(0.1)
    if mode == "off":
        world.caller.ack()
        world.run_for(3 * 3_600)
        world.caller.bye()
        world.run_for(1)
    (cdr,) = world.cdrs
    assert cdr.cause == ("normal" if mode == "off" else "no_margin")
    for number in (cdr.cost_nanos, cdr.margin_nanos, *(each.margin_nanos for each in cdr.explanation)):
        assert -(2**63) <= number < 2**63, "what the store can keep"


def test_near_zero_less_is_held_down_to_one_increment(tmp_path: Path) -> None:
    world = world_with(tmp_path, MINUTE // 2, RateRow("44", "UK", MINUTE, 30, 6))
    world.caller.invite()
    world.run_for(0.1)
    assert world.caller.statuses() == [180, 200]
    assert world.held() == MINUTE // 2


def test_a_call_is_cut_both_ways_when_its_held_time_ends_and_pays_what_it_held(tmp_path: Path) -> None:
    world = world_with(tmp_path, 2 * MINUTE)
    world.talk(200)
    assert len(world.sent("BYE", CHEAP)) == 1
    assert world.sent("BYE", CALLER)[0] == pytest.approx(120, abs=0.01)
    cdr = world.cdrs[0]
    assert (cdr.cause, cdr.release, cdr.duration_ms) == ("credit_exhausted", "switch", 120_000)
    assert (cdr.gross_nanos, world.balance(), world.held()) == (2 * MINUTE, 0, 0)


@pytest.mark.parametrize("limit", [3 * MINUTE, -MINUTE])
def test_the_debit_limit_moves_the_end_either_way(tmp_path: Path, limit: int) -> None:
    world = world_with(tmp_path, 2 * MINUTE, debit_limit_nanos=limit)
    world.talk(400)
    assert world.balance() == -limit
    assert world.cdrs[0].duration_ms == (2 * MINUTE + limit) * 60_000 // MINUTE


def test_holds_double_up_to_the_longest_stretch(tmp_path: Path) -> None:
    world = world_with(tmp_path, 100 * MINUTE)
    world.talk(1_000)
    held = [r.held_nanos for r in world.journal if isinstance(r, Extended)]
    assert [total * 60 // MINUTE for total in held] == [180, 420, 720, 1_020]


def test_a_payment_during_the_call_keeps_it_alive(tmp_path: Path) -> None:
    world = world_with(tmp_path, MINUTE)
    world.talk(59.5)
    world.engine.book([Entry(2, 1, MINUTE)], world.now)
    world.run_for(30)
    assert world.cdrs == []
    world.run_for(60)
    assert world.cdrs[0].duration_ms == 120_000


def test_a_payment_counts_once(tmp_path: Path) -> None:
    world = world_with(tmp_path, MINUTE)
    for _ in range(3):
        world.engine.book([Entry(2, 1, MINUTE)], world.now)
    assert world.balance() == 2 * MINUTE


def test_parallel_calls_together_never_pass_the_credit(tmp_path: Path) -> None:
    world = world_with(tmp_path, 10 * MINUTE)
    for number in range(15):
        world.caller.invite(call_id=f"p{number}@x")
        world.run_for(0.05)
        if world.caller.statuses()[-1] == 200:
            world.caller.ack()
    world.run_for(1_000)
    assert sum(cdr.gross_nanos for cdr in world.cdrs) == 10 * MINUTE
    assert (world.balance(), world.held()) == (0, 0)
    assert len(world.cdrs) == 15


def test_a_call_that_is_not_answered_costs_nothing_and_holds_nothing_after(tmp_path: Path) -> None:
    world = world_with(tmp_path, MINUTE)
    world.cheap.behaviour = (486,)
    world.caller.invite()
    world.run_for(0.1)
    assert (world.balance(), world.held()) == (MINUTE, 0)


def test_failover_to_a_dearer_vendor_changes_nothing_for_the_customer(tmp_path: Path) -> None:
    world = world_with(tmp_path, 10 * MINUTE)
    world.cheap.behaviour = (503,)
    world.talk(60)
    world.caller.bye()
    world.run_for(0.1)
    assert [r.held_nanos for r in world.journal if isinstance(r, Admitted)] == [MINUTE]
    assert world.cdrs[0].attempts[1].cost_nanos > 0


def test_tax_and_connect_fee_are_held_too(tmp_path: Path) -> None:
    row = RateRow("44", "UK", MINUTE, connect_fee_nanos=CENT)
    world = world_with(tmp_path, 10 * MINUTE, row, tax_ppm=200_000)
    world.caller.invite()
    world.run_for(0.1)
    assert world.held() == (MINUTE + CENT) * 12 // 10


def test_free_seconds_are_not_charged_and_the_increment_behind_them_is_held(tmp_path: Path) -> None:
    row = RateRow("44", "UK", MINUTE, grace_s=6)
    world = world_with(tmp_path, MINUTE, row)
    world.talk(5)
    world.caller.bye()
    world.run_for(0.1)
    assert (world.cdrs[0].gross_nanos, world.balance()) == (0, MINUTE)


def test_a_free_destination_needs_no_credit_and_lasts_to_the_limit(tmp_path: Path) -> None:
    world = world_with(tmp_path, 0, RateRow("44", "UK", 0))
    world.engine.apply(Delta(version=2, put=(with_(DEFAULT_RECORDS, IngressRoute, 1, max_duration_s=600)[3],)))
    world.talk(700)
    assert (world.cdrs[0].cause, world.cdrs[0].duration_ms) == ("max_duration", 600_000)


def test_the_maximum_duration_is_kept_to_the_millisecond(tmp_path: Path) -> None:
    world = world_with(tmp_path, 1_000 * MINUTE)
    world.engine.apply(Delta(version=2, put=(with_(DEFAULT_RECORDS, IngressRoute, 1, max_duration_s=90)[3],)))
    world.talk(100)
    assert (world.cdrs[0].cause, world.cdrs[0].duration_ms) == ("max_duration", 90_000)


def test_the_day_s_spending_ends_new_calls_and_begins_again_at_midnight(tmp_path: Path) -> None:
    world = world_with(tmp_path, 100 * MINUTE, daily_spend_limit_nanos=MINUTE, time_zone="Asia/Kathmandu")
    world.talk(60)
    world.caller.bye()
    world.run_for(1)
    world.caller.invite()
    world.run_for(0.1)
    assert world.caller.statuses()[-1] == 402
    assert world.cdrs[-1].cause == "daily_spend_reached"
    world.run_for(86_400)
    world.caller.invite()
    world.run_for(0.1)
    assert world.caller.statuses()[-1] == 200


def test_a_lowered_limit_lets_running_calls_end_with_what_they_hold(tmp_path: Path) -> None:
    world = world_with(tmp_path, 0, debit_limit_nanos=10 * MINUTE)
    world.talk(10)
    world.engine.apply(Delta(version=2, put=(customer(debit_limit_nanos=0)[0],)))  # type: ignore[arg-type]
    world.run_for(100)
    assert (world.cdrs[0].cause, world.cdrs[0].duration_ms) == ("credit_exhausted", 60_000)


def test_a_switch_without_balances_takes_no_calls(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.engine.board.accounts.has_balances = False
    world.caller.invite()
    world.run_for(0.1)
    assert world.caller.statuses() == [503]


@pytest.mark.parametrize(
    ("balance", "changes", "cause"),
    [
        (10 * MINUTE, {}, ""),
        (0, {}, "balance_insufficient"),
        (10 * MINUTE, {"daily_spend_limit_nanos": 0}, "daily_spend_reached"),
    ],
)
def test_a_simulation_says_whether_the_money_would_do_and_holds_none(
    tmp_path: Path, balance: int, changes: dict[str, object], cause: str
) -> None:
    world = world_with(tmp_path, balance, None, **changes)
    request = Simulate(id=1, dialled="442071234567", source_ip=CALLER[0])
    found = world.engine.simulate(request, world.now)
    assert (found.is_admitted, found.cause, found.status) == (not cause, cause, 402 if cause else 0)
    assert found.steps[-1] == (f"refused: {cause} (customer Acme Voice)" if cause else "hold: 0.05 USD")
    assert world.held() == 0


# After a restart.


def test_a_call_goes_on_over_a_crash_and_is_billed_once_for_all_of_it(tmp_path: Path) -> None:
    world = world_with(tmp_path, 100 * MINUTE)
    world.talk(30)
    world.crash(down_s=2)
    assert world.engine.live_calls() == 1
    assert world.held() == MINUTE
    world.run_for(13)
    world.caller.bye()
    world.run_for(0.1)
    cdr = world.cdrs[0]
    assert (cdr.cause, cdr.release) == ("normal", "caller")
    assert 45_000 <= cdr.duration_ms <= 45_200
    assert (world.balance(), world.held()) == (100 * MINUTE - cdr.gross_nanos, 0)
    assert len(world.cheap.requests("BYE")) == 1
    assert 200 in world.caller.statuses("BYE")
    assert len(world.cdrs) == 1


def test_the_callee_may_end_it_too(tmp_path: Path) -> None:
    world = world_with(tmp_path, 100 * MINUTE)
    world.talk(30)
    world.crash()
    world.cheap.in_dialog("BYE", 1)
    world.run_for(0.1)
    assert world.cdrs[0].release == "callee"
    assert len(world.caller.requests("BYE")) == 1


def test_credit_ends_a_restored_call_where_it_would_have_ended_it(tmp_path: Path) -> None:
    world = world_with(tmp_path, 2 * MINUTE)
    world.talk(30)
    world.crash()
    world.caller.in_dialog("OPTIONS", 2)
    world.run_for(0.1)
    world.cheap.reply(world.cheap.requests("OPTIONS")[0], 200)
    world.run_for(200)
    assert world.cdrs[0].gross_nanos <= 2 * MINUTE
    assert world.balance() + world.cdrs[0].gross_nanos == 2 * MINUTE
    assert world.held() == 0


def test_a_call_without_an_answer_is_over_and_its_caller_hears_it(tmp_path: Path) -> None:
    world = world_with(tmp_path, 100 * MINUTE)
    world.cheap.behaviour = (100, 180)
    world.caller.invite()
    world.run_for(3)
    world.crash()
    world.run_for(1)
    assert world.caller.statuses() == [180, 503]
    assert [(c.cause, c.status, c.gross_nanos) for c in world.cdrs] == [("lost_in_restart", 503, 0)]
    assert (world.balance(), world.held()) == (100 * MINUTE, 0)


def test_payments_and_charges_are_the_same_after_a_crash(tmp_path: Path) -> None:
    world = world_with(tmp_path, 100 * MINUTE)
    world.talk(30)
    world.caller.bye()
    world.run_for(1)
    world.engine.book([Entry(2, 1, 7)], world.now)
    world.run_for(0.1)
    before = world.balance()
    world.crash()
    world.engine.book([Entry(1, 1, 100 * MINUTE), Entry(2, 1, 7)], world.now)
    assert (world.balance(), world.held()) == (before, 0)


def test_a_call_whose_held_time_ended_while_nobody_ran_goes_on_if_there_is_money(tmp_path: Path) -> None:
    world = world_with(tmp_path, 100 * MINUTE)
    world.talk(30)
    world.crash(down_s=100)
    world.run_for(0.1)
    assert world.engine.live_calls() == 1
    world.caller.bye()
    world.run_for(0.1)
    assert world.cdrs[0].cause == "normal"
    assert 130_000 <= world.cdrs[0].duration_ms <= 130_300


def test_and_is_closed_at_its_last_known_moment_if_there_is_none(tmp_path: Path) -> None:
    world = world_with(tmp_path, MINUTE)
    world.talk(30)
    world.crash(down_s=100)
    world.run_for(0.1)
    assert world.engine.live_calls() == 0
    assert world.cdrs[0].cause == "lost_in_restart"
    assert 30_000 <= world.cdrs[0].duration_ms <= 30_200
    assert world.balance() == MINUTE - world.cdrs[0].gross_nanos
    assert "BYE" in world.names_to(CALLER)
    assert "BYE" in world.names_to(CHEAP)


def test_nobody_pays_the_maximum_duration_for_a_call_that_was_forgotten(tmp_path: Path) -> None:
    world = world_with(tmp_path, 1_000 * MINUTE)
    world.talk(30)
    world.crash(down_s=86_400)
    world.run_for(0.1)
    assert (world.cdrs[0].cause, world.cdrs[0].billed_s) == ("lost_in_restart", 31)


def test_a_day_s_spending_is_the_same_after_a_crash_also_where_the_clock_was_set(tmp_path: Path) -> None:
    world = world_with(tmp_path, 100 * MINUTE, daily_spend_limit_nanos=100 * MINUTE)
    world.talk(30)
    world.engine.set_wall_offset(world.wall_offset_s + 86_400)  # the call goes on, and ends, by its own clock
    world.caller.bye()
    world.run_for(0.1)

    def spent_on(day: int) -> int:
        world.engine.set_wall_offset(world.wall_offset_s + 86_400 * day)
        return world.engine.accounts([1], world.now)[0].spent_today_nanos

    assert [spent_on(0), spent_on(1)] == [world.cdrs[0].gross_nanos, 0]
    world.crash()
    assert [spent_on(0), spent_on(1)] == [world.cdrs[0].gross_nanos, 0]


def test_a_boot_keeps_times_by_the_wall_clock(tmp_path: Path) -> None:
    world = world_with(tmp_path, 100 * MINUTE)
    world.talk(30)
    world.crash(down_s=20, boot_s=5.0)
    world.caller.bye()
    world.run_for(0.1)
    world.crash()
    cdr = world.cdrs[0]
    assert 50_000 <= cdr.duration_ms <= 50_200
    assert cdr.ended_ms - (cdr.answered_ms or 0) in range(50_000, 50_200)


def test_calls_of_old_segments_are_written_again_and_restored_from_there(tmp_path: Path) -> None:
    world = world_with(tmp_path, 100 * MINUTE)
    world.talk(30)
    world.engine.begin_keeping()
    begun = len(world.journal)
    world.journal.append(world.engine.checkpoint(world.now))
    assert world.engine.keep_calls(10)
    world.run_for(0.1)
    world.engine.beat(world.now)
    world.run_for(30)
    del world.journal[:begun]
    world.crash()
    world.caller.bye()
    world.run_for(0.1)
    assert world.cdrs[0].cause == "normal"
    assert world.balance() == 100 * MINUTE - world.cdrs[0].gross_nanos
    assert world.cdrs[0].source.startswith(CALLER[0])


def test_a_call_that_cannot_be_brought_back_is_charged_so_long_as_it_was_known_to_be_up(tmp_path: Path) -> None:
    world = world_with(tmp_path, 100 * MINUTE)
    world.talk(30)
    position, record = next((i, r) for i, r in enumerate(world.journal) if isinstance(r, Answered))
    elsewhere = msgspec.structs.replace(record.egress, heard_from=Flow(7, CHEAP))
    world.journal[position] = msgspec.structs.replace(record, egress=elsewhere)
    world.crash(down_s=5)
    assert world.engine.live_calls() == 0
    cdr = world.cdrs[0]
    assert (cdr.cause, cdr.status, cdr.billed_s) == ("lost_in_restart", 200, 31)
    assert cdr.cost_nanos == cdr.attempts[0].cost_nanos > 0
    assert (world.balance(), world.held()) == (100 * MINUTE - cdr.gross_nanos, 0)
    assert [e.name for e in world.events if isinstance(e, Alarm)] == ["call_not_restored"]
    before = world.balance()
    world.crash()
    assert world.balance() == before
    assert len(world.cdrs) == 1


def test_what_a_lost_call_is_charged_ends_with_what_it_held_and_counts_for_the_day_of_its_end(tmp_path: Path) -> None:
    world = world_with(tmp_path, MINUTE, daily_spend_limit_nanos=100 * MINUTE)
    world.talk(30)
    world.engine.beat(world.now + 1_000)  # as if nobody had cut it in time
    (opened,) = [record for record in world.journal if isinstance(record, Answered)]
    moved = msgspec.structs.replace(opened.reply_flow, listener=7)
    world.journal[world.journal.index(opened)] = msgspec.structs.replace(opened, reply_flow=moved)
    world.crash(down_s=2 * 86_400.0, beats=False)
    (cdr,) = world.cdrs
    assert (cdr.cause, cdr.duration_ms, cdr.gross_nanos) == ("lost_in_restart", 60_000, MINUTE)
    assert cdr.ended_ms - (cdr.answered_ms or 0) == cdr.duration_ms
    (account,) = [each for each in world.engine.checkpoint(world.now).accounts if each.customer_id == 1]
    (again,) = recover(world.journal).accounts
    assert (account.balance_nanos, account.spent_day, account.spent_nanos) == (
        again.balance_nanos,
        again.spent_day,
        again.spent_nanos,
    )


def test_a_call_that_cannot_even_be_priced_keeps_no_switch_from_starting(tmp_path: Path) -> None:
    world = world_with(tmp_path, 100 * MINUTE)
    world.talk(30)
    (admitted,) = [record for record in world.journal if isinstance(record, Admitted)]
    tariff = (*admitted.sell.tariff[:6], "Nowhere/Atlantis")
    broken = msgspec.structs.replace(admitted, sell=msgspec.structs.replace(admitted.sell, tariff=tariff))
    world.journal[world.journal.index(admitted)] = broken
    world.crash()
    assert [event.name for event in world.events if isinstance(event, Alarm)] == ["call_not_restored", "call_lost"]
    assert (world.balance(), world.held(), world.engine.live_calls()) == (100 * MINUTE, 0, 0)


@pytest.mark.parametrize(("balance", "lasts_ms"), [(MINUTE, 60_000), (2 * MINUTE, 63_000)])
def test_a_bye_that_is_read_before_a_late_timer_costs_no_more_than_there_is(
    tmp_path: Path, balance: int, lasts_ms: int
) -> None:
    world = world_with(tmp_path, balance)
    world.talk(0.1)
    (call,) = world.engine.board.calls.live.values()
    world.now = call.answered_at + 63.0  # the loop was away; no timer has run since
    data = world.caller.bye()
    world.engine.receive(data, 0, CALLER, world.now)
    world._collect()
    (cdr,) = world.cdrs
    assert (cdr.cause, cdr.duration_ms) == ("normal", lasts_ms)
    assert world.balance() == balance - cdr.gross_nanos >= 0
    assert recover(world.journal).accounts[0].balance_nanos == world.balance()


def test_a_restored_call_occupies_its_vendor_until_it_ends(tmp_path: Path) -> None:
    world = world_with(tmp_path, 100 * MINUTE)
    world.talk(30)
    before = {key: len(calls) for key, calls in world.engine.live.calls.items() if calls}
    world.crash()
    assert {key: len(calls) for key, calls in world.engine.live.calls.items() if calls} == before
    world.caller.bye()
    world.run_for(40)
    world.assert_idle()
