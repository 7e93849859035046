"""What a replay adds up to: before and after, in all, by destination, by vendor, by cause."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Final

import msgspec

from control.services.cdr_export import inert
from control.services.replay_calls import Outcome, PastCall, Replayed
from control.services.replay_report import (
    ChangedCall,
    DestinationTotal,
    Difference,
    Move,
    ReplayResult,
    Sums,
    Total,
    VendorTotal,
)
from rating.money import ceil_div, format_amount

DESTINATIONS_MAX: Final = 50_000
"""Destinations that are told apart, some kilobyte each; what comes after goes into one."""
DESTINATIONS_SHOWN: Final = 1_000
EXAMPLES_MAX: Final = 100
MOVES_MAX: Final = 10_000
OTHERS: Final = "(all others)"


class _Side:
    def __init__(self) -> None:
        self.admitted = 0
        self.answered = 0
        self.talk_ms = 0
        self.net = 0
        self.gross = 0
        self.cost = 0

    def add(self, call: PastCall, outcome: Outcome) -> None:
        if not outcome.is_admitted:
            return
        self.admitted += 1
        # A call that was refused then was not answered, whatever becomes of it now.
        if call.answered_ms is not None:
            self.answered += 1
            self.talk_ms += call.duration_ms
        self.net += outcome.net_nanos
        self.gross += outcome.gross_nanos
        self.cost += outcome.cost_nanos

    def shown(self) -> Sums:
        return Sums(
            admitted=self.admitted,
            answered=self.answered,
            talk_s=ceil_div(self.talk_ms, 1000),
            charge=format_amount(self.net),
            gross=format_amount(self.gross),
            cost=format_amount(self.cost),
            profit=format_amount(self.net - self.cost),
        )


class _Pair:
    """Both sides of some calls in one currency."""

    def __init__(self) -> None:
        self.calls = 0
        self.changed = 0
        self.before = _Side()
        self.after = _Side()

    def add(self, call: PastCall, replayed: Replayed, is_changed: bool) -> None:
        self.calls += 1
        self.changed += is_changed
        self.before.add(call, replayed.before)
        self.after.add(call, replayed.after)

    def profit_difference(self) -> int:
        return (self.after.net - self.after.cost) - (self.before.net - self.before.cost)

    def difference(self) -> Difference:
        return Difference(
            charge=format_amount(self.after.net - self.before.net),
            gross=format_amount(self.after.gross - self.before.gross),
            cost=format_amount(self.after.cost - self.before.cost),
            profit=format_amount(self.profit_difference()),
        )


class ReplaySums:
    """Takes calls one by one; its size does not grow with their number."""

    def __init__(self, providers: dict[int, str]) -> None:
        self._providers = providers
        self.calls = 0
        self.changed = 0
        self.kept = 0
        self._totals: dict[str, _Pair] = {}
        self._destinations: dict[tuple[str, str, str], _Pair] = {}
        self._vendors: dict[tuple[int, str], _Pair] = {}
        self._moves: dict[tuple[int | None, int | None], int] = {}
        self._refused_before: dict[str, int] = {}
        self._refused_after: dict[str, int] = {}
        self._newly_refused: dict[str, int] = {}
        self._newly_admitted: dict[str, int] = {}
        self._examples: list[ChangedCall] = []

    def add(self, call: PastCall, replayed: Replayed) -> None:
        before, after = replayed.before, replayed.after
        is_changed = not is_same(before, after)
        self.calls += 1
        self.changed += is_changed
        self.kept += replayed.is_kept
        # A call that changes its currency would have two halves; the sums of each want the whole call.
        self._totals.setdefault(before.currency, _Pair()).add(call, replayed, is_changed)
        self._destination(before, after).add(call, replayed, is_changed)
        self._count_vendors(call, before, after)
        if before.cause:
            _count(self._refused_before, before.cause)
        if after.cause:
            _count(self._refused_after, after.cause)
        if after.cause and not before.cause:
            _count(self._newly_refused, after.cause)
        elif before.cause and not after.cause:
            _count(self._newly_admitted, before.cause)
        elif before.provider_id != after.provider_id and not after.cause:
            move = (before.provider_id, after.provider_id)
            if move in self._moves or len(self._moves) < MOVES_MAX:
                self._moves[move] = self._moves.get(move, 0) + 1
        if is_changed and len(self._examples) < EXAMPLES_MAX:
            self._examples.append(self._example(call, before, after))

    def result(self, notes: list[str]) -> ReplayResult:
        ordered = self._ordered()
        shown = ordered[:DESTINATIONS_SHOWN]
        return ReplayResult(
            calls=self.calls,
            changed=self.changed,
            kept=self.kept,
            totals=[
                Total(
                    currency=currency,
                    calls=pair.calls,
                    before=pair.before.shown(),
                    after=pair.after.shown(),
                    difference=pair.difference(),
                )
                for currency, pair in sorted(self._totals.items())
            ],
            refused_before=_by_count(self._refused_before),
            refused_after=_by_count(self._refused_after),
            newly_refused=_by_count(self._newly_refused),
            newly_admitted=_by_count(self._newly_admitted),
            moves=[
                Move(
                    from_provider_id=source,
                    from_provider=self._name(source),
                    to_provider_id=target,
                    to_provider=self._name(target),
                    calls=calls,
                )
                for (source, target), calls in sorted(self._moves.items(), key=lambda each: -each[1])
            ],
            vendors=[
                VendorTotal(
                    provider_id=provider_id,
                    provider=self._name(provider_id),
                    currency=currency,
                    before=pair.before.shown(),
                    after=pair.after.shown(),
                )
                for (provider_id, currency), pair in sorted(self._vendors.items())
            ],
            destinations=[_destination_total(key, pair) for key, pair in shown],
            destinations_more=len(ordered) - len(shown),
            examples=self._examples,
            notes=notes,
        )

    def write_csv(self, path: Path) -> None:
        """A line per destination, then one per currency for all; RFC 4180."""
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(("currency", "prefix", "destination", "calls", "changed", *_SIDES, *_DIFFERENCES))
            for key, pair in self._ordered():
                total = _destination_total(key, pair)
                writer.writerow((total.currency, total.prefix, inert(total.destination), *_cells(pair)))
            for currency, pair in sorted(self._totals.items()):
                writer.writerow((currency, "", "TOTAL", *_cells(pair)))

    def _ordered(self) -> list[tuple[tuple[str, str, str], _Pair]]:
        return sorted(self._destinations.items(), key=lambda each: (-abs(each[1].profit_difference()), each[0]))

    def _destination(self, before: Outcome, after: Outcome) -> _Pair:
        # One place for a call, so that both sides can be compared; the proposed deck may cut finer.
        priced = before if before.prefix else after
        key = (before.currency, priced.prefix, priced.destination)
        if key not in self._destinations and len(self._destinations) >= DESTINATIONS_MAX:
            key = (before.currency, "", OTHERS)
        return self._destinations.setdefault(key, _Pair())

    def _count_vendors(self, call: PastCall, before: Outcome, after: Outcome) -> None:
        if before.provider_id is not None:
            self._vendors.setdefault((before.provider_id, before.currency), _Pair()).before.add(call, before)
        if after.provider_id is not None:
            self._vendors.setdefault((after.provider_id, after.currency), _Pair()).after.add(call, after)

    def _example(self, call: PastCall, before: Outcome, after: Outcome) -> ChangedCall:
        return ChangedCall(
            cdr_id=call.id,
            currency=before.currency,
            cause_before=before.cause,
            cause_after=after.cause,
            provider_before=self._name(before.provider_id),
            provider_after=self._name(after.provider_id),
            charge_before=format_amount(before.net_nanos),
            charge_after=format_amount(after.net_nanos),
            cost_before=format_amount(before.cost_nanos),
            cost_after=format_amount(after.cost_nanos),
        )

    def _name(self, provider_id: int | None) -> str:
        return "" if provider_id is None else self._providers.get(provider_id, f"provider {provider_id}")


def is_same(before: Outcome, after: Outcome) -> bool:
    """Whether a call goes as it went: refused alike, or to the same vendor's card for the same money."""
    if before.cause or after.cause:
        return before.cause == after.cause
    return (before.currency, before.card_id, before.net_nanos, before.gross_nanos, before.cost_nanos) == (
        after.currency,
        after.card_id,
        after.net_nanos,
        after.gross_nanos,
        after.cost_nanos,
    )


_SIDES: Final = tuple(f"{name}_{side}" for side in ("before", "after") for name in Sums.__struct_fields__)
_DIFFERENCES: Final = tuple(f"{name}_difference" for name in Difference.__struct_fields__)


def _cells(pair: _Pair) -> list[object]:
    sides = (msgspec.structs.astuple(side.shown()) for side in (pair.before, pair.after))
    both = [cell for side in sides for cell in side]
    return [pair.calls, pair.changed, *both, *msgspec.structs.astuple(pair.difference())]


def _destination_total(key: tuple[str, str, str], pair: _Pair) -> DestinationTotal:
    currency, prefix, destination = key
    return DestinationTotal(
        currency=currency,
        prefix=prefix,
        destination=destination,
        calls=pair.calls,
        changed=pair.changed,
        before=pair.before.shown(),
        after=pair.after.shown(),
        difference=pair.difference(),
    )


def _count(counts: dict[str, int], cause: str) -> None:
    counts[cause] = counts.get(cause, 0) + 1


def _by_count(counts: dict[str, int]) -> dict[str, int]:
    return dict(sorted(counts.items(), key=lambda each: (-each[1], each[0])))
