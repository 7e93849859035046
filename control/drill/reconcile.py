"""Holds what was seen from outside against the books. Pure: the same facts give the same verdict.

A difference is anything that must not be, whenever the kills came. What a kill may do to a call,
by the manual's rules, is listed instead: its caller knows of no answer, or recovery ended it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from typing import Final

import msgspec

from control.drill.books import Balance, Books, Charged
from control.drill.carrier import CUSTOMERS, CustomerPlan, bought, sold
from control.drill.plan import serial_of
from control.drill.witness import CallSeen, Kill, LegSeen, Witness
from rating.money import format_amount, parse_amount

TOLERANCE_MS: Final = 1_000
"""Packets and their processing take time: a CDR's moments may lie so far outside of the time between
what one peer sent and the other one received."""
ROUNDING_MS: Final = 1
"""Moments and duration are each rounded to whole milliseconds."""
BY_SWITCH: Final = frozenset({"credit_exhausted", "lost_in_restart", "session_expired", "keepalive_failed"})
"""Causes of ends that no peer asked for."""
UNHEARD_MS: Final = 2_000
"""From the end of a call to the kill that may have kept it from its caller."""
KILL_BEFORE_MS: Final = 1_000
KILL_AFTER_MS: Final = 60_000
"""A call that was under way this close to a kill may have been cut by it."""


class Verdict(msgspec.Struct, kw_only=True):
    differences: list[str] = []
    cut: list[str] = []
    """Calls that a kill cut, and how they went."""
    checked: dict[str, int] = {}
    """How much was compared, by name."""

    def check(self, what: str) -> None:
        self.checked[what] = self.checked.get(what, 0) + 1


def reconcile(witness: Witness, books: Books) -> Verdict:
    """All invariants; a line for each difference."""
    verdict = Verdict()
    plans = {each.name: each for each in CUSTOMERS}
    customers = {each.id: plans[each.name] for each in books.balances if each.name in plans}
    by_call: dict[str, list[Charged]] = defaultdict(list)
    for cdr in books.cdrs:
        by_call[cdr.call_id].append(cdr)
    legs: dict[int, list[LegSeen]] = defaultdict(list)
    for leg in witness.legs:
        legs[leg.serial].append(leg)
    for call in witness.calls:
        _check_call(call, by_call.pop(call.call_id, []), legs[call.plan.serial], witness.kills, verdict)
    for call_id, cdrs in by_call.items():
        verdict.differences.append(f"{len(cdrs)} CDRs of {call_id}, a call that nobody made")
    for cdr in books.cdrs:
        verdict.check("CDRs")
        verdict.differences += _faults_of_cdr(cdr, customers[cdr.customer_id], legs[serial_of(cdr.dialled)])
    for leg in witness.legs:
        verdict.check("vendor legs")
        if leg.is_up:
            verdict.differences.append(f"{leg.vendor} still has a leg of call {leg.serial} up")
    _check_money(witness, books, plans, verdict)
    if books.live_calls:
        verdict.differences.append(f"{books.live_calls} calls are still live")
    verdict.differences += [f"the API's own check: {line}" for line in books.broken_invariants]
    verdict.differences += [f"health: {line}" for line in books.health_faults]
    return verdict


def changes(before: Books, after: Books) -> list[str]:
    """What one more restart has changed, which may be nothing."""
    lines = []
    for name in Books.__struct_fields__:
        was, now = getattr(before, name), getattr(after, name)
        if was == now:
            continue
        if isinstance(was, list):
            gone = [each for each in was if each not in now]
            come = [each for each in now if each not in was]
            lines.append(f"one more restart changed {name}: {gone[:3]} became {come[:3]}")
        else:
            lines.append(f"one more restart changed {name} from {was} to {now}")
    return lines


def _check_call(call: CallSeen, cdrs: list[Charged], legs: list[LegSeen], kills: list[Kill], verdict: Verdict) -> None:
    """Every call that came to an end has one CDR, of the times that its peers saw."""
    verdict.check("calls")
    name = f"call {call.plan.serial} ({call.call_id})"
    if len(cdrs) > 1:
        cdrs.sort(key=lambda cdr: cdr.invited_ms)
        if not all(_died_unheard(cdr, kills) for cdr in cdrs[:-1]):
            verdict.differences.append(f"{name} has {len(cdrs)} CDRs: {', '.join(cdr.id for cdr in cdrs)}")
            return
        verdict.cut.append(f"{name}: asked again, for the answer to its first INVITE died with the switch")
        del cdrs[:-1]
    is_cut = _is_near_a_kill(call, kills)
    if not call.status:
        story = f"{name}: its caller was never answered"
        (verdict.cut if is_cut else verdict.differences).append(story)
        if any(cdr.answered_ms is not None for cdr in cdrs):
            verdict.differences.append(f"{name}: its caller was never answered, and it is charged")
        if not cdrs and any(leg.answered_ms is not None for leg in legs):
            verdict.differences.append(f"{name} was answered by a vendor and has no CDR")
        return
    if not cdrs:
        verdict.differences.append(f"{name} ended with {call.status} and has no CDR")
        return
    cdr = cdrs[0]
    if not call.is_answered:
        verdict.check("refusals")
        if cdr.answered_ms is not None:
            verdict.differences.append(f"{name} was refused with {call.status} and is charged as answered")
        elif cdr.cause == "lost_in_restart":
            verdict.cut.append(f"{name}: refused with {call.status} by recovery")
        return
    if cdr.answered_ms is None:
        verdict.differences.append(f"{name} was answered and its CDR {cdr.id} says {cdr.cause}")
        return
    if cdr.cause in BY_SWITCH:
        verdict.check(f"ended by the switch: {cdr.cause}")
        if cdr.cause == "lost_in_restart":
            verdict.cut.append(f"{name}: ended by recovery after {cdr.duration_ms / 1_000:.3f} s")
    elif any(kill.victim != "control" and cdr.answered_ms < kill.at_ms < cdr.ended_ms for kill in kills):
        verdict.check("talks that went on through a kill of the switch")
    if not _knows_its_end(call, cdr):
        verdict.differences.append(
            f"{name} is over ({cdr.cause}) and its caller was not told: "
            f"{call.bye_status or 'no answer'} to its BYE later, and none from the other side"
        )
    _check_times(name, call, cdr, legs, verdict)


def _died_unheard(cdr: Charged, kills: list[Kill]) -> bool:
    """Refused so shortly before a kill that its caller may not have been told, and has sent the INVITE again."""
    if cdr.answered_ms is not None or cdr.gross_nanos:
        return False
    return any(kill.victim != "control" and 0 <= kill.at_ms - cdr.ended_ms <= UNHEARD_MS for kill in kills)


def _knows_its_end(call: CallSeen, cdr: Charged) -> bool:
    """By a BYE with its answer; to one that had ended the call before a kill, a 481 says so as well."""
    if call.is_ended:
        return True
    return call.bye_sent_ms is not None and call.bye_status == 481 and cdr.ended_ms >= call.bye_sent_ms - TOLERANCE_MS


def _check_times(name: str, call: CallSeen, cdr: Charged, legs: list[LegSeen], verdict: Verdict) -> None:
    """The answer lies between the vendor's 200 and its arrival, the end between a BYE and its answer."""
    answering = [leg for leg in legs if leg.answered_ms is not None]
    if not answering or cdr.answered_ms is None or call.final_ms is None:
        verdict.differences.append(f"{name} was answered, and by no vendor")
        return
    verdict.check("talk times")
    first = min(leg.answered_ms for leg in answering if leg.answered_ms is not None)
    if not first - TOLERANCE_MS <= cdr.answered_ms <= call.final_ms + TOLERANCE_MS:
        verdict.differences.append(
            f"{name}: answered at {cdr.answered_ms} by its CDR, between {first} and {call.final_ms} by its peers"
        )
    if abs(cdr.ended_ms - cdr.answered_ms - cdr.duration_ms) > ROUNDING_MS:
        verdict.differences.append(f"{name}: lasted {cdr.duration_ms} ms, and not from its answer to its end")
    if cdr.cause == "lost_in_restart":
        last = _last_moment(call, answering)
        if last is not None and cdr.ended_ms > last + TOLERANCE_MS:
            verdict.differences.append(f"{name}: charged until {cdr.ended_ms}, when its peers had ended at {last}")
        return
    sent, seen = _end_moments(call, answering)
    if sent is None or seen is None:
        return
    # A call that the switch ends is over for billing when it says so, and its BYEs may be repeated.
    earliest = sent - TOLERANCE_MS if cdr.cause not in BY_SWITCH else cdr.answered_ms
    if not earliest <= cdr.ended_ms <= seen + TOLERANCE_MS:
        verdict.differences.append(
            f"{name}: ended at {cdr.ended_ms} by its CDR ({cdr.cause}), between {sent} and {seen} by its peers"
        )


