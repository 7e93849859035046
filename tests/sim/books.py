"""Keeps books beside the switch, from its records alone, and holds the switch against them.

Nothing here asks the ledger what it thinks: balances are opening + entries - charges, added up anew.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import msgspec

from rating.quotes import minute_rate_nanos, price
from rating.spending import DaySpend
from switch.billed import BilledCall
from switch.board import Board
from switch.call.call import ANSWERED, Call
from switch.policy.live import CARD, CUSTOMER, GATEWAY, PROVIDER, ROUTE, describe_key, layer_key
from switch.quote_facts import restored_quote
from switch.records import Admitted, Answered, CallEnded, Cdr, Credited, Extended, JournalRecord, Kept
from switch.recovered import Fold, Recovered
from switch.restoring import layer_keys
from switch.routed import RoutedCall
from switch.transaction.timers import TICK_S
from tests.sim.market import SELL_ROWS

if TYPE_CHECKING:
    from tests.sim.money_world import MoneyWorld


class Note:
    """An ended call and where it stands in the journal."""

    def __init__(self, sequence: int, cdr: Cdr) -> None:
        self.sequence = sequence
        self.cdr = cdr


class Books:
    """What every record so far comes to."""

    def __init__(self, openings: dict[int, int]) -> None:
        self.openings = openings
        self.ended: dict[str, Note] = {}
        self.admitted: dict[str, tuple[int, Admitted]] = {}
        """Every call that ever was let in, and the sequence of that record."""
        self.held: dict[str, int] = {}
        """Of calls that are up."""
        self.answered: dict[str, tuple[float, int]] = {}
        """When calls were answered, in true time, and in which boot."""
        self.unproven: set[str] = set()
        """Calls that were restored, and not heard of on both sides since."""
        self.gross: dict[int, int] = dict.fromkeys(openings, 0)
        self.fold = Fold()
        self.debts: dict[int, int] = {}
        """How far available money may be below zero: only limits that were lowered and debits put it there."""
        self.crowds: dict[int, int] = {}
        """Calls that a key may have above its limit, since the limit came after them."""

    # Records.

    def begin_run(self, zones: dict[int, str]) -> None:
        """A process starts: a replay would begin at what it writes first."""
        self.fold = Fold(zones)

    def note(self, last_sequence: int, records: Iterable[JournalRecord], world: MoneyWorld) -> None:
        listed = list(records)
        for sequence, record in enumerate(listed, last_sequence - len(listed) + 1):
            self.fold.take(record, f"sequence {sequence}")
            if isinstance(record, Admitted):
                assert record.id not in self.admitted, "an id is drawn once"
                self.admitted[record.id] = (sequence, record)
                self.held[record.id] = record.held_nanos
                check_admitted(record, world)
                assert not self._is_spent(record.customer_id, world), "no call once the day's limit is reached"
            elif isinstance(record, Extended):
                assert record.held_nanos > self.held[record.id], "a hold only grows"
                self.held[record.id] = record.held_nanos
            elif isinstance(record, Kept):
                assert record.held_nanos == self.held[record.admitted.id]
                if record.alive_at:
                    self.unproven.add(record.admitted.id)
                else:
                    self.unproven.discard(record.admitted.id)
            elif isinstance(record, Answered):
                assert record.id in self.held, "only a call that is up is answered"
                self.answered[record.id] = (world.true_now(), world.boots)
            elif isinstance(record, CallEnded):
                self._end(sequence, record.cdr)
                self._check_duration(record.cdr, world)
                if record.cdr.cause == "daily_spend_reached":
                    assert self._is_spent(record.cdr.customer_id, world)
            elif isinstance(record, Credited):
                assert (record.customer_id, record.amount_nanos) == world.bank.amount_of(record.entry_id)

    def _end(self, sequence: int, cdr: Cdr) -> None:
        assert cdr.id not in self.ended, f"{cdr.id} has two CDRs"
        self.ended[cdr.id] = Note(sequence, cdr)
        self.gross[cdr.customer_id] += cdr.gross_nanos
        known = self.admitted.get(cdr.id)
        if known is None:
            assert (cdr.gross_nanos, cdr.answered_ms) == (0, None), "a refused call costs nothing"
            return
        held = self.held.pop(cdr.id)
        charge = price(restored_quote(known[1].sell), cdr.duration_ms, cdr.answered_ms or 0)
        assert (cdr.billed_s, cdr.net_nanos, cdr.tax_nanos) == (charge.billed_s, charge.net_nanos, charge.tax_nanos)
        assert cdr.gross_nanos == cdr.net_nanos + cdr.tax_nanos <= held, f"{cdr.gross_nanos} of {held} held"
        assert cdr.duration_ms >= 0
        if cdr.answered_ms is None:
            assert cdr.duration_ms == 0
        else:
            assert abs(cdr.ended_ms - cdr.answered_ms - cdr.duration_ms) <= 1

    def _check_duration(self, cdr: Cdr, world: MoneyWorld) -> None:
        """A call lasted as long as it did, whatever its clocks say."""
        if cdr.answered_ms is None:
            return
        answered_at, boot = self.answered[cdr.id]
        if boot != world.boots and not world.is_clock_steady:
            return  # between two boots there is only the wall clock to go by
        lasted_ms = (world.true_now() - answered_at) * 1_000
        assert cdr.duration_ms <= lasted_ms + 2, f"{cdr.duration_ms} ms charged of {lasted_ms}"
        is_known_to_the_end = cdr.cause == "normal" or cdr.id not in self.unproven
        if is_known_to_the_end and cdr.cause in ("normal", "killed", "no_ack", "session_expired"):
            assert cdr.duration_ms >= lasted_ms - 2, f"{cdr.duration_ms} ms charged of {lasted_ms}"

    def _is_spent(self, customer_id: int, world: MoneyWorld) -> bool:
        limit = world.engine.board.tables.customers[customer_id].daily_spend_limit_nanos
        now_ms = world.engine.board.now_ms(world.now)
        return limit is not None and world.engine.board.accounts.spent_today(customer_id, now_ms) >= limit

    def lose_after(self, sequence: int, recovered: Recovered) -> None:
        """The power took every record behind this one."""
        for call_id, note in list(self.ended.items()):
            if note.sequence > sequence:
                del self.ended[call_id]
                self.gross[note.cdr.customer_id] -= note.cdr.gross_nanos
        for call_id, (at, _) in list(self.admitted.items()):
            if at > sequence:
                del self.admitted[call_id]
        self.held = {call.admitted.id: call.held_nanos for call in recovered.calls}

    def balance(self, customer_id: int, entries: int) -> int:
        return self.openings[customer_id] + entries - self.gross[customer_id]

    # Checks.

    def check(self, world: MoneyWorld) -> None:
        """Everything that must be so at any moment between two inputs."""
        board = world.engine.board
        live = board.calls.live
        check_holds(board)
        assert set(self.held) == set(live), "calls that are up have an admission and no end"
        assert set(self.admitted) == set(self.held) | (set(self.ended) & set(self.admitted)), (
            "no admission without an end"
        )
        for customer_id in self.openings:
            booked = world.bank.booked(customer_id, board.accounts.ledger.entry_id)
            assert world.balance(customer_id) == self.balance(customer_id, booked), f"balance of {customer_id}"
        if world.is_clock_steady:
            self._check_spending(world)
        check_channels(board)
        self._check_floors(board)
        self._check_limits(board)
        check_paid_ahead(board, world.now)
        compare(self.fold.result(), world)
        counters = board.counters
        begun = counters.get("calls_attempted", 0) + world.recovered_calls
        assert begun == world.cdrs_of_run + len(live) + len(world.engine.waiting), "each call has one CDR, or goes on"

    def _check_spending(self, world: MoneyWorld) -> None:
        """Today's spending is that of the calls that ended today, on the customer's clocks.

        One whose end was found out later, and lies before midnight, counts in the day that it was charged in.
        """
        board = world.engine.board
        now_ms = board.now_ms(world.now)
        for customer in board.tables.customers.values():
            zone = ZoneInfo(customer.time_zone)
            day, spent = date.min, 0
            for note in self.ended.values():
                if note.cdr.customer_id == customer.id and note.cdr.gross_nanos:
                    ended = datetime.fromtimestamp(note.cdr.ended_ms / 1_000, zone).date()
                    day, spent = (ended, 0) if ended > day else (day, spent)
                    spent += note.cdr.gross_nanos
            if datetime.fromtimestamp(now_ms / 1_000, zone).date() > day:
                spent = 0
            assert board.accounts.spent_today(customer.id, now_ms) == spent, f"spent today by {customer.id}"

    def forgive(self, board: Board) -> None:
        """A limit was lowered, an entry debited: what is below a limit now may stay there."""
        for account in board.accounts.ledger.accounts.values():
            self.debts[account.id] = min(0, account.available_nanos())
        self.crowds = {key: len(calls) for key, calls in board.live.calls.items()}

    def _check_floors(self, board: Board) -> None:
        for account in board.accounts.ledger.accounts.values():
            available = account.available_nanos()
            assert available >= self.debts.get(account.id, 0), f"customer {account.id} is overspent: {available}"
            self.debts[account.id] = min(0, available)

    def _check_limits(self, board: Board) -> None:
        tables = board.tables
        for key, limit in (
            *((layer_key(CUSTOMER, each.id), each.channels) for each in tables.customers.values()),
            *((layer_key(PROVIDER, each.id), each.channels) for each in tables.providers.values()),
            *((layer_key(GATEWAY, each.id), each.channels) for each in tables.gateways.values()),
            *((layer_key(ROUTE, each.id), each.channels) for each in tables.routes.values()),
        ):
            count = board.live.channels(key)
            if limit is not None:
                assert count <= max(limit, self.crowds.get(key, 0)), f"{describe_key(key)}: {count} calls"
            self.crowds[key] = count


def check_admitted(record: Admitted, world: MoneyWorld) -> None:
    """Priced by the list in force at its INVITE."""
    quote = restored_quote(record.sell)
    assert quote.revision_id == world.revisions[quote.card_id]
    assert quote.row in SELL_ROWS[quote.revision_id]
    if world.is_clock_steady:  # an INVITE that waits while the clock is set keeps the price of its arrival
        assert quote.at_ms == int((record.invited_at + record.wall_offset_s) * 1_000)
    assert quote.rate_nanos == minute_rate_nanos(quote, quote.at_ms)
    assert record.dialled_out.startswith(quote.row.prefix)


def check_holds(board: Board) -> None:
    """One hold for each live call, none besides."""
    ledger = board.accounts.ledger
    ledger.check()
    held = {
        hold.id: (account.id, hold.amount_nanos)
        for account in ledger.accounts.values()
        for hold in account.holds.values()
    }
    calls = {call_id: call for call_id, call in board.calls.live.items() if isinstance(call, BilledCall)}
    assert held == {call_id: (_admission(call).customer_id, call.held_nanos) for call_id, call in calls.items()}
    assert all(amount >= 0 for _, amount in held.values())
    for account in ledger.accounts.values():
        assert account.held_nanos == sum(amount for customer_id, amount in held.values() if customer_id == account.id)


def check_channels(board: Board) -> None:
    """Channel counts of every layer are those of the live calls, made anew from them."""
    expected: dict[int, set[object]] = {}
    for call in board.calls.live.values():
        assert isinstance(call, BilledCall)
        for key in layer_keys(_admission(call)):
            expected.setdefault(key, set()).add(call)
        channel, keys = _vendor_channel(call)
        for key in keys:
            expected.setdefault(key, set()).add(channel)
    assert board.live.calls == expected


def _vendor_channel(call: BilledCall) -> tuple[object, list[int]]:
    """What occupies a vendor's channel, and at which layers."""
    answered = call.answered
    if answered is not None:
        found = (answered.provider_id, answered.gateway_id, answered.card_id)
        channel: object = call if call.channel is None else call.channel
    elif isinstance(call, RoutedCall) and call.attempt is not None and not call.attempt.is_given_up:
        chosen = call.tries[call.attempts.index(call.attempt)]
        found = (chosen.option.provider.id, chosen.gateway.id, chosen.option.card.id)
        channel = call.attempt
    else:
        return None, []
    return channel, [layer_key(layer, each) for layer, each in zip((PROVIDER, GATEWAY, CARD), found, strict=True)]


