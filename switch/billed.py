"""A call as money sees it: it talks on what it holds, holds more in time, and leaves a priced CDR.

The rule (hold): a call is let in with money put aside for its first stretch of talk. Before that
runs out the hold is extended, each time for twice as long, up to a longest stretch; near the end of
the credit for as much as is left, down to one increment. Where it cannot be extended, both sides
get their BYE at the very end of what was held. So no call ever costs more than it held, and no
number of calls at once passes what the customer had.
"""

from __future__ import annotations

from typing import Final

import msgspec

from rating.holding import UNLIMITED_MS, capped, covered_ms, more_nanos, next_total_nanos
from rating.quotes import Charge, Quote, price
from switch.board import Board
from switch.call.call import ANSWERED, Call
from switch.call.leg import Leg
from switch.call.relay import Relay
from switch.cdr import build_cdr, closed_attempt, delivery_attempt, length_ms, wall_ms
from switch.outputs import Flow
from switch.policy.causes import Cause
from switch.policy.live import CARD, GATEWAY, PROVIDER, layer_key
from switch.quote_facts import quote_facts
from switch.records import Admitted, Answered, CallEnded, Candidate, Extended, Kept, SessionState
from switch.records import Attempt as AttemptRecord
from switch.wire.message import Message, Request, Response
from switch.wire.sdp import description, kbps_of

EXTEND_AHEAD_S: Final = 1.0
"""How long before its end a hold is extended. Late enough to hold little, early enough for a busy loop."""
FOREVER: Final = 1e17


