"""A call of the past, decided again: by the same code, at its own time, with what is proposed.

What the moment decided stays as it was, since nobody knows how it would have gone otherwise: call
rates, channels and money that refused a call; gateways that were busy, at rest or down; vendors
that were tried and failed. Rotations stay where they stood. A vendor who was never tried is taken
to answer as the call was answered, for as long as it was talked.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Final

import msgspec

from rating.quotes import price
from switch.policy.buckets import Buckets
from switch.policy.causes import Cause
from switch.policy.decide import decide
from switch.policy.live import Live
from switch.policy.tables import Tables
from switch.policy.vendors import choose_gateway
from switch.policy.verdicts import Facts, Option, Plan, Reject, Skip
from switch.records import Attempt, Candidate
from switch.snapshot import IngressRoute, RateCard, Record, Revision, Snapshot

OF_THE_MOMENT: Final = frozenset(
    str(cause)
    for cause in (
        Cause.CREDENTIALS_MISSING,
        Cause.CREDENTIALS_WRONG,
        Cause.CREDENTIALS_THROTTLED,
        Cause.CPS_EXCEEDED,
        Cause.CHANNELS_EXCEEDED,
        Cause.BANDWIDTH_EXCEEDED,
        Cause.CLI_REFUSED,
        Cause.BALANCE_INSUFFICIENT,
        Cause.DAILY_SPEND_REACHED,
        Cause.OVERLOAD,
        Cause.DRAINING,
        Cause.STORE_FAILED,
    )
)
"""Refusals that no price and no route had a part in."""
PASSED_OVER: Final = frozenset({"channels", "cps", "unhealthy", "insecure"})
"""Outcomes of candidates that no gateway could take at that moment."""
ROTATIONS: Final = frozenset({"weighted", "round_robin"})

_REFUSALS: Final = frozenset(str(cause) for cause in list(Cause)[: list(Cause).index(Cause.NORMAL)])
_attempts: Final = msgspec.json.Decoder(tuple[Attempt, ...])
_candidates: Final = msgspec.json.Decoder(tuple[Candidate, ...])


class DeckChange(msgspec.Struct, frozen=True, kw_only=True):
    """A card priced by this revision all the time; `path` is its deck, below the data folder."""

    card_id: int
    revision_id: int
    path: str


class RouteChange(msgspec.Struct, frozen=True, kw_only=True):
    """Fields of the switch's route record, by name; `route_id` None is every route."""

    route_id: int | None
    fields: dict[str, str | int | None]


class Changes(msgspec.Struct, frozen=True, kw_only=True):
    decks: tuple[DeckChange, ...] = ()
    routes: tuple[RouteChange, ...] = ()


class PastCall(msgspec.Struct, frozen=True):
    """The columns of a stored CDR that a replay reads, in this order."""

    invited_ms: int
    number: int
    id: str
    direction: str
    source: str
    transport: str
    dialled_in: str
    cli_in: str
    sip_user_id: int | None
    route_id: int | None
    answered_ms: int | None
    duration_ms: int
    cause: str
    currency: str
    card_id: int | None
    prefix: str
    destination: str
    net_nanos: int
    gross_nanos: int
    cost_nanos: int
    attempts: str
    explanation: str


class Outcome(msgspec.Struct, frozen=True):
    """How a call goes: refused with a cause, or admitted (cause empty) to a vendor at a price."""

    cause: str
    currency: str
    route_id: int | None
    card_id: int | None
    """The buy card that it leaves through; None where no vendor was reached."""
    provider_id: int | None
    prefix: str
    destination: str
    net_nanos: int = 0
    gross_nanos: int = 0
    cost_nanos: int = 0

    @property
    def is_admitted(self) -> bool:
        return not self.cause


class Replayed(msgspec.Struct, frozen=True):
    before: Outcome
    after: Outcome
    is_kept: bool
    """Decided by the moment, and left as it was."""


def apply_changes(records: Sequence[Record], changes: Changes) -> tuple[Record, ...]:
    """The configuration with what is proposed. Changes of one route come after those of all."""
    decks = {change.card_id: Revision(id=change.revision_id, path=change.path) for change in changes.decks}
    changed: list[Record] = []
    for record in records:
        if isinstance(record, RateCard) and record.id in decks:
            record = msgspec.structs.replace(record, revisions=(decks[record.id],))
        elif isinstance(record, IngressRoute):
            for wanted in (None, record.id):
                for change in changes.routes:
                    if change.route_id == wanted:
                        record = msgspec.structs.replace(record, **change.fields)
        changed.append(record)
    return tuple(changed)