def _end_moments(call: CallSeen, legs: list[LegSeen]) -> tuple[int | None, int | None]:
    """The first sign of an end that a peer gave or got, and the first that it was known at the other side."""
    sent = [call.bye_sent_ms, *(leg.bye_sent_ms for leg in legs)]
    known = [call.bye_received_ms, *(leg.bye_received_ms for leg in legs)]
    done = [call.bye_done_ms, *(leg.bye_done_ms for leg in legs)]
    first_sent = [each for each in (*sent, *known) if each is not None]
    first_known = [each for each in (*known, *done) if each is not None]
    return min(first_sent, default=None), min(first_known, default=None)


def _last_moment(call: CallSeen, legs: list[LegSeen]) -> int | None:
    moments = [call.bye_sent_ms, call.bye_done_ms, call.bye_received_ms]
    for leg in legs:
        moments += [leg.bye_sent_ms, leg.bye_done_ms, leg.bye_received_ms]
    return max((each for each in moments if each is not None), default=None)


def _is_near_a_kill(call: CallSeen, kills: list[Kill]) -> bool:
    return any(call.invited_ms - KILL_BEFORE_MS <= kill.at_ms <= call.invited_ms + KILL_AFTER_MS for kill in kills)


def _faults_of_cdr(cdr: Charged, customer: CustomerPlan, legs: list[LegSeen]) -> Iterator[str]:
    """What a CDR must say by itself: times in order, and charges that are prices of its own duration."""
    name = f"CDR {cdr.id} of {cdr.call_id}"
    if cdr.ended_ms < cdr.invited_ms or (cdr.answered_ms is not None and cdr.answered_ms > cdr.ended_ms):
        yield f"{name} ends before it begins"
    if cdr.answered_ms is None:
        if cdr.gross_nanos or cdr.cost_nanos or cdr.duration_ms:
            yield f"{name} was not answered and is charged {format_amount(cdr.gross_nanos)}"
        return
    if not any(leg.answered_ms is not None for leg in legs):
        yield f"{name} is charged, and no vendor answered that call"
    want = sold(cdr.dialled, customer, cdr.duration_ms, cdr.answered_ms)
    got = (cdr.billed_s, cdr.net_nanos, cdr.tax_nanos, cdr.gross_nanos)
    if got != (want.billed_s, want.net_nanos, want.tax_nanos, want.gross_nanos):
        yield (
            f"{name} lasted {cdr.duration_ms} ms and costs {format_amount(cdr.gross_nanos)} for {cdr.billed_s} s, "
            f"not {format_amount(want.gross_nanos)} for {want.billed_s} s"
        )
    answered = [attempt for attempt in cdr.attempts if 200 <= attempt.status < 300]
    if len(answered) != 1:
        yield f"{name} has {len(answered)} answered attempts"
        return
    cost = bought(cdr.dialled, answered[0].vendor, cdr.duration_ms, cdr.answered_ms)
    if answered[0].cost_nanos != cost.net_nanos or cdr.cost_nanos != cost.net_nanos:
        yield f"{name} cost us {format_amount(cdr.cost_nanos)}, not {format_amount(cost.net_nanos)}"
    if cdr.margin_nanos != cdr.net_nanos - cdr.cost_nanos:
        yield f"{name} has a margin of {format_amount(cdr.margin_nanos)}"