class BilledCall(Call):
    """What is known of a call beyond SIP, from its admission on; also of one from before a restart."""

    def __init__(self, board: Board, admitted: Admitted, ingress: Leg, source: Flow, keys: list[int]) -> None:
        super().__init__(
            admitted.id, board.layer, board.hops, board.ids, board.calls, ingress, source, admitted.invited_at
        )
        self.board: Board = board
        self.admitted: Admitted | None = admitted
        """None once it is over."""
        self.sell: Quote | None = None
        self.buy: Quote | None = None
        """Of the vendor that answered."""
        self.held_nanos: int = admitted.held_nanos
        self.held_until: float = FOREVER
        """The end of the talk that is held for; from the answer on."""
        self.codecs: str = ""
        self.failed: tuple[AttemptRecord, ...] = ()
        self.answered: AttemptRecord | None = None
        self.explanation: tuple[Candidate, ...] = ()
        self.channel: object | None = None
        """The attempt that occupies the vendor's channel; None: the call itself does."""
        self.is_unproven: bool = False
        """Restored after a restart, and not yet shown to be still up on both sides."""
        self.alive_at: float = 0.0
        """Restored: the last moment before the restart at which it is known to have been up."""
        self.kept_in: int = board.keeping
        self.is_challenged = admitted.is_challenged
        self.kbps_key: int = 0
        """Layer key of the endpoint whose bandwidth it takes from; 0: of none."""
        self.kbps_max: int = 0
        """Of that endpoint, by all its calls."""
        self._kbps: int = 0
        """Agreed upon; while an offer is open it may take more."""
        self._keys: list[int] = keys
        self._stretch_s: int = board.options.hold_initial_s
        board.live.enter_all(keys, self)

    # Bandwidth.

    def limit_kbps(self, key: int, most: int, kbps: int) -> None:
        """Take so much of an endpoint's bandwidth from now on."""
        self.kbps_key = key
        self.kbps_max = most
        self._kbps = kbps
        self.board.live.set_kbps(self, kbps)

    def note_media(self, message: Message) -> None:
        """The call goes on with what a message describes, if it describes anything."""
        body = description(message) if self.kbps_key else b""
        if body:
            media = self.media
            self._kbps = kbps_of(body, None) if media is None else media.kbps_of(body)
            self.board.live.set_kbps(self, self._kbps)

    def refuses_media(self, request: Request) -> bool:
        if super().refuses_media(request):
            return True
        body = description(request) if self.kbps_key else b""
        if not body:
            return False
        media = self.media
        live = self.board.live
        wanted = kbps_of(body, None) if media is None else media.kbps_of(body)
        has = live.kbps_of(self)
        if wanted <= has:
            return False
        if live.kbps(self.kbps_key) - has + wanted > self.kbps_max:
            self.board.count("offers_over_bandwidth")
            return True
        live.set_kbps(self, wanted)
        return False

    def on_refreshed(self, relay: Relay, response: Response, now: float) -> None:
        super().on_refreshed(relay, response, now)
        self.note_media(response)

    def on_relayed(self, relay: Relay, now: float) -> None:
        if self.kbps_key and self.state == ANSWERED:
            self.board.live.set_kbps(self, self._kbps)
        super().on_relayed(relay, now)

    # Time and money.

    def start_clock(self, now: float) -> None:
        """The call is answered: from here on it talks on what it holds."""
        self._cover()
        self._set_alarm(now)

    def on_time_over(self, now: float) -> None:
        limit_at = self._limit_at()
        if now < limit_at and self._extend(now):
            self._set_alarm(now)
        elif self.is_unproven and now >= min(self.held_until, limit_at):
            # Whether anybody still talked is not known, so it is not charged either.
            self.end_by_switch(Cause.LOST_IN_RESTART.value, now, self.last_proof())
        elif now >= limit_at:
            self.end_by_switch(Cause.MAX_DURATION.value, now, limit_at)
        elif now >= self.held_until and self._cap(now):
            self._set_alarm(now)
        elif now >= self.held_until:
            self.end_by_switch(Cause.CREDIT_EXHAUSTED.value, now, self.held_until)
        else:
            # Money may still come: the last try is at the end itself.
            self.wake_at(self.held_until)

    def end_by_switch(self, cause: str, now: float, ended_at: float = 0.0) -> None:
        if self.is_unproven and not ended_at:
            ended_at = self.last_proof()  # whoever ends it now: since then nobody was heard to talk
        super().end_by_switch(cause, now, ended_at)

    def on_proven(self, now: float) -> None:
        self.is_unproven = False
        self.board.records.append(self.keep())

    def spent_nanos(self, now: float) -> int:
        """What it would cost if it ended now."""
        sell = self.sell
        if sell is None or not self.answered_at:
            return 0
        duration_ms = length_ms(self.answered_at, now)
        return min(self.held_nanos, price(sell, duration_ms, _SOME_MOMENT_MS).gross_nanos)

    def _cover(self) -> None:
        sell = self.sell
        assert sell is not None, "priced calls only"
        covered = covered_ms(sell, self.held_nanos)
        self.held_until = FOREVER if covered == UNLIMITED_MS else self.answered_at + max(covered, 0) / 1000.0

    def _limit_at(self) -> float:
        admitted = self.admitted
        assert admitted is not None, "not over yet"
        return self.answered_at + admitted.max_duration_s

    def _set_alarm(self, now: float) -> None:
        """Wake up in time to hold more; where little is left, halfway to its end."""
        limit_at = self._limit_at()
        left_s = self.held_until - now
        ahead_s = EXTEND_AHEAD_S if left_s > 2.0 * EXTEND_AHEAD_S else left_s / 2.0
        self.wake_at(limit_at if limit_at <= self.held_until else self.held_until - max(ahead_s, 0.0))

    def _extend(self, now: float) -> bool:
        """Hold more, as much as the account allows; False if not one increment more can be had."""
        sell = self.sell
        assert sell is not None, "priced calls only"
        options = self.board.options
        stretch_s = min(2 * self._stretch_s, options.hold_max_s)
        covered = covered_ms(sell, self.held_nanos)
        if covered == UNLIMITED_MS:
            return True
        # After a restart more may have gone by than was held for.
        covered = max(covered, length_ms(self.answered_at, now))
        wanted = next_total_nanos(sell, covered, stretch_s)
        return self._hold(wanted, more_nanos(sell, covered), stretch_s)

    def _hold(self, total_nanos: int, least_nanos: int, stretch_s: int) -> bool:
        board = self.board
        held = board.accounts.ledger.extend(self.id, total_nanos, least_nanos)
        if held < 0:
            return False
        self.held_nanos = held
        self._stretch_s = stretch_s
        self.write_hold()
        self._cover()
        return True

    def write_hold(self) -> None:
        self.board.records.append(Extended(self.id, self.held_nanos))

    def _cap(self, now: float) -> bool:
        """An inbound call that rings without credit goes on where its money ends, for no more than it holds."""
        admitted = self.admitted
        sell = self.sell
        assert admitted is not None, "not over yet"
        assert sell is not None, "not over yet"
        if admitted.did is None or not admitted.did.rings_without_credit:
            return False
        self.sell = capped(sell, self.held_nanos)
        self.admitted = msgspec.structs.replace(admitted, sell=quote_facts(self.sell))
        self.board.records.append(self.keep())
        self._cover()
        return True

    def occupy(self, key: int) -> None:
        """One more of what it occupies to its end."""
        self._keys.append(key)
        self.board.live.enter(key, self)

    # The end.

    def on_ended(self, now: float) -> None:
        board = self.board
        admitted = self.admitted
        sell = self.sell
        assert admitted is not None, "not over yet"
        assert sell is not None, "not over yet"
        board.live.leave_all(self._keys, self)
        self.kbps_key = 0  # a late answer to a re-INVITE must not take bandwidth for a call that is over
        duration_ms = 0
        charge = Charge(0, 0, 0)
        attempts = self.failed
        answered = self.answered
        if answered is not None:
            self._leave_vendor()
            if self.ended_at > self.held_until:
                self._settle_late(sell)
            duration_ms = length_ms(self.answered_at, self.ended_at)
            answered_ms = wall_ms(self.answered_at, admitted.wall_offset_s)
            charge = price(sell, duration_ms, answered_ms)
            buy = self.buy
            assert buy is not None, "an answered call has a vendor"
            cost = price(buy, duration_ms, answered_ms)
            ended_ms = wall_ms(self.ended_at, admitted.wall_offset_s)
            attempts = (*attempts, closed_attempt(answered, ended_ms, cost))
            delivery = delivery_attempt(admitted, answered, ended_ms, duration_ms, answered_ms)
            if delivery is not None:
                attempts = (delivery, *attempts)
        # A day's spending goes by the time in the CDR, which is all that a replay knows.
        at_ms = wall_ms(self.ended_at, admitted.wall_offset_s)
        board.accounts.settle(admitted.customer_id, self.id, charge.gross_nanos, at_ms)
        cdr = build_cdr(
            admitted,
            sell,
            charge,
            progress_at=self.progress_at,
            answered_at=self.answered_at,
            ended_at=self.ended_at,
            release=self.release,
            cause=self.cause,
            status=self.status,
            duration_ms=duration_ms,
            codecs=self.codecs,
            attempts=attempts,
            explanation=self.explanation,
        )
        board.records.append(CallEnded(cdr))
        board.count("calls_ended")
        # The INVITE's transaction keeps the call for 32 s more; what only the CDR wanted need not stay.
        self.admitted = None
        self.sell = None
        self.buy = None
        self.failed = ()
        self.answered = None
        self.explanation = ()
        self.channel = None

    def _settle_late(self, sell: Quote) -> None:
        """It talked on past what it held, since we were late: hold the rest now, or charge no more than was held."""
        duration_ms = length_ms(self.answered_at, self.ended_at)
        total = price(sell, duration_ms, _SOME_MOMENT_MS).gross_nanos
        if total > self.held_nanos and not self._hold(total, total, self._stretch_s):
            self.ended_at = self.held_until

    def _leave_vendor(self) -> None:
        answered = self.answered
        assert answered is not None, "only an answered call occupies one"
        live = self.board.live
        channel = self if self.channel is None else self.channel
        live.leave(layer_key(PROVIDER, answered.provider_id), channel)
        live.leave(layer_key(GATEWAY, answered.gateway_id), channel)
        live.leave(layer_key(CARD, answered.card_id), channel)

    # What a later process needs.

    def keep(self) -> Kept:
        """Everything that brings the call back after a restart."""
        admitted = self.admitted
        assert admitted is not None, "not over yet"
        answered = self.answered_record()
        if answered is not None:
            admitted = msgspec.structs.replace(admitted, invite=b"")
        return Kept(admitted, answered, self.held_nanos, self.last_proof() if self.is_unproven else 0.0)

    def answered_record(self) -> Answered | None:
        """The call's dialogs and prices from the answer on; None before it."""
        answered = self.answered
        egress = self.egress
        buy = self.buy
        if answered is None or egress is None or buy is None:
            return None
        swap = self.swap
        return Answered(
            id=self.id,
            progress_at=self.progress_at,
            answered_at=self.answered_at,
            status=self.status,
            ingress=self.ingress.state(),
            egress=egress.state(),
            invite_cseq=self.invite_cseq,
            reply_flow=self.reply_flow,
            swap=None if swap is None else (swap.caller_side, swap.callee_side),
            codecs=self.codecs,
            attempts=self.failed,
            attempt=answered,
            buy=quote_facts(buy),
            explanation=self.explanation,
            session=SessionState(self.session_s, self.session_refresher),
        )


_SOME_MOMENT_MS: Final = 1
"""`price` asks only whether there was an answer: the quote's rate was fixed at the INVITE."""
