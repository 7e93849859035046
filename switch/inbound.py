"""An inbound call with its plan: rings a customer's destinations one after another.

A destination is an endpoint, a SIP user with all its registered contacts, a URI, or a number that
the call goes out to again. Each try is an attempt like one at a vendor, with the same timers. What a
callee answers with leads on to the next destination, but for a 6xx, which speaks for all of them
(RFC 3261 §21.6); the last answer is the caller's.

A call that goes out to a number is priced as that call out: by the customer's own route, sell card
and vendors, in place of the DID's price. What the provider asks for bringing it stays a cost.
"""

from __future__ import annotations

from random import Random
from typing import Final
from urllib.parse import quote

import msgspec

from rating.holding import hold_nanos, least_nanos
from rating.quotes import Quote
from switch.billed import BilledCall
from switch.bindings import Binding
from switch.board import Board
from switch.call.attempt import Attempt
from switch.call.call import SWITCH
from switch.call.leg import ingress_leg
from switch.call.media import MediaRule, media_rule
from switch.call.session_timer import ask_again
from switch.cdr import first_codec, wall_ms, wall_ms_if
from switch.outputs import Flow
from switch.policy.causes import STATUS, Cause
from switch.policy.decide import choose_gateway, follows, number_for
from switch.policy.inbound import InboundPlan, Ring, candidate, decide_forward
from switch.policy.live import CARD, GATEWAY, PROVIDER, ROUTE, layer_key
from switch.policy.presentation import present
from switch.policy.verdicts import Facts, Option, Plan, Reject, Skip
from switch.quote_facts import quote_facts
from switch.records import Admitted, Candidate, DidFacts
from switch.records import Attempt as AttemptRecord
from switch.routed import cause_of, least, reason_line
from switch.screening import USER_UNRESERVED, anonymised, inbound_screens, screens, swapped
from switch.snapshot import Gateway
from switch.transaction.server import ServerTransaction
from switch.wire.headers import PRIVACY, USER_AGENT
from switch.wire.identity import asserted_number, wants_privacy
from switch.wire.message import Response
from switch.wire.sdp import codec_list

_NO_CONTACTS: Final[list[Binding]] = []
_NO_OPTIONS: Final[list[Option]] = []


class RingTry:
    """What one attempt was for."""

    def __init__(self, ring: Ring, name: str, uri: bytes, flow: Flow, buy: Quote, dialled_out: str) -> None:
        self.ring: Ring = ring
        self.name: str = name
        self.uri: bytes = uri
        self.flow: Flow = flow
        self.routes: bytes = b""
        self.buy: Quote = buy
        """What it costs if it is answered: the DID's buy price, or the vendor's of a call out."""
        self.dialled_out: str = dialled_out
        self.option: Option | None = None
        """Of a call out."""
        self.gateway: Gateway | None = None


