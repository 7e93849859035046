"""Whether all money adds up: in the store by itself, and between the store and the switch.

The switch's balances move while they are compared, so they are compared with every balance that the
store's ledger went through meanwhile, once the journal is read to its end; and what differs must
differ again and again before it is told.
"""

from __future__ import annotations

import asyncio
from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import accumulate
from typing import Final, Literal

import msgspec
from sqlalchemy import func, select

from control.services.billing_checks import BILLING_CHECKS
from control.services.context import Context
from control.services.errors import SwitchAway
from control.services.fields import Moment, ms_moment
from control.services.store_checks import CHECKS, VIOLATIONS_MAX, Violation, run_check
from control.store import tables
from control.store.engine import Tx
from rating.money import format_amount
from switch.frames import Account, LiveCall

READ_WAIT_S: Final = 5.0
"""How long the journal may take to be read to its end."""
LOOKS: Final = 4
"""What differs in every one of them is a violation."""
LOOK_DELAY_S: Final = 0.3

_BALANCES: Final = (
    "switch_has_the_balances",
    "The switch's balances are the store's, calls that are still to be read from the journal counted in.",
)
_HOLDS: Final = ("holds_have_their_calls", "No hold is below 0, and what is held is held by calls that are up.")


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    claim: str
    state: Literal["holds", "violated", "skipped"]
    detail: str = ""
    """Why it was skipped."""
    violations: list[Violation] = []
    has_more: bool = False
    """There are more violations than are shown."""


class Report(msgspec.Struct, frozen=True, kw_only=True):
    is_sound: bool
    """No check is violated."""
    checked_at: Moment
    checks: list[Outcome]


async def check(ctx: Context) -> Report:
    """Run every check; the store's read a steady view of it and stop nobody."""
    outcomes: list[Outcome] = []
    async with ctx.store.read() as tx:
        for each in (*CHECKS, *BILLING_CHECKS):
            outcomes.append(_outcome(each.name, each.claim, await run_check(tx, each)))
    outcomes += await _check_switch(ctx)
    is_sound = all(outcome.state != "violated" for outcome in outcomes)
    return Report(is_sound=is_sound, checked_at=ms_moment(ctx.now_ms()), checks=outcomes)


class _Look(msgspec.Struct, frozen=True):
    """The switch's money, and every balance of the store's between just before and just after."""

    accounts: list[Account]
    calls: list[LiveCall]
    balances: dict[int, set[int]]


async def _check_switch(ctx: Context) -> list[Outcome]:
    found: dict[str, dict[str, Violation]] = {}
    for number in range(LOOKS):
        if number:
            await asyncio.sleep(LOOK_DELAY_S)
        try:
            look = await _look(ctx)
        except SwitchAway as error:
            return [_skipped(*_BALANCES, str(error)), _skipped(*_HOLDS, str(error))]
        seen = {_HOLDS[0]: {each.id: each for each in _wrong_holds(look)}}
        if look.balances:
            seen[_BALANCES[0]] = {each.id: each for each in _wrong_balances(look)}
        for name, violations in seen.items():
            # The first look begins the list, each further one leaves what is wrong still.
            before = found.get(name, violations)
            found[name] = {key: each for key, each in violations.items() if key in before}
        if not any(found.values()) and _BALANCES[0] in found:
            break
    outcomes = []
    for name, claim in (_BALANCES, _HOLDS):
        if name in found:
            outcomes.append(_outcome(name, claim, list(found[name].values())))
        else:
            outcomes.append(_skipped(name, claim, f"the journal was not read to its end within {READ_WAIT_S:g} s"))
    return outcomes


async def _look(ctx: Context) -> _Look:
    """Ask both sides; no balances where the journal is not read to its end in time.

    Raises:
        SwitchAway: it cannot be asked.
    """
    if not ctx.switch.is_connected:
        raise SwitchAway
    is_read = await ctx.wait_read(READ_WAIT_S)
    async with ctx.store.read() as tx:
        last, before = await _read_balances(tx)
    accounts, calls = await asyncio.gather(ctx.switch.read_accounts(), ctx.switch.list_calls())
    is_read = is_read and await ctx.wait_read(READ_WAIT_S)
    if not is_read:
        return _Look(accounts, calls, {})
    async with ctx.store.read() as tx:
        moved = await _read_entries(tx, last)
    customers = {*before, *moved, *(account.customer_id for account in accounts)}
    balances = {each: set(accumulate(moved[each], initial=before.get(each, 0))) for each in customers}
    return _Look(accounts, calls, balances or {0: {0}})


async def _read_balances(tx: Tx) -> tuple[int, dict[int, int]]:
    """The last entry, and balances as its entries make them, by one statement."""
    accounts = tables.accounts
    last = select(func.max(tables.ledger_entries.c.id)).scalar_subquery()
    rows = (await tx.execute(select(last, accounts.c.customer_id, accounts.c.balance_nanos))).all()
    return (rows[0][0] or 0) if rows else 0, {customer_id: balance for _, customer_id, balance in rows}


async def _read_entries(tx: Tx, after: int) -> defaultdict[int, list[int]]:
    entries = tables.ledger_entries.c
    query = select(entries.customer_id, entries.amount_nanos).where(entries.id > after).order_by(entries.id)
    moved: defaultdict[int, list[int]] = defaultdict(list)
    for customer_id, amount in (await tx.execute(query)).all():
        moved[customer_id].append(amount)
    return moved


def _wrong_balances(look: _Look) -> Iterator[Violation]:
    in_switch = {account.customer_id: account.balance_nanos for account in look.accounts}
    for customer_id, balances in sorted(look.balances.items()):
        balance = in_switch.get(customer_id, 0)
        if balance not in balances:
            stored = format_amount(min(balances, key=lambda each: abs(each - balance)))
            detail = f"{format_amount(balance)} in the switch, {stored} in the store"
            yield Violation("customer", str(customer_id), detail)


def _wrong_holds(look: _Look) -> Iterator[Violation]:
    held = Counter({account.customer_id: account.held_nanos for account in look.accounts})
    holds = Counter({account.customer_id: account.holds for account in look.accounts})
    by_calls: Counter[int] = Counter()
    calls: Counter[int] = Counter()
    for call in look.calls:
        by_calls[call.customer_id] += call.held_nanos
        calls[call.customer_id] += 1
    for customer_id in sorted({*held, *calls}):
        wrong = held[customer_id] < 0 or held[customer_id] != by_calls[customer_id]
        if wrong or holds[customer_id] > calls[customer_id]:
            detail = (
                f"{format_amount(held[customer_id])} held by {holds[customer_id]} holds, "
                f"{format_amount(by_calls[customer_id])} by {calls[customer_id]} calls"
            )
            yield Violation("customer", str(customer_id), detail)


def _outcome(name: str, claim: str, violations: list[Violation]) -> Outcome:
    return Outcome(
        name=name,
        claim=claim,
        state="violated" if violations else "holds",
        violations=violations[:VIOLATIONS_MAX],
        has_more=len(violations) > VIOLATIONS_MAX,
    )


def _skipped(name: str, claim: str, why: str) -> Outcome:
    return Outcome(name=name, claim=claim, state="skipped", detail=why)