def _check_money(witness: Witness, books: Books, plans: dict[str, CustomerPlan], verdict: Verdict) -> None:
    """Payments less charges are the balance, nothing is held, and nobody spent more than was allowed."""
    verdict.checked["looks at all accounts"] = witness.looks
    verdict.differences += [f"while calls ran, {line}" for line in witness.overdrawn]
    charged: dict[int, int] = defaultdict(int)
    for cdr in books.cdrs:
        charged[cdr.customer_id] += cdr.gross_nanos
    for payment in witness.payments:
        verdict.check("payments")
        if not payment.is_acknowledged:
            verdict.differences.append(f"payment {payment.key} of {payment.customer} was never acknowledged")
    for account in books.balances:
        plan = plans.get(account.name)
        if plan is not None:
            verdict.check("balances")
            paid = sum(parse_amount(each.amount) for each in witness.payments if each.customer == account.name)
            verdict.differences += _faults_of_balance(account, plan, paid, charged[account.id])


def _faults_of_balance(account: Balance, plan: CustomerPlan, paid: int, charged: int) -> Iterator[str]:
    name, limit = account.name, plan.debit_limit_nanos
    if paid - charged != account.balance_nanos:
        yield (
            f"{name}: paid {format_amount(paid)} - charged {format_amount(charged)} = {format_amount(paid - charged)}, "
            f"and the balance is {format_amount(account.balance_nanos)}"
        )
    if not account.is_live:
        yield f"{name}: the switch did not say what the balance is"
    if account.held_nanos:
        yield f"{name}: {format_amount(account.held_nanos)} are held for calls that are gone"
    if account.available_nanos != account.balance_nanos + limit - account.held_nanos:
        yield f"{name}: {format_amount(account.available_nanos)} are available"
    if charged > max(paid + limit, 0):
        yield f"{name}: overspent, {format_amount(charged)} of {format_amount(paid + limit)}"