class InboundCall(BilledCall):
    """What is known of an inbound call beyond SIP and money."""

    def __init__(
        self,
        board: Board,
        plan: InboundPlan,
        call_id: str,
        held_nanos: int,
        server: ServerTransaction,
        source: Flow,
        facts: Facts,
        invited_at: float,
        now: float,
    ) -> None:
        invite = server.request
        assert invite is not None, "a fresh transaction"
        agent = invite.first(USER_AGENT)
        called = plan.called
        admitted = Admitted(
            id=call_id,
            customer_id=plan.customer.id,
            client_id=plan.customer.client_id,
            endpoint_id=None,
            sip_user_id=None,
            route_id=None,
            source=source,
            transport=board.hops.locals[source.listener].transport,
            call_id=invite.call_id.decode("utf-8", "backslashreplace"),
            cli_in=facts.cli,
            cli_out=facts.cli,
            dialled_in=facts.dialled,
            dialled_out=called.did.number,
            invited_at=invited_at,
            wall_offset_s=board.wall_offset_s,
            currency=plan.currency,
            sell=quote_facts(plan.sell),
            user_agent="" if agent is None else agent.decode("utf-8", "backslashreplace"),
            is_challenged=False,
            max_duration_s=board.options.max_duration_s,
            held_nanos=held_nanos,
            invite=invite.data,
            did=DidFacts(
                called.did.id,
                called.provider.id,
                called.provider.name,
                called.gateway.id,
                called.did.number,
                quote_facts(plan.buy),
                plan.customer.allow_inbound_without_credit,
            ),
        )
        super().__init__(board, admitted, ingress_leg(invite, source, board.ids.tag(), board.hops), source, plan.keys)
        if called.did.order == "random":
            _shuffle(plan, board.rng)
        self.plan: InboundPlan = plan
        self.facts: Facts = facts
        self.sell = plan.sell
        self.tries: list[RingTry] = []
        self._ring: Ring | None = None
        self._ring_index: int = -1
        self._contacts: list[Binding] = _NO_CONTACTS
        """Of the SIP user that is being rung, those not tried yet."""
        self._onward: Plan | None = None
        """Of the number that is being called."""
        self._options: list[Option] = _NO_OPTIONS
        """Vendors of that call that are not tried yet."""
        self._tried: set[int] = set()
        self._last: Response | None = None
        board.records.append(admitted)
        self.begin(server, now)

    # Hunting.

    def next_attempt(self, now: float) -> None:
        while True:
            ring = self._ring
            if ring is not None and self._go_on(ring, now):
                return
            self._leave_ring()
            if self._ring_index + 1 >= len(self.plan.rings):
                break
            self._ring_index += 1
            ring = self.plan.rings[self._ring_index]
            refusal = self._open(ring, now)
            if refusal is None:
                self._ring = ring
            else:
                self._explain(refusal.reason, refusal.detail)
        self._exhausted(now)

    def _open(self, ring: Ring, now: float) -> Skip | None:
        """Look up what a destination leads to now; None: it can be tried."""
        self._contacts = _NO_CONTACTS
        self._options = _NO_OPTIONS
        self._onward = None
        self.media = None
        caller = ring.caller
        if caller is not None:
            live = self.board.live
            for key, channels in caller.caps:
                if live.channels(key) >= channels:
                    return Skip("channels", str(channels))
            invite = self.invite
            assert invite is not None, "attempts end with the answer"
            self.media = media_rule(caller.codecs, None)
            if self.media is not None and self.media.refuses(invite):
                return Skip("codecs", "it may use none of those offered")
            kbps = 0
            if caller.kbps_max is not None:
                kbps = self.facts.kbps_by(caller.codecs)
                if live.kbps(caller.key) + kbps > caller.kbps_max:
                    return Skip("bandwidth", f"{caller.kbps_max} kbit/s")
            if caller.user is not None:
                self._contacts = self.board.bindings.of(caller.record_id, now)
                if not self._contacts:
                    return Skip("unregistered", "no contact")
            if caller.rates and live.buckets.admit_rates(caller.rates, now) is not None:
                return Skip("cps", "")
            live.enter(caller.key, self)
            if caller.kbps_max is not None:
                self.limit_kbps(caller.key, caller.kbps_max, kbps)
        elif ring.kind == "number":
            return self._open_number(ring, now)
        return None

    def _open_number(self, ring: Ring, now: float) -> Skip | None:
        plan = self.plan
        board = self.board
        self.facts.now_s = now
        onward = decide_forward(board.tables, board.live, self.facts, plan.account, ring.value)
        if isinstance(onward, Reject):
            return Skip(onward.cause.value, onward.detail)
        if board.accounts.is_spent(plan.customer, board.now_ms(now)):
            return Skip(Cause.DAILY_SPEND_REACHED.value, "")  # a free or unpaid call in buys no trip out
        # Its hold is the last thing that can refuse it, as for every call out.
        sell = onward.sell
        wanted = hold_nanos(sell, min(board.options.hold_initial_s, self._limit_s(onward)))
        held = board.accounts.ledger.extend(self.id, wanted, wanted)
        least_total = least_nanos(sell)
        if held < 0:
            held = board.accounts.ledger.extend(self.id, wanted, least_total)
        if held < 0 and self.held_nanos >= least_total:
            held = self.held_nanos  # what it has already will do for a start
        if held < 0:
            return Skip(Cause.BALANCE_INSUFFICIENT.value, "")
        self._note_hold(held)
        self._onward = onward
        self._options = list(onward.options)
        return None

    def _note_hold(self, held_nanos: int) -> None:
        if held_nanos != self.held_nanos:
            self.held_nanos = held_nanos
            self.write_hold()

    def _limit_s(self, onward: Plan) -> int:
        limit_s = self.board.options.max_duration_s
        return limit_s if onward.max_duration_ms is None else min(limit_s, onward.max_duration_ms // 1000)

    def _go_on(self, ring: Ring, now: float) -> bool:
        """Begin the next try of a destination; False: it has no more."""
        if ring.kind == "number":
            return self._try_vendors(ring, now)
        if ring.kind == "sip_user":
            if not self._contacts:
                return False
            contact = self._contacts.pop(0)
            if self._wants_tls() and self.hops.locals[contact.flow.listener].transport != "tls":
                return self._go_on(ring, now)
            chosen = RingTry(
                ring,
                f"{ring.name} {contact.uri.decode('utf-8', 'backslashreplace')}",
                contact.uri,
                contact.flow,
                self.plan.buy,
                self.plan.called.did.number,
            )
            chosen.routes = contact.path
            self._begin(chosen, "", now)
            return True
        return self._try_place(ring, now)

    def _try_place(self, ring: Ring, now: float) -> bool:
        """An endpoint or a URI is tried once."""
        place = ring.place
        assert place is not None, "endpoints and URIs have one"
        if self.tries and self.tries[len(self.tries) - 1].ring is ring:
            return False
        board = self.board
        flow = board.flow_to(place, now)
        if flow is None:
            self._explain("unhealthy", f"{place.host} is not resolved")
            return False
        if self._wants_tls() and place.transport != "tls":
            self._explain("insecure", "sips wants TLS (RFC 3261 §26.2.2)")
            return False
        number = self.plan.called.did.number
        if ring.caller is None:
            uri = ring.value.encode("ascii", "replace")
        else:
            endpoint = ring.caller.endpoint
            assert endpoint is not None, "users have contacts"
            number = endpoint.tech_prefix + number[endpoint.strip_digits :]
            uri = self._uri(number, place, flow)
        self._begin(RingTry(ring, ring.name, uri, flow, self.plan.buy, number), "", now)
        return True

    def _try_vendors(self, ring: Ring, now: float) -> bool:
        board = self.board
        onward = self._onward
        assert onward is not None, "its call out was decided"
        while self._options:
            option = self._options[0]
            found = choose_gateway(board.tables, board.live, option, now, board.now_ms(now), board.rng, self._tried)
            if isinstance(found, Skip):
                self._options.pop(0)
                continue
            self._tried.add(found.id)
            flow = board.flow_to(found, now)
            if flow is None or (self._wants_tls() and found.transport != "tls"):
                continue
            if found.codecs:
                self.media = MediaRule(None, codec_list(found.codecs))
                invite = self.invite
                if invite is not None and self.media.refuses(invite):
                    continue
            self._options.pop(0)
            number = number_for(option.provider, onward.dialled_out)
            chosen = RingTry(ring, ring.name, self._uri(number, found, flow), flow, option.quote, number)
            chosen.option = option
            chosen.gateway = found
            self._begin(chosen, onward.cli_out, now)
            return True
        if not self.tries or self.tries[len(self.tries) - 1].ring is not ring:
            self._explain("no_vendor", "no vendor can take it now")
        return False

    def _begin(self, chosen: RingTry, cli: str, now: float) -> None:
        board = self.board
        defaults = board.options
        customer = self.plan.customer
        option = chosen.option
        first_reply_ms = pdd_ms = ring_ms = None
        if option is not None:
            provider = option.provider
            first_reply_ms, pdd_ms, ring_ms = provider.first_reply_ms, provider.pdd_ms, provider.ring_ms
        attempt = Attempt(
            self.layer,
            self,
            chosen.flow,
            least(customer.first_reply_ms, first_reply_ms, defaults.first_reply_ms),
            least(customer.pdd_ms, pdd_ms, defaults.pdd_ms),
            least(customer.ring_ms, ring_ms, defaults.ring_ms),
        )
        cli_in = self.facts.cli
        caller = chosen.ring.caller
        cli_out = cli or (cli_in if caller is None or caller.endpoint is None else caller.cli_out(cli_in))
        self.swap = swapped(self.ingress.remote_value, cli_out) if cli_out != cli_in else None
        self._screen(chosen, cli_out)
        self.tries.append(chosen)
        if option is not None and chosen.gateway is not None:
            live = board.live
            live.enter(layer_key(PROVIDER, option.provider.id), attempt)
            live.enter(layer_key(GATEWAY, chosen.gateway.id), attempt)
            live.enter(layer_key(CARD, option.card.id), attempt)
        self._explain("taken", "")
        branch = board.ids.branch()
        data = self.build_invite(chosen.uri, chosen.flow, branch, chosen.routes)
        self.begin_attempt(attempt, branch, data, now)

    def _screen(self, chosen: RingTry, cli_out: str) -> None:
        """Who the callee is told is calling, and which headers pass."""
        customer = self.plan.customer
        invite = self.invite
        assert invite is not None, "attempts end with the answer"
        is_private = invite.has(PRIVACY) and wants_privacy(invite)
        option = chosen.option
        if option is None:
            if is_private and not customer.trust_pai:
                self.swap = anonymised(self.ingress.remote_value)
                self.screen_out, self.screen_back = inbound_screens(customer, self.plan.called.provider, True)
            else:
                self.screen_out, self.screen_back = inbound_screens(customer, self.plan.called.provider, False)
            return
        is_changed = cli_out != self.facts.cli
        shown = present(customer, option.provider, cli_out, is_changed, asserted_number(invite), is_private)
        if shown.is_anonymous:
            self.swap = anonymised(self.ingress.remote_value)
        host = self.hops.locals[chosen.flow.listener].shown_host
        self.screen_out, self.screen_back = screens(
            customer, option.provider, shown, host, cli_out if is_changed else ""
        )

    def _uri(self, number: str, gateway: Gateway, flow: Flow) -> bytes:
        host = f"[{gateway.host}]" if ":" in gateway.host and gateway.host[0] != "[" else gateway.host
        transport = self.hops.locals[flow.listener].transport
        user = number if number.isdigit() else quote(number, safe=USER_UNRESERVED)
        uri = f"{'sips' if self._wants_tls() else 'sip'}:{user}@{host}"
        if gateway.port:
            uri = f"{uri}:{gateway.port}"
        if transport != "udp":
            uri = f"{uri};transport={transport}"
        return uri.encode("ascii")

    def _wants_tls(self) -> bool:
        invite = self.invite
        return invite is not None and invite.target.scheme == b"sips"

    def _leave_ring(self) -> None:
        ring = self._ring
        self._ring = None
        if ring is not None and ring.caller is not None:
            self.board.live.leave(ring.caller.key, self)
            self.kbps_key = 0

    # What comes back.

    def on_vendor_failure(self, attempt: Attempt, response: Response, now: float) -> None:
        board = self.board
        chosen = self.tries[self.attempts.index(attempt)]
        status = response.status
        invite = self.invite
        if status == 422 and self.session_ask.is_ours and invite is not None:
            # It was us who offered that timer: the caller would not know what to make of the refusal.
            self.session_ask = ask_again(invite, self.session_ask, response)
            self._begin(chosen, "" if self._onward is None else self._onward.cli_out, now)
            return
        self._last = response
        option = chosen.option
        if option is not None:
            provider = board.tables.providers.get(option.provider.id, option.provider)
            if status not in (401, 407) and follows(provider, status) == "stop":
                self._options = _NO_OPTIONS  # the called party's word: no other vendor changes it
        if status >= 600:
            self.fail_with(response, cause_of(status), now)
        else:
            self.next_attempt(now)

    def on_attempt_over(self, attempt: Attempt, now: float) -> None:
        if attempt not in self.attempts:
            return  # the call has ended and left everything already
        chosen = self.tries[self.attempts.index(attempt)]
        option = chosen.option
        if option is not None and chosen.gateway is not None:
            live = self.board.live
            live.leave(layer_key(PROVIDER, option.provider.id), attempt)
            live.leave(layer_key(GATEWAY, chosen.gateway.id), attempt)
            live.leave(layer_key(CARD, option.card.id), attempt)
            self.board.quick_answers.note_failure(option.provider.id)
        if attempt.cause in ("first_reply_timeout", "unreachable"):
            self._last = None
            if chosen.ring.kind != "sip_user":
                self.board.rest_target(attempt.flow, now)
        elif attempt.cause in ("ring_timeout", "pdd_timeout"):
            self._last = None

    def _exhausted(self, now: float) -> None:
        """No destination is left: the last one's answer, or that nobody is there."""
        last = self._last
        if last is not None and last.status >= 400 and last.status not in (401, 407, 422):
            self.fail_with(last, cause_of(last.status), now)
            return
        status, phrase = STATUS[Cause.NO_DESTINATION]
        cause = Cause.NO_DESTINATION.value
        if self.attempts and self.attempts[len(self.attempts) - 1].cause == "ring_timeout":
            cause = Cause.NO_ANSWER.value
        self.fail(status, phrase.encode("ascii"), cause, SWITCH, now, (reason_line(status, cause),))

    def on_answered(self, response: Response, now: float) -> None:
        board = self.board
        attempt = self.attempt
        admitted = self.admitted
        assert attempt is not None, "one of its attempts was answered"
        assert admitted is not None, "not over yet"
        position = self.attempts.index(attempt)
        chosen = self.tries[position]
        self.failed = self.failed_but(position, now)
        self.answered = self._record(attempt, chosen, now)
        self.buy = chosen.buy
        self.explanation = tuple(self.plan.explanation)
        self.channel = attempt
        self.codecs = first_codec(self.edited(response) or response.body)
        self.note_media(response)
        did = admitted.did
        onward = self._onward
        caller = chosen.ring.caller
        if chosen.option is not None and onward is not None and did is not None:
            self.sell = onward.sell
            self.occupy(layer_key(ROUTE, onward.route.id))
            self.admitted = msgspec.structs.replace(
                admitted,
                invite=b"",
                route_id=onward.route.id,
                dialled_out=onward.dialled_out,
                cli_out=onward.cli_out,
                sell=quote_facts(onward.sell),
                max_duration_s=self._limit_s(onward),
                did=msgspec.structs.replace(did, rings_without_credit=False),
            )
            board.note_answer(chosen.option.provider, now - attempt.started_at, now)
        elif caller is not None:
            self.admitted = msgspec.structs.replace(
                admitted,
                invite=b"",
                endpoint_id=None if caller.endpoint is None else caller.endpoint.id,
                sip_user_id=None if caller.user is None else caller.user.id,
            )
        # The whole call and not its answer alone: who has it and what it costs were not known before.
        board.records.append(self.keep())
        self.kept_in = board.keeping
        self.facts.invite = None
        self.start_clock(now)
        board.count("calls_answered")

    def on_ended(self, now: float) -> None:
        if self.answered is None:
            self.failed = self.failed_but(-1, now)
            self.explanation = tuple(self.plan.explanation)
        self._leave_ring()
        super().on_ended(now)
        self.tries = []
        self._contacts = _NO_CONTACTS
        self._options = _NO_OPTIONS
        self._onward = None
        self._last = None
        self.facts.invite = None
        self.plan.rings = []
        self.plan.explanation = []

    # What is written down.

    def failed_but(self, position: int, now: float) -> tuple[AttemptRecord, ...]:
        """Records of all attempts but one."""
        found: list[AttemptRecord] = []
        for index, chosen in enumerate(self.tries):
            if index != position:
                found.append(self._record(self.attempts[index], chosen, now))
        return tuple(found)

    def _record(self, attempt: Attempt, chosen: RingTry, ended_at: float) -> AttemptRecord:
        admitted = self.admitted
        assert admitted is not None, "not over yet"
        wall_offset_s = admitted.wall_offset_s
        called = self.plan.called
        option = chosen.option
        gateway = called.gateway if chosen.gateway is None else chosen.gateway
        provider = called.provider if option is None else option.provider
        buy = chosen.buy
        return AttemptRecord(
            provider_id=provider.id,
            provider_name=provider.name,
            gateway_id=gateway.id,
            card_id=buy.card_id,
            revision_id=buy.revision_id,
            prefix=buy.row.prefix,
            rate_nanos=buy.rate_nanos,
            dialled_out=chosen.dialled_out,
            started_ms=wall_ms(attempt.started_at, wall_offset_s),
            progress_ms=wall_ms_if(attempt.progress_at, wall_offset_s),
            answered_ms=wall_ms_if(attempt.answered_at, wall_offset_s),
            ended_ms=wall_ms(attempt.ended_at or ended_at, wall_offset_s),
            status=attempt.status,
            cause=attempt.cause,
            destination=chosen.name,
        )

    def _explain(self, outcome: str, detail: str) -> None:
        plan = self.plan
        index = self._ring_index
        told: Candidate = plan.explanation[index]
        if told.outcome != "taken" or outcome == "taken":
            plan.explanation[index] = candidate(plan.called, outcome, plan.rings[index].name, detail)


def _shuffle(plan: InboundPlan, rng: Random) -> None:
    """Rings in any order, each with its place in the explanation."""
    count = len(plan.rings)
    order = list(range(count))
    rng.shuffle(order)
    left_out = plan.explanation[count:]
    plan.explanation = [plan.explanation[index] for index in order] + left_out
    plan.rings = [plan.rings[index] for index in order]