class Replayer:
    """The configuration that calls are decided by, with what is proposed.

    Args:
        records: with each card's revisions of the calls' time.
        max_duration_s: the installation's limit, for routes without one.
    """

    def __init__(self, records: Sequence[Record], data_folder: Path, changes: Changes, max_duration_s: int) -> None:
        self.tables = Tables(data_folder)
        self.tables.load(Snapshot(version=1, records=apply_changes(records, changes)))
        self._max_duration_s = max_duration_s
        self._live = Live()
        self._rng = Random(0)
        self._is_any_turned = any(change.route_id is None and "strategy" in change.fields for change in changes.routes)
        self._turned = {change.route_id for change in changes.routes if "strategy" in change.fields}
        """Routes whose strategy is proposed: their rotations begin anew."""

    def replay(self, call: PastCall) -> Replayed:
        attempts = _attempts.decode(call.attempts)
        before = _as_it_was(call, attempts)
        # Without an attempt it was refused, or its caller gave up while it waited for its turn.
        is_of_the_moment = not attempts and (call.cause in OF_THE_MOMENT or call.cause not in _REFUSALS)
        if call.direction != "outbound" or is_of_the_moment:
            return Replayed(before, before, is_kept=True)
        return Replayed(before, self._decide(call, attempts), is_kept=False)

    def _decide(self, call: PastCall, attempts: tuple[Attempt, ...]) -> Outcome:
        user = None
        if call.sip_user_id is not None:
            user = self.tables.users.get(call.sip_user_id)
            if user is None:
                return _refused(Cause.SOURCE_UNKNOWN, call, None)
        # Nobody else calls: every bucket is full.
        self._live.buckets = Buckets()
        facts = Facts(
            _host(call.source),
            call.transport,
            call.dialled_in,
            call.cli_in,
            call.invited_ms,
            0.0,
            user,
            0,
            self._max_duration_s,
        )
        verdict = decide(self.tables, self._live, facts)
        if isinstance(verdict, Reject):
            return _refused(verdict.cause, call, verdict)
        option = self._choose(call, attempts, verdict)
        sell = verdict.sell
        if option is None:
            return Outcome(
                Cause.NO_VENDOR.value, call.currency, verdict.route.id, None, None, sell.row.prefix, sell.row.name
            )
        answered_ms = call.answered_ms or 0
        charge = price(sell, call.duration_ms, answered_ms)
        cost = price(option.quote, call.duration_ms, answered_ms)
        return Outcome(
            "",
            verdict.sell_card.record.currency,
            verdict.route.id,
            option.card.id,
            option.provider.id,
            sell.row.prefix,
            sell.row.name,
            charge.net_nanos,
            charge.gross_nanos,
            cost.net_nanos,
        )

    def _choose(self, call: PastCall, attempts: tuple[Attempt, ...], plan: Plan) -> Option | None:
        """The first vendor in order who is not known to have failed, or to have been out of reach."""
        explanation = _candidates.decode(call.explanation)
        ended_with = _carrier(attempts)
        failed = {attempt.card_id for attempt in attempts if attempt is not ended_with}
        passed_over = {candidate.card_id for candidate in explanation if candidate.outcome in PASSED_OVER}
        options = plan.options
        if plan.route.strategy in ROTATIONS and not (self._is_any_turned or plan.route.id in self._turned):
            places = {candidate.card_id: place for place, candidate in enumerate(explanation)}
            options = sorted(options, key=lambda option: places.get(option.card.id, len(places)))
        for option in options:
            if ended_with is not None and option.card.id == ended_with.card_id:
                return option
            if option.card.id in failed or option.card.id in passed_over:
                continue
            chosen = choose_gateway(
                self.tables, self._live, option, 0.0, call.invited_ms, self._rng, set(), is_simulated=True
            )
            if not isinstance(chosen, Skip):
                return option
        return None


def _as_it_was(call: PastCall, attempts: tuple[Attempt, ...]) -> Outcome:
    carrier = _carrier(attempts)
    is_refused = not attempts and call.cause in _REFUSALS
    return Outcome(
        call.cause if is_refused else "",
        call.currency,
        call.route_id,
        None if carrier is None else carrier.card_id,
        None if carrier is None else carrier.provider_id,
        call.prefix,
        call.destination,
        call.net_nanos,
        call.gross_nanos,
        call.cost_nanos,
    )


def _carrier(attempts: tuple[Attempt, ...]) -> Attempt | None:
    """The attempt that was answered, else the one that the call ended with."""
    for attempt in attempts:
        if attempt.answered_ms is not None:
            return attempt
    return attempts[-1] if attempts else None


def _refused(cause: Cause, call: PastCall, reject: Reject | None) -> Outcome:
    row = None if reject is None or reject.sell is None else reject.sell.row
    return Outcome(
        cause.value,
        call.currency,
        None if reject is None else reject.route_id,
        None,
        None,
        "" if row is None else row.prefix,
        "" if row is None else row.name,
    )


def _host(source: str) -> str:
    """The address of `192.0.2.1:5060` or `[2001:db8::1]:5060`."""
    host = source.rpartition(":")[0]
    return host[1:-1] if host.startswith("[") else host
