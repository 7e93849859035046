"""A call: from the INVITE to its end, with an ingress leg and egress attempts one after another.

`Call` knows SIP and nothing of money or routes. What to try next, how long the call may go on, and
what an answer or an end means for anybody's books, is the subclass's part (`next_attempt`,
`on_time_over`, `on_answered`, `on_ended`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from switch.call.attempt import FORKS_MAX, Attempt, AttemptUser
from switch.call.forwarding import Swap, forward_request, forward_response
from switch.call.hops import Hops
from switch.call.ids import Ids
from switch.call.keepalive import KeepAlive, KeepAliveUser
from switch.call.leg import CSEQ_MAX, Leg, egress_leg, request_in_dialog
from switch.call.liveness import STEPS, Liveness
from switch.call.media import NOT_ACCEPTABLE, WARNING, MediaRule
from switch.call.relay import Relay, RelayUser
from switch.call.screen import PLAIN, Screen
from switch.call.session_timer import NOT_ASKED, SessionAsk, SessionTerms, agree, ask, ends_after_s, is_too_short
from switch.outputs import Flow, Send
from switch.transaction.layer import Layer
from switch.transaction.server import ServerTransaction, ServerUser
from switch.transaction.timers import Timer, TimerOwner
from switch.transaction.unheard import request_alone
from switch.wire.build import response_to
from switch.wire.headers import REASON
from switch.wire.message import Message, Request, Response

# States, in the order in which a call goes through them.
TRYING: Final = 0
RINGING: Final = 1
ANSWERED: Final = 2
ENDED: Final = 3

STATE_NAMES: Final = ("trying", "ringing", "answered", "ending")

# Who ended it.
CALLER: Final = "caller"
CALLEE: Final = "callee"
SWITCH: Final = "switch"

# Timers.
_NO_ACK: Final = 1
_TIME: Final = 2
_SESSION: Final = 3
_ASK: Final = 4


class Calls:
    """All calls that a message can still belong to."""

    def __init__(self) -> None:
        self.by_dialog: dict[bytes, Call] = {}
        """By Call-ID and the caller's tag."""
        self.live: dict[str, Call] = {}
        """By id, those that have not ended."""
        self.liveness: Liveness = Liveness()


def dialog_key(call_id: bytes, caller_tag: bytes) -> bytes:
    return call_id + b"\r" + caller_tag