def check_paid_ahead(board: Board, now: float) -> None:
    """Nobody talks on time that is not held for."""
    for call in board.calls.live.values():
        assert isinstance(call, BilledCall)
        if call.state == ANSWERED and call.sell is not None:
            assert now <= call.held_until + TICK_S, f"{call.id} talks {now - call.held_until} s beyond its hold"
            cost = price(call.sell, int((min(now, call.held_until) - call.answered_at) * 1000.0), 1).gross_nanos
            assert cost <= call.held_nanos, f"{call.id} talks for {cost} and holds {call.held_nanos}"


def compare(recovered: Recovered, world: MoneyWorld) -> None:
    """A replay of the journal up to here gives what the switch has."""
    board = world.engine.board
    accounts = board.accounts
    assert recovered.findings == [], recovered.findings
    assert recovered.has_balances == accounts.has_balances
    assert recovered.entry_id == accounts.ledger.entry_id
    now_ms = board.now_ms(world.now)
    told = {state.customer_id: state for state in recovered.accounts}
    for account in accounts.ledger.accounts.values():
        state = told.get(account.id)
        assert account.balance_nanos == (0 if state is None else state.balance_nanos)
        zone = board.tables.customers[account.id].time_zone
        day = DaySpend(zone) if state is None else DaySpend(zone, state.spent_day, state.spent_nanos)
        assert accounts.spent_today(account.id, now_ms) == day.spent(now_ms), f"spent today by {account.id}"
    found = {call.admitted.id: call for call in recovered.calls}
    assert found.keys() == board.calls.live.keys()
    for call_id, call in board.calls.live.items():
        assert isinstance(call, BilledCall)
        again = found[call_id]
        assert again.held_nanos == call.held_nanos
        assert _without_invite(again.admitted) == _without_invite(_admission(call))
        assert (again.answered is not None) == (call.state == ANSWERED)
        if again.answered is not None:
            assert again.answered.answered_at == call.answered_at


def _admission(call: Call) -> Admitted:
    assert isinstance(call, BilledCall)
    assert call.admitted is not None, "live calls only"
    return call.admitted


def _without_invite(admitted: Admitted) -> Admitted:
    """What is written again of an answered call leaves its INVITE out."""
    return msgspec.structs.replace(admitted, invite=b"")
