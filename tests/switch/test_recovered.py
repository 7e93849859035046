"""Records added up: whatever happened before, the last checkpoint and what follows it is the state."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switch.records import (
    AccountState,
    Beat,
    Checkpoint,
    Credited,
    DeltaApplied,
    Extended,
    JournalRecord,
    Kept,
)
from switch.recovered import FINDINGS_MAX, Fold, Recovered, recover
from switch.snapshot import Delta
from tests.fakes.journal_records import WALL_OFFSET_S, admitted, answered, ended

DAY_MS = 86_400_000


def checkpoint(
    balances: dict[int, int] | None = None,
    *,
    entry_id: int = 0,
    boot_id: str = "boot",
    has_balances: bool = True,
    live: tuple[str, ...] | None = None,
    at_ms: int = 0,
) -> Checkpoint:
    accounts = tuple(AccountState(key, nanos) for key, nanos in (balances or {}).items())
    return Checkpoint(
        at_ms=at_ms, boot_id=boot_id, entry_id=entry_id, accounts=accounts, oldest_segment=0,
        has_balances=has_balances, live=live,
    )  # fmt: skip


def balances(recovered: Recovered) -> dict[int, int]:
    return {state.customer_id: state.balance_nanos for state in recovered.accounts}


def test_nothing_says_nothing() -> None:
    recovered = recover([])
    assert not recovered.has_balances
    assert (recovered.calls, recovered.accounts, recovered.findings, recovered.last_at) == ([], [], [], 0.0)


def test_a_call_is_live_from_its_admission_to_its_end_with_all_that_it_holds() -> None:
    start: list[JournalRecord] = [checkpoint({1: 1_000})]
    told: list[JournalRecord] = [
        admitted("a", held_nanos=100), answered("a"), Extended("a", 300), ended("a", gross_nanos=250)
    ]  # fmt: skip
    holds = []
    for count in range(len(told) + 1):
        recovered = recover([*start, *told[:count]])
        holds.append([call.held_nanos for call in recovered.calls])
        assert balances(recovered) == {1: 1_000 if count < 4 else 750}
        assert recovered.findings == []
    assert holds == [[], [100], [100], [300], []]
    (call,) = recover([*start, *told[:2]]).calls
    assert (call.admitted, call.answered, call.boot_id) == (told[0], told[1], "boot")


def test_a_kept_call_is_as_it_was_written_last_whether_its_admission_is_here_or_not() -> None:
    kept = Kept(admitted("a", held_nanos=100), answered("a"), 700)
    for before in ([], [admitted("a")], [answered("a")]):
        recovered = recover([checkpoint({1: 0}), *before, kept])
        (call,) = recovered.calls
        assert (call.held_nanos, call.answered) == (700, answered("a"))
        assert recovered.findings == []


def test_calls_stand_in_the_order_of_their_admission() -> None:
    records: list[JournalRecord] = [
        admitted("b"),
        admitted("a"),
        admitted("c"),
        Kept(admitted("a"), None, 5),
        ended("b"),
    ]
    assert [call.admitted.id for call in recover(records).calls] == ["a", "c"]


def test_a_charge_of_a_call_that_was_never_seen_is_taken_all_the_same() -> None:
    assert balances(recover([checkpoint({1: 10}), ended("x", gross_nanos=3)])) == {1: 7}
    assert balances(recover([checkpoint(), ended("x", customer_id=9, gross_nanos=3)])) == {9: -3}


def test_an_entry_is_booked_once() -> None:
    records: list[JournalRecord] = [
        checkpoint({1: 0}, entry_id=4),
        Credited(4, 1, 10),
        Credited(5, 1, 20),
        Credited(5, 1, 20),
    ]
    recovered = recover(records)
    assert (recovered.entry_id, balances(recovered)) == (5, {1: 20})


def test_without_a_checkpoint_there_is_no_money_and_there_are_calls() -> None:
    recovered = recover([admitted("a"), Credited(3, 1, 20), ended("b", gross_nanos=7)])
    assert (recovered.has_balances, recovered.accounts, recovered.entry_id) == (False, [], 0)
    assert len(recovered.calls) == 1


def test_a_switch_that_was_given_no_balances_has_none_after_a_restart() -> None:
    recovered = recover([checkpoint({1: 0}, has_balances=False), DeltaApplied(1, 5)])
    assert not recovered.has_balances
    assert recovered.findings == []


def test_balances_that_come_later_count_from_there() -> None:
    records: list[JournalRecord] = [
        checkpoint({1: 0}, has_balances=False), checkpoint({1: 500}, entry_id=7), Credited(7, 1, 9), Credited(8, 1, 9)
    ]  # fmt: skip
    recovered = recover(records)
    assert (recovered.has_balances, balances(recovered), recovered.entry_id) == (True, {1: 509}, 8)
    assert recovered.findings == []


def test_a_checkpoint_that_disagrees_wins_and_is_a_finding() -> None:
    fold = Fold()
    fold.take(checkpoint({1: 100, 2: 5}))
    fold.take(ended("a", gross_nanos=30))
    fold.take(checkpoint({1: 71, 2: 5}, entry_id=2), "00000002.tj: offset 32")
    recovered = fold.result()
    assert balances(recovered) == {1: 71, 2: 5}
    assert recovered.findings == [
        "00000002.tj: offset 32: checkpoint has ledger entries up to 2, the sum 0",
        "00000002.tj: offset 32: checkpoint has 71 nano-units for customer 1, the sum 70",
    ]


def test_an_account_at_zero_need_not_be_named() -> None:
    recovered = recover([checkpoint({1: 30}), ended("a", gross_nanos=30), checkpoint({2: 0}), checkpoint({1: 0})])
    assert recovered.findings == []


def test_after_what_cannot_be_read_the_next_checkpoint_corrects_the_balance_without_a_word() -> None:
    fold = Fold()
    fold.take(checkpoint({1: 100}))
    fold.lose("offset 9: checksum does not match")
    fold.take(checkpoint({1: 40}))
    assert balances(fold.result()) == {1: 40}
    assert fold.result().findings == ["offset 9: checksum does not match"]


def test_a_call_whose_end_cannot_be_read_is_not_live_where_a_checkpoint_says_so() -> None:
    fold = Fold()
    for record in (checkpoint({1: 100}), admitted("a"), admitted("b")):
        fold.take(record)
    fold.lose("the end of a")
    fold.take(checkpoint({1: 60}, live=("b",)), "here")
    recovered = fold.result()
    assert [call.admitted.id for call in recovered.calls] == ["b"]
    assert "here: call a had ended before; its record cannot be read" in recovered.findings


def test_a_call_whose_admission_cannot_be_read_is_named_unless_it_ended() -> None:
    recovered = recover([checkpoint(), answered("a"), Extended("b", 5), ended("b")])
    assert recovered.calls == []
    assert recovered.findings == ["call a: its admission cannot be read; it is not taken up again"]


def test_a_call_that_a_checkpoint_names_and_no_record_tells_of_is_a_finding_unless_it_comes_or_ends() -> None:
    records: list[JournalRecord] = [checkpoint(live=("a", "b", "c")), Kept(admitted("a"), None, 5), ended("b")]
    recovered = recover(records)
    assert [call.admitted.id for call in recovered.calls] == ["a"]
    assert recovered.findings == ["call c: its admission cannot be read; it is not taken up again"]
    assert recover([*records, checkpoint(live=("a",))]).findings == []


def test_findings_are_counted_where_they_are_too_many_to_read() -> None:
    fold = Fold()
    for number in range(FINDINGS_MAX + 5):
        fold.lose(f"offset {number}")
    findings = fold.result().findings
    assert len(findings) == FINDINGS_MAX + 1
    assert findings[-1] == "and 5 findings more"


def test_the_last_moment_is_the_latest_that_any_record_of_that_boot_tells() -> None:
    records: list[JournalRecord] = [checkpoint(boot_id="old"), admitted("a", at=900.0), Beat(905.5)]
    assert recover(records).last_at == 905.5
    assert recover(records).last_ms == int((905.5 + WALL_OFFSET_S) * 1_000)
    records += [checkpoint(boot_id="new"), Kept(admitted("a", at=2.0), answered("a", at=3.0), 5)]
    assert (recover(records).last_at, recover(records).boot_id) == (3.0, "new")
    records += [Beat(7.0), ended("a", ended_ms=int((WALL_OFFSET_S + 7.25) * 1_000))]
    assert recover(records).last_at == pytest.approx(7.25)


def test_changes_of_the_configuration_are_kept_since_the_last_whole_one() -> None:
    delta, other = Delta(version=4), Delta(version=8)
    assert recover([DeltaApplied(3, 5), DeltaApplied(4, 6, delta)]).deltas == [delta]
    assert recover([DeltaApplied(4, 6, delta), DeltaApplied(7, 7), DeltaApplied(8, 8, other)]).deltas == [other]


def test_calls_that_ended_just_before_the_journal_does_are_told_apart() -> None:
    def at(seconds: float) -> int:
        return int((WALL_OFFSET_S + seconds) * 1_000)

    records: list[JournalRecord] = [
        checkpoint(),
        admitted("a", at=900.0), answered("a", at=901.0), admitted("b", at=900.0),
        ended("a", ended_ms=at(905.0)), ended("b", ended_ms=at(906.5)), ended("unknown", ended_ms=at(906.5)),
    ]  # fmt: skip
    assert [each.cdr.id for each in recover(records).ended] == ["a", "b"]
    assert recover(records).ended[0].call.answered == answered("a", at=901.0)
    assert [each.cdr.id for each in recover([*records, Beat(907.5)]).ended] == ["b"]
    assert recover([*records, Beat(909.0)]).ended == []
    assert recover([*records, checkpoint(boot_id="new")]).ended == []


def test_a_call_that_was_not_written_again_keeps_the_boot_that_its_moments_are_of() -> None:
    recovered = recover([checkpoint(boot_id="old"), admitted("a"), checkpoint(boot_id="new")])
    assert (recovered.calls[0].boot_id, recovered.boot_id) == ("old", "new")


def test_what_a_customer_spent_today_goes_by_its_own_midnight() -> None:
    noon = 20_000 * DAY_MS + 12 * 3_600_000
    start = Checkpoint(
        at_ms=noon, boot_id="b", entry_id=0, oldest_segment=0,
        accounts=(AccountState(1, 0, 20_000, 40), AccountState(2, 0, 20_000, 40)),
    )  # fmt: skip
    # 16:00 UTC is tomorrow in Auckland.
    records: list[JournalRecord] = [
        start,
        *(ended("x", customer_id=each, gross_nanos=5, ended_ms=noon + 4 * 3_600_000) for each in (1, 2)),
    ]
    by_customer = {state.customer_id: state for state in recover(records, {2: "Pacific/Auckland"}).accounts}
    assert by_customer[1] == AccountState(1, -5, 20_000, 45)
    assert by_customer[2] == AccountState(2, -5, 20_001, 5)
    assert recover(records, {1: "No/Such_Zone"}).accounts[0] == AccountState(1, -5, 20_000, 45)


STEPS = st.lists(
    st.tuples(st.sampled_from(["admit", "answer", "extend", "end", "credit", "keep"]), st.integers(0, 4)), max_size=60
)


@given(STEPS, st.lists(st.integers(0, 60), max_size=4), st.integers(0, 60))
def test_any_history_comes_to_the_same_from_any_of_its_checkpoints(
    steps: list[tuple[str, int]], checks: list[int], begin: int
) -> None:
    """Calls of 2 customers and credits, with checkpoints wherever; reading may begin at any of them."""
    held: dict[str, int] = {}
    money = {1: 10_000, 2: 10_000}
    entry_id = serial = 0
    names: dict[int, str] = {}
    records: list[JournalRecord] = [checkpoint(dict(money))]
    starts = [0]
    for number, (what, which) in enumerate(steps):
        customer_id = 1 + which % 2
        name = names.get(which, "")
        if what == "admit" and name not in held:
            serial += 1
            names[which] = name = f"call{serial}"
            held[name] = 10
            records.append(admitted(name, customer_id=customer_id, held_nanos=10))
        elif what == "answer" and name in held:
            records.append(answered(name))
        elif what == "extend" and name in held:
            held[name] += 7
            records.append(Extended(name, held[name]))
        elif what == "end" and name in held:
            charge = held.pop(name) - 3
            money[customer_id] -= charge
            records.append(ended(name, customer_id=customer_id, gross_nanos=charge))
        elif what == "credit":
            entry_id += 1
            money[customer_id] += which
            records.append(Credited(entry_id, customer_id, which))
        elif what == "keep":
            records += [Kept(admitted(each), None, nanos) for each, nanos in held.items()]
        if number in checks:
            starts.append(len(records))
            records.append(checkpoint(dict(money), entry_id=entry_id, live=tuple(held)))
            records += [Kept(admitted(each), None, nanos) for each, nanos in held.items()]
    whole = recover(records)
    part = recover(records[starts[begin % len(starts)] :])
    for recovered in (whole, part):
        assert recovered.findings == []
        assert balances(recovered) == money
        assert recovered.entry_id == entry_id
        assert {call.admitted.id: call.held_nanos for call in recovered.calls} == held