class Call(AttemptUser, RelayUser, KeepAliveUser, ServerUser, TimerOwner):
    """One call. Times are the engine's monotonic seconds, 0.0 while something has not happened."""

    def __init__(
        self,
        call_id: str,
        layer: Layer,
        hops: Hops,
        ids: Ids,
        calls: Calls,
        ingress: Leg,
        source: Flow,
        invited_at: float,
    ) -> None:
        self.id: str = call_id
        self.layer: Layer = layer
        self.hops: Hops = hops
        self.ids: Ids = ids
        self.calls: Calls = calls
        self.server: ServerTransaction | None = None
        """The caller's INVITE; None where it was before a restart of ours."""
        self.source: Flow = source
        """Where the INVITE came from."""
        self.reply_flow: Flow = source
        """Where responses to it go."""
        self.invite: Request | None = None
        """Until the call is answered or over."""
        self.invite_cseq: int = ingress.remote_cseq
        self.key: bytes = dialog_key(ingress.call_id, ingress.remote_tag)
        self.ingress: Leg = ingress
        self.egress: Leg | None = None
        self.attempts: list[Attempt] = []
        self.attempt: Attempt | None = None
        """The one whose responses are the caller's."""
        self.early_legs: dict[bytes, Leg] = {}
        """Callee legs by tag, for requests inside early dialogs (PRACK, UPDATE)."""
        self.swap: Swap | None = None
        self.screen_out: Screen = PLAIN
        """What passes from the caller to the callee, and from there."""
        self.screen_back: Screen = PLAIN
        self.media: MediaRule | None = None
        """Codecs that it may use; None: any."""
        self.is_challenged: bool = False
        """The caller's requests carry credentials for us, which no vendor must see."""
        self.has_left: bool = False
        """The caller sent a BYE before the answer: what still fails is not tried elsewhere."""
        self.state: int = TRYING
        self.invited_at: float = invited_at
        self.progress_at: float = 0.0
        self.answered_at: float = 0.0
        self.ended_at: float = 0.0
        self.release: str = ""
        self.cause: str = ""
        self.status: int = 0
        """Final status that the caller was sent for the INVITE."""
        self.session_ask: SessionAsk = NOT_ASKED
        """What the INVITE asks of the session timer."""
        self.session_s: int = 0
        """Interval of the session timer (RFC 4028); 0: the session has none."""
        self.session_refresher: str = ""
        """`CALLER` or `CALLEE`: who promised to refresh it."""
        self._no_ack: Timer | None = None
        self._time: Timer | None = None
        self._session: Timer | None = None
        self._ask: Timer | None = None
        """Until both sides are asked for the first time whether they are still there."""
        self._restored_at: float = 0.0
        self._keepalive: KeepAlive | None = None
        calls.by_dialog[self.key] = self
        calls.live[self.id] = self

    def begin(self, server: ServerTransaction, now: float) -> None:
        """Take the caller's INVITE."""
        invite = server.request
        assert invite is not None, "a fresh transaction"
        self.server = server
        self.reply_flow = server.reply_flow
        self.invite = invite
        self.session_ask = ask(invite, self.calls.liveness)
        server.user = self
        # At once, whatever is decided next: it stops the caller's copies (RFC 3261 §17.2.1).
        server.respond(100, response_to(invite, 100, b"Trying", via_value=server.via_value), now)

    # The subclass's part.

    def next_attempt(self, now: float) -> None:
        """Begin the next attempt, or `fail` the call if there is none left."""
        raise NotImplementedError

    def on_vendor_failure(self, attempt: Attempt, response: Response, now: float) -> None:
        """A vendor refused: hunt on, or `fail_with` its response."""
        raise NotImplementedError

    def on_attempt_over(self, attempt: Attempt, now: float) -> None:
        """The attempt holds no channel of its vendor any more."""
        raise NotImplementedError

    def on_answered(self, response: Response, now: float) -> None:
        """Before the 200 leaves for the caller."""
        raise NotImplementedError

    def on_time_over(self, now: float) -> None:
        """The moment given to `wake_at` has come."""
        raise NotImplementedError

    def on_ended(self, now: float) -> None:
        """Once, before the message that ended it goes on or is answered; `ended_at` may be set back."""
        raise NotImplementedError

    # Towards the vendor.

    def begin_attempt(self, attempt: Attempt, branch: bytes, data: bytes, now: float) -> None:
        """Send an INVITE built by `build_invite`."""
        self.attempts.append(attempt)
        self.attempt = attempt
        attempt.swap = self.swap
        self.early_legs.clear()
        attempt.start(branch, data, now, is_reliable=self.hops.locals[attempt.flow.listener].is_reliable)

    def build_invite(self, uri: bytes, flow: Flow, branch: bytes, routes: bytes = b"") -> bytes:
        invite = self.invite
        server = self.server
        assert invite is not None, "attempts end with the answer"
        assert server is not None, "only calls of this process make attempts"
        swap = self.swap
        return forward_request(
            invite,
            uri,
            self.hops.locals[flow.listener].via_start + branch,
            server.via_value,
            record_routes=self.hops.record_route_lines(self.source.listener, flow.listener),
            routes=routes,
            from_value=b"" if swap is None else swap.callee_side,
            drops_credentials=self.is_challenged,
            screen=self.screen_out,
            body=None if self.media is None else self.media.edited(invite),
        )

    def on_attempt_response(self, attempt: Attempt, response: Response, now: float) -> None:
        status = response.status
        if status >= 300:
            self.on_attempt_over(attempt, now)
            if self.state < ANSWERED and attempt is self.attempt:
                if self.has_left:
                    self._fail_abandoned(now)
                else:
                    self.on_vendor_failure(attempt, response, now)
        elif status >= 200:
            if self.egress is None and self.state < ANSWERED:
                if self.media is not None and self.media.refuses(response):
                    self._refuse_answer(attempt, response, now)
                else:
                    self._answer(attempt, response, now)
            elif self.egress is not None and response.to_tag == self.egress.remote_tag:
                # The callee repeats its 200 until the ACK arrives; each copy goes on (RFC 6026 §7.1).
                self.egress.alive_at = now
                agree(response, self.session_ask)
                self._respond(status, self._for_caller(response), now)
            else:
                self.on_stray_answer(attempt, response, now)
        elif self.state < ANSWERED and attempt is self.attempt:
            if 180 <= status < 190 and not self.progress_at:
                self.progress_at = now
                self.state = RINGING
            self._respond(status, self._for_caller(response), now)

    def on_attempt_failed(self, attempt: Attempt, cause: str, now: float) -> None:
        self.on_attempt_over(attempt, now)
        if self.state < ANSWERED and attempt is self.attempt:
            if self.has_left:
                self._fail_abandoned(now)
            else:
                self.next_attempt(now)

    def on_stray_answer(self, attempt: Attempt, response: Response, now: float) -> None:
        ack = attempt.strays.get(response.to_tag)
        if ack is not None:
            self.layer.sends.append(ack)
            return
        if len(attempt.strays) >= FORKS_MAX:
            return
        leg = self._leg_of(attempt, response)
        local = self.hops.locals[leg.flow.listener]
        data = request_in_dialog(leg, b"ACK", leg.local_cseq, local.via_start + self.ids.branch())
        ack = Send(leg.flow, data)
        attempt.strays[response.to_tag] = ack
        self.layer.sends.append(ack)
        # The caller may have been inside the early dialog that this answer confirms.
        leg.local_cseq = max(leg.local_cseq, self.ingress.remote_cseq)
        self._send_bye(leg, (), now)

    def receive_stray(self, response: Response, flow: Flow, now: float) -> bool:
        """A 2xx to the INVITE that has outlived its transactions, those of a process before us included.

        Returns:
            False if it is of another dialog than the call's, which nobody has.
        """
        egress = self.egress
        if egress is None or response.to_tag != egress.remote_tag:
            return False
        if self.state == ANSWERED and egress.is_from_peer(flow):
            # The callee still waits for its ACK; only the caller can send it (RFC 3261 §13.2.2.4).
            egress.alive_at = now
            agree(response, self.session_ask)
            self.layer.send(self.reply_flow, self._for_caller(response))
        return True

    def _leg_of(self, attempt: Attempt, response: Response) -> Leg:
        swap = attempt.swap
        return egress_leg(
            response,
            self.ingress.remote_value if swap is None else swap.callee_side,
            self.ingress.remote_tag,
            self.invite_cseq,
            attempt.flow,
            self.hops,
        )

    def _answer(self, attempt: Attempt, response: Response, now: float) -> None:
        attempt.close("answered", now)
        attempt.ended_at = 0.0
        attempt.answered_at = now
        attempt.status = response.status
        self.attempt = attempt
        self.egress = self._leg_of(attempt, response)
        early = self.early_legs.get(response.to_tag)
        if early is not None:
            self.egress.remote_cseq = early.remote_cseq
            self.egress.local_cseq = early.local_cseq
        self.early_legs.clear()
        self.ingress.local_value = self.egress.remote_value
        self.ingress.local_tag = response.to_tag
        self.state = ANSWERED
        self.answered_at = now
        self.status = response.status
        self._set_session(agree(response, self.session_ask), True, now)
        self.on_answered(response, now)
        self.ingress.alive_at = now
        self.egress.alive_at = now
        keepalive_ms = self.calls.liveness.keepalive_ms(self._step())
        if keepalive_ms:
            self._ask = self.layer.timers.start(keepalive_ms, self, _ASK, now)
        self._no_ack = self.layer.timers.start(self.layer.values.patience_ms, self, _NO_ACK, now)
        self._respond(response.status, self._for_caller(response), now)
        self.invite = None

    # What is talked about.

    def edited(self, message: Message) -> bytes | None:
        """A body without the codecs that may not be used; None: as it came."""
        return None if self.media is None else self.media.edited(message)

    def refuses_media(self, request: Request) -> bool:
        """Whether what a request inside the dialog offers cannot be had."""
        return self.media is not None and self.media.refuses(request)

    def _refuse_answer(self, attempt: Attempt, response: Response, now: float) -> None:
        """The callee has answered with codecs that may not be used: nobody may talk by them."""
        attempt.is_given_up = True
        attempt.status = response.status
        attempt.close("rejected", now)
        self.on_attempt_over(attempt, now)
        self.on_stray_answer(attempt, response, now)
        reason = b'Reason: X.tandem;cause=488;text="codecs_refused"'
        self.fail(488, NOT_ACCEPTABLE, "codecs_refused", SWITCH, now, (reason, WARNING))

    # Towards the caller.

    def _respond(self, status: int, data: bytes, now: float) -> None:
        server = self.server
        if server is not None:
            server.respond(status, data, now)

    def _for_caller(self, response: Response) -> bytes:
        swap = self.swap
        if swap is None:
            return forward_response(response, screen=self.screen_back, body=self.edited(response))
        return forward_response(
            response, from_value=swap.caller_side, screen=self.screen_back, body=self.edited(response)
        )

    def fail(
        self, status: int, reason: bytes, cause: str, release: str, now: float, extra: Sequence[bytes] = ()
    ) -> None:
        """Refuse the INVITE in our own words and end the call."""
        invite = self.invite
        server = self.server
        assert invite is not None, "not answered yet"
        assert server is not None, "only calls of this process can fail"
        self.status = status
        data = response_to(
            invite, status, reason, to_tag=self.ingress.local_tag, extra=extra, via_value=server.via_value
        )
        self._end(release, cause, now)
        self._respond(status, data, now)

    def fail_with(self, response: Response, cause: str, now: float) -> None:
        """Refuse the INVITE as the vendor did."""
        self.status = response.status
        self._end(CALLEE, cause, now)
        self._respond(response.status, self._for_caller(response), now)

    def on_cancel(self, transaction: ServerTransaction, cancel: Request, now: float) -> None:
        """The caller has given up. From here on the call is over, whatever the vendor still says."""
        if self.state >= ANSWERED:
            return
        if self.attempt is not None:
            self.attempt.give_up("cancelled", now, reason_lines(cancel))
            self.on_attempt_over(self.attempt, now)
        self._fail_abandoned(now)

    def _fail_abandoned(self, now: float) -> None:
        self.fail(487, b"Request Terminated", "cancelled", CALLER, now)

    # Within the dialog.

    def egress_for(self, tag: bytes) -> Leg | None:
        """The callee's leg with that tag: the answered one, or an early dialog of the current attempt."""
        if self.egress is not None:
            return self.egress if self.egress.remote_tag == tag else None
        attempt = self.attempt
        if attempt is None or attempt.is_given_up:
            return None
        response = attempt.early.get(tag)
        if response is None:
            return None
        return self._early_leg(attempt, response)

    def _early_leg(self, attempt: Attempt, response: Response) -> Leg:
        leg = self.early_legs.get(response.to_tag)
        if leg is None:
            leg = self.early_legs[response.to_tag] = self._leg_of(attempt, response)
        return leg

    def receive(
        self,
        request: Request,
        server_key: bytes,
        sender: Leg,
        receiver: Leg,
        reply_flow: Flow,
        via_value: bytes,
        now: float,
    ) -> int:
        """A request inside the dialog, from one of its peers (ACK to a 2xx included).

        Returns:
            0, or the status of the refusal that it deserves.
        """
        is_from_caller = sender is self.ingress
        sender.alive_at = now
        method = request.method
        local = self.hops.locals[receiver.flow.listener]
        branch = self.ids.branch()
        if method == b"ACK":
            if is_from_caller and request.cseq == self.invite_cseq and self._no_ack is not None:
                self._no_ack.stop()
                self._no_ack = None
            self.layer.send(receiver.flow, self._pass_on(request, receiver, via_value, branch, is_from_caller))
            return 0
        is_bye = method == b"BYE"
        if self.state == ENDED and not is_bye:
            return 481
        if is_bye and self.egress is None and not is_from_caller:
            return 481  # a callee must not end an early dialog so (RFC 3261 §15)
        # RFC 3261 §12.2.2; copies have been absorbed by their transaction. A caller counts anew in each
        # of its early dialogs, and its numbers are the callee's: that leg knows the last.
        last_cseq = receiver.local_cseq if is_from_caller else sender.remote_cseq
        if request.cseq <= last_cseq:
            return 500
        liveness = self.calls.liveness
        is_refresh = self.state == ANSWERED and (method == b"INVITE" or method == b"UPDATE")
        if is_refresh and is_too_short(request, liveness):
            return 422
        sender.remote_cseq = max(sender.remote_cseq, request.cseq)
        receiver.local_cseq = max(receiver.local_cseq, request.cseq)
        server = ServerTransaction(
            self.layer,
            server_key,
            request,
            reply_flow,
            via_value,
            is_reliable=self.hops.locals[reply_flow.listener].is_reliable,
        )
        # A BYE with a body is a BYE: whatever it describes, nobody talks by it.
        if request.body and not is_bye and self.refuses_media(request):
            refusal = response_to(request, 488, NOT_ACCEPTABLE, extra=(WARNING,), via_value=via_value)
            server.respond(488, refusal, now)
            return 0
        if is_bye and self.state == ANSWERED:
            self._end(CALLER if is_from_caller else CALLEE, "normal", now)
        elif is_bye and self.egress is None:
            self.has_left = True
        relay = Relay(self.layer, self.hops, self, server, sender, receiver, self.swap, is_from_caller=is_from_caller)
        relay.screen = self.screen_back if is_from_caller else self.screen_out
        if is_refresh:
            relay.session_ask = ask(request, liveness, self.session_s)
        data = self._pass_on(request, receiver, via_value, branch, is_from_caller)
        relay.start(branch, data, receiver.flow, now, is_reliable=local.is_reliable)
        return 0

    def _pass_on(self, request: Request, receiver: Leg, via_value: bytes, branch: bytes, is_from_caller: bool) -> bytes:
        swap = self.swap
        from_value = to_value = b""
        if swap is not None:
            if is_from_caller:
                from_value = swap.callee_side
            else:
                to_value = swap.caller_side
        return forward_request(
            request,
            receiver.request_uri,
            self.hops.locals[receiver.flow.listener].via_start + branch,
            via_value,
            routes=receiver.routes,
            from_value=from_value,
            to_value=to_value,
            drops_credentials=is_from_caller and self.is_challenged,
            screen=self.screen_out if is_from_caller else self.screen_back,
            body=None if self.media is None else self.media.edited(request),
        )

    def on_refreshed(self, relay: Relay, response: Response, now: float) -> None:
        terms = agree(response, relay.session_ask)
        if not relay.is_settled and self.state == ANSWERED:
            self._set_session(terms, relay.is_from_caller, now)
        relay.is_settled = True

    def on_relayed(self, relay: Relay, now: float) -> None:
        if relay.method == b"BYE" and self.state == ENDED:
            self._forget()

    # Is it still up?

    def _set_session(self, terms: SessionTerms, is_from_caller: bool, now: float) -> None:
        """The session timer starts anew, as agreed by a request of the caller or of the callee."""
        if self._session is not None:
            self._session.stop()
            self._session = None
        interval_s = terms.interval_s
        self.session_s = interval_s
        if interval_s:
            self.session_refresher = CALLER if terms.is_uac == is_from_caller else CALLEE
            self._session = self.layer.timers.start_at(now + ends_after_s(interval_s), self, _SESSION)

    def go_on(self, alive_at: float, session_s: int, session_refresher: str, now: float) -> None:
        """Take an answered call up again after a restart of ours.

        Args:
            alive_at: until then, at least, it was up on both sides.
            session_s, session_refresher: of its session timer, whose interval begins anew: when it was
                refreshed last is not known.
        """
        egress = self.egress
        assert egress is not None, "answered calls only"
        is_caller = session_refresher == CALLER
        # What a late copy of the 200 would have to be told as well, if it was us who said it.
        self.session_ask = SessionAsk(session_s, is_supported=is_caller, is_ours=True)
        self._set_session(SessionTerms(session_s, is_uac=is_caller), True, now)
        self.ingress.alive_at = alive_at
        egress.alive_at = alive_at
        self._restored_at = now
        self._ask = self.layer.timers.start(self.calls.liveness.recovery_ms(self._step()), self, _ASK, now)

    def _step(self) -> int:
        """Calls ask at intervals that differ a little, so that they do not ask in step."""
        return int(self.id[-1], 16) % STEPS

    def _keep_alive(self, now: float) -> None:
        egress = self.egress
        assert egress is not None, "answered calls only"
        values = self.calls.liveness
        self._ask = None
        self._keepalive = KeepAlive(
            self.layer,
            self.hops,
            self.ids,
            values,
            self,
            self.ingress,
            egress,
            values.keepalive_ms(self._step()),
            self._restored_at,
        )
        self._keepalive.fire(0, now)

    def last_proof(self) -> float:
        """The last moment at which both sides are known to have been up, never before the answer."""
        egress = self.egress
        assert egress is not None, "answered calls only"
        return max(self.answered_at, min(self.ingress.alive_at, egress.alive_at))

    def on_silence(self, was_proven: bool, now: float) -> None:
        if not was_proven:
            self.end_by_switch("lost_in_restart", now, self.last_proof())
            return
        # A caller who denies his calls, or goes silent on them, must not make them cheaper: the vendor
        # was there all the time, and is paid for it.
        egress = self.egress
        assert egress is not None, "answered calls only"
        self.end_by_switch("keepalive_failed", now, max(self.answered_at, egress.alive_at))

    # Ends that are ours.

    def wake_at(self, at: float) -> None:
        """Have `on_time_over` called then, and not at the moment that was asked for before."""
        if self._time is not None:
            self._time.stop()
        self._time = self.layer.timers.start_at(at, self, _TIME)

    def end_by_switch(self, cause: str, now: float, ended_at: float = 0.0) -> None:
        """Hang up both sides, or refuse the INVITE if it is not answered yet.

        Args:
            ended_at: when it ended for billing, where that was before now.
        """
        reason = (b'Reason: X.tandem;cause=0;text="%b"' % cause.encode("ascii"),)
        if self.state == ANSWERED:
            egress = self.egress
            assert egress is not None, "answered"
            self._end(SWITCH, cause, now, ended_at)
            self._send_bye(self.ingress, reason, now)
            self._send_bye(egress, reason, now)
            self._forget()
        elif self.state < ANSWERED:
            if self.attempt is not None:
                self.attempt.give_up("cancelled", now)
                self.on_attempt_over(self.attempt, now)
            self.fail(480, b"Temporarily Unavailable", cause, SWITCH, now, reason)

    def fire(self, kind: int, now: float) -> None:
        if kind == _NO_ACK:
            # RFC 3261 §13.3.1.4: a 2xx that is never ACKed ends the session.
            self.end_by_switch("no_ack", now)
        elif kind == _SESSION:
            self.end_by_switch("session_expired", now)
        elif kind == _ASK:
            self._keep_alive(now)
        else:
            self._time = None
            self.on_time_over(now)

    def _send_bye(self, leg: Leg, extra: Sequence[bytes], now: float) -> None:
        local = self.hops.locals[leg.flow.listener]
        branch = self.ids.branch()
        leg.local_cseq = min(leg.local_cseq + leg.local_jump, CSEQ_MAX)
        data = request_in_dialog(leg, b"BYE", leg.local_cseq, local.via_start + branch, extra)
        request_alone(self.layer, b"BYE", branch, data, leg.flow, now, is_reliable=local.is_reliable)

    def _end(self, release: str, cause: str, now: float, ended_at: float = 0.0) -> None:
        if self.state == ENDED:
            return
        was_answered = self.state == ANSWERED
        self.state = ENDED
        self.ended_at = ended_at or now
        self.release = release
        self.cause = cause
        if self._no_ack is not None:
            self._no_ack.stop()
            self._no_ack = None
        if self._time is not None:
            self._time.stop()
            self._time = None
        if self._session is not None:
            self._session.stop()
            self._session = None
        if self._ask is not None:
            self._ask.stop()
            self._ask = None
        if self._keepalive is not None:
            self._keepalive.stop()
            self._keepalive = None
        self.calls.live.pop(self.id, None)
        self.on_ended(now)
        if not was_answered:
            self._forget()
        self.invite = None
        # Attempts point back at their call; without this only the garbage collector, which has a
        # whole switch to look through, would ever free the two.
        self.attempts = []
        self.attempt = None
        self.early_legs = {}

    def _forget(self) -> None:
        if self.calls.by_dialog.get(self.key) is self:
            del self.calls.by_dialog[self.key]


def reason_lines(request: Request) -> list[bytes]:
    """The Reason lines of a CANCEL, which go on with it (RFC 3326)."""
    return [line for line, header in zip(request.lines, request.ids, strict=True) if header == REASON]
