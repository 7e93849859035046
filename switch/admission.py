"""How an INVITE becomes a call: who it is from, what policy says, and the money put aside.

The order is that of admission: identify by address or digest, `decide`, hold, forward. Nothing runs
between the hold and the forward. Whoever is refused hears one status and leaves one cause in a CDR;
strangers leave none.
"""

from __future__ import annotations

from typing import Final

from config.settings import Settings
from rating.holding import capped
from switch.accounts import SPEND_REACHED
from switch.answering import Answering, phrase_of, retry_lines
from switch.board import Board
from switch.call.call import dialog_key
from switch.call.hops import DEFAULT_PORT, Hops
from switch.call.session_timer import is_too_short, min_se_line
from switch.cdr import build_refusal, source_text
from switch.inbound import InboundCall
from switch.outputs import Flow
from switch.policy.causes import STATUS, Cause
from switch.policy.decide import Facts, Plan, Reject, decide
from switch.policy.digest import Accepted, Authenticator
from switch.policy.inbound import Called, InboundPlan, called_number, decide_inbound
from switch.policy.live import Live
from switch.policy.tables import Tables
from switch.records import CallEnded
from switch.routed import RoutedCall, reason_line
from switch.transaction.layer import Layer
from switch.transaction.server import ServerTransaction
from switch.waiting import Waiting, WaitingUser
from switch.wire.build import response_to
from switch.wire.headers import PROXY_AUTHORIZATION, USER_AGENT
from switch.wire.message import Request
from switch.wire.uri import parse_uri

SCHEMES: Final = (b"sip", b"sips", b"tel")


class Admission(WaitingUser):
    """One per engine."""

    def __init__(self, board: Board, answering: Answering, authenticator: Authenticator, settings: Settings) -> None:
        self.board: Board = board
        self.answering: Answering = answering
        self.authenticator: Authenticator = authenticator
        self.layer: Layer = board.layer
        self.hops: Hops = board.hops
        self.tables: Tables = board.tables
        self.live: Live = board.live
        self.waiting: dict[bytes, Waiting] = {}
        """INVITEs held back by their route's call rate, by dialog."""
        self.is_draining: bool = False
        self.store_failure: str = ""
        """Why the journal takes no more records; new calls are refused meanwhile."""
        self._is_silent: bool = settings.sip.unknown_source == "silence"
        self._allows_loopback: bool = settings.sip.allow_loopback
        self._transactions_max: int = settings.limits.transactions_max
        self._vias_max: int = settings.limits.vias_max

    def receive_invite(self, request: Request, key: bytes, flow: Flow, now: float) -> None:
        board = self.board
        cause = self._why_closed()
        if cause is not None:
            board.count("calls_turned_away")
            if cause is not Cause.DRAINING:
                # Without a store or room there is no CDR and no transaction either: an answer is all.
                self._refuse_statelessly(request, flow, cause)
                return
        uri = request.target
        if uri.scheme not in SCHEMES:
            self.answering.reply(request, flow, 416, b"Unsupported URI Scheme")
            return
        if request.via_count >= self._vias_max:
            # With ours it would be one more than we read: no answer could come back.
            self.answering.reply(request, flow, 483, b"Too Many Hops")
            return
        if self._is_merged_or_looped(request):
            self.answering.reply(request, flow, 482, b"Loop Detected")
            return
        dialled = uri.user_text()
        caller_uri = parse_uri(request.from_uri())
        cli = caller_uri.user_text()
        # All that can turn out to be broken is read before there is any state.
        is_foreign = not self.answering.is_ours(uri) or self.answering.has_foreign_route(request)
        local = self.hops.locals[flow.listener]
        source_ip = flow.address[0]
        facts = Facts(
            source_ip,
            local.transport,
            dialled,
            cli,
            board.now_ms(now),
            now,
            None,
            0,
            board.options.max_duration_s,
            request,
        )
        verdict: Plan | Reject | None = None
        is_challenged = False
        if self._allows_loopback or local.is_reliable or not self.answering.is_own_address(source_ip):
            if self.tables.dids_by_number:
                gateway_ids = board.vendor_ips.get(source_ip)
                called = None if gateway_ids is None else called_number(self.tables, gateway_ids, dialled)
                if called is not None:
                    self._receive_inbound(called, request, key, flow, facts, is_foreign, cause, now)
                    return
            verdict = decide(self.tables, self.live, facts)
        if verdict is None or (isinstance(verdict, Reject) and verdict.customer is None):
            # A stranger by address; perhaps a user by password.
            answers = request.each(PROXY_AUTHORIZATION)
            if not answers and self._is_gateway(flow):
                # Nobody's number, or nobody's from there: a carrier has no password to be asked for.
                self._refuse_unknown_number(request, flow)
                return
            if not self.tables.users:
                self._refuse_stranger(request, flow, Cause.SOURCE_UNKNOWN)
                return
            checked = self.authenticator.check(answers, b"INVITE", request.uri, self.tables, source_ip, now)
            if not isinstance(checked, Accepted):
                self._challenge(request, flow, checked.cause, checked.stale, now)
                return
            facts.user = checked.user
            is_challenged = True
            verdict = decide(self.tables, self.live, facts)
            if isinstance(verdict, Reject) and verdict.customer is None:
                self._refuse_stranger(request, flow, Cause.SOURCE_UNKNOWN)
                return
        if is_too_short(request, board.calls.liveness):
            # Like a challenge: the caller is to ask again, and no call has been tried yet.
            self.refuse_too_short(request, flow)
            return
        board.count("calls_attempted")
        self.layer.is_of_call = True
        via_value = request.via.with_source(source_ip, flow.address[1])
        server = ServerTransaction(
            self.layer, key, request, self.answering.reply_flow(request, flow), via_value, is_reliable=local.is_reliable
        )
        if cause is not None:
            self._refuse(request, server, flow, _turned_away(verdict, cause, ""), facts, now, now)
            return
        if isinstance(verdict, Reject):
            if verdict.retry_in_s > 0.0 and not is_foreign:
                cdr_id = board.ids.cdr_id(board.now_ms(now))
                waiting = Waiting(self, server, flow, facts, verdict, cdr_id, now, is_challenged=is_challenged)
                self._hold_back(waiting, now)
            else:
                self._refuse(request, server, flow, verdict, facts, now, now)
            return
        if is_foreign:
            reject = _turned_away(verdict, Cause.NO_INGRESS_ROUTE, "Request-URI or Route names another host")
            self._refuse(request, server, flow, reject, facts, now, now)
            return
        self._admit(verdict, request, server, flow, facts, now, now, is_challenged=is_challenged)

    def _receive_inbound(
        self,
        called: Called,
        request: Request,
        key: bytes,
        flow: Flow,
        facts: Facts,
        is_foreign: bool,
        cause: Cause | None,
        now: float,
    ) -> None:
        """A provider brings a call to one of our numbers."""
        board = self.board
        verdict = decide_inbound(self.tables, self.live, facts, called)
        if isinstance(verdict, Reject) and verdict.customer is None:
            self._refuse_unknown_number(request, flow)
            return
        if is_too_short(request, board.calls.liveness):
            self.refuse_too_short(request, flow)
            return
        board.count("calls_attempted")
        self.layer.is_of_call = True
        via_value = request.via.with_source(flow.address[0], flow.address[1])
        server = ServerTransaction(
            self.layer,
            key,
            request,
            self.answering.reply_flow(request, flow),
            via_value,
            is_reliable=self.hops.locals[flow.listener].is_reliable,
        )
        if cause is not None:
            self._refuse(request, server, flow, _not_rung(verdict, cause, ""), facts, now, now)
        elif isinstance(verdict, Reject):
            self._refuse(request, server, flow, verdict, facts, now, now)
        elif is_foreign:
            reject = _not_rung(verdict, Cause.NUMBER_UNASSIGNED, "Request-URI or Route names another host")
            self._refuse(request, server, flow, reject, facts, now, now)
        else:
            self._ring(verdict, request, server, flow, facts, now)

    def _ring(
        self, plan: InboundPlan, request: Request, server: ServerTransaction, flow: Flow, facts: Facts, now: float
    ) -> None:
        """Put the money aside, or let it ring without where the customer may, and hunt."""
        board = self.board
        customer = plan.customer
        call_id = board.ids.cdr_id(board.now_ms(now))
        talk_s = min(board.options.hold_initial_s, facts.max_duration_s)
        held = board.accounts.hold_inbound(customer, call_id, plan.sell, talk_s, board.now_ms(now))
        if held < 0:
            if not customer.allow_inbound_without_credit:
                cause = Cause.DAILY_SPEND_REACHED if held == SPEND_REACHED else Cause.BALANCE_INSUFFICIENT
                self._refuse(request, server, flow, _not_rung(plan, cause, ""), facts, now, now)
                return
            # It holds nothing, so it costs nothing: what is owed never passes the limit.
            board.accounts.ledger.restore(customer.id, call_id, 0)
            plan.sell = capped(plan.sell, 0)
            held = 0
        board.count("calls_inbound")
        InboundCall(board, plan, call_id, held, server, flow, facts, now, now).next_attempt(now)

    def _is_gateway(self, flow: Flow) -> bool:
        """Whether a stranger is a provider's gateway. On our own addresses others live too: there its port counts."""
        gateway_ids = self.board.vendor_ips.get(flow.address[0])
        if gateway_ids is None:
            return False
        is_shared = self.answering.is_own_address(flow.address[0])
        for gateway_id in gateway_ids:
            gateway = self.tables.gateways.get(gateway_id)
            if gateway is not None and (not is_shared or (gateway.port or DEFAULT_PORT) == flow.address[1]):
                return True
        return False

    def _refuse_unknown_number(self, request: Request, flow: Flow) -> None:
        self.board.count("numbers_unknown")
        status, phrase = STATUS[Cause.NUMBER_UNASSIGNED]
        lines = [reason_line(status, Cause.NUMBER_UNASSIGNED.value)]
        self.answering.reply(request, flow, status, phrase.encode("ascii"), lines)

    def _admit(
        self,
        plan: Plan,
        request: Request,
        server: ServerTransaction,
        flow: Flow,
        facts: Facts,
        invited_at: float,
        now: float,
        *,
        is_challenged: bool,
        cdr_id: str = "",
    ) -> None:
        """Put the money aside, which is the last thing that can refuse a call, and forward it.

        Args:
            cdr_id: the one that it has already, if it has one.
        """
        board = self.board
        call_id = cdr_id or board.ids.cdr_id(board.now_ms(invited_at))
        talk_s = min(board.options.hold_initial_s, facts.max_duration_s)
        if plan.max_duration_ms is not None:
            talk_s = min(talk_s, plan.max_duration_ms // 1000)
        held = board.accounts.hold(plan.customer, call_id, plan.sell, talk_s, board.now_ms(now))
        if held < 0:
            cause = Cause.DAILY_SPEND_REACHED if held == SPEND_REACHED else Cause.BALANCE_INSUFFICIENT
            self._refuse(request, server, flow, _turned_away(plan, cause, ""), facts, invited_at, now, call_id)
            return
        call = RoutedCall(
            board,
            plan,
            call_id,
            held,
            server,
            flow,
            facts.dialled,
            facts.cli,
            invited_at,
            now,
            is_challenged=is_challenged,
        )
        call.next_attempt(now)

    def _hold_back(self, waiting: Waiting, now: float) -> None:
        self.board.count("calls_held_back")
        request, server = waiting.request, waiting.server
        self.waiting[dialog_key(request.call_id, request.from_tag)] = waiting
        server.respond(100, response_to(request, 100, b"Trying", via_value=server.via_value), now)
        waiting.wait(waiting.reject.retry_in_s, now)

    def decide_again(self, waiting: Waiting, now: float) -> None:
        facts = waiting.facts
        facts.now_s = now  # rates and rests are asked now; prices stay those of the INVITE
        cause = self._why_closed()
        if cause is None:
            verdict = decide(self.tables, self.live, facts)
            if isinstance(verdict, Plan):
                self._forget_waiting(waiting)
                self._admit(
                    verdict,
                    waiting.request,
                    waiting.server,
                    waiting.flow,
                    facts,
                    waiting.arrived_at,
                    now,
                    is_challenged=waiting.is_challenged,
                    cdr_id=waiting.cdr_id,
                )
                return
            if waiting.may_wait(verdict.retry_in_s, now):
                waiting.wait(verdict.retry_in_s, now)
                return
            if verdict.customer is not None:
                waiting.reject = verdict
        else:
            waiting.reject.cause = cause
        self.leave_queue(waiting, now)

    def leave_queue(self, waiting: Waiting, now: float) -> None:
        self._forget_waiting(waiting)
        self._refuse(
            waiting.request,
            waiting.server,
            waiting.flow,
            waiting.reject,
            waiting.facts,
            waiting.arrived_at,
            now,
            waiting.cdr_id,
        )

    def _forget_waiting(self, waiting: Waiting) -> None:
        request = waiting.request
        self.waiting.pop(dialog_key(request.call_id, request.from_tag), None)

    def _why_closed(self) -> Cause | None:
        if self.store_failure:
            return Cause.STORE_FAILED
        if self.is_draining:
            return Cause.DRAINING
        if (
            self.tables.version == 0
            or not self.board.accounts.has_balances
            or self.layer.size() >= self._transactions_max
        ):
            return Cause.OVERLOAD
        return None

    def _is_merged_or_looped(self, request: Request) -> bool:
        """The same INVITE by another path, or back from a vendor (RFC 3261 §8.2.2.2, RFC 5393).

        A call that we still have under the same Call-ID and caller's tag cannot begin again: what
        a vendor sends back to us carries both. The table of live dialogs is the loop check, so
        that no hash has to be computed for the calls that do not loop.
        """
        key = dialog_key(request.call_id, request.from_tag)
        return key in self.board.calls.by_dialog or key in self.waiting

    def _refuse(
        self,
        request: Request,
        server: ServerTransaction,
        flow: Flow,
        reject: Reject,
        facts: Facts,
        invited_at: float,
        now: float,
        cdr_id: str = "",
    ) -> None:
        """A known customer's call is refused: a CDR, and the status of the cause."""
        board = self.board
        cause = reject.cause
        is_cancelled = cause is Cause.CANCELLED
        status, phrase = (487, "Request Terminated") if is_cancelled else STATUS[cause]
        agent = request.first(USER_AGENT)
        cdr = build_refusal(
            cdr_id or board.ids.cdr_id(board.now_ms(invited_at)),
            request,
            reject,
            status=status,
            release="caller" if is_cancelled else "switch",
            source=source_text(flow),
            transport=self.hops.locals[flow.listener].transport,
            dialled_in=facts.dialled,
            cli_in=facts.cli,
            user_agent="" if agent is None else agent.decode("utf-8", "backslashreplace"),
            invited_ms=board.now_ms(invited_at),
            ended_ms=board.now_ms(now),
        )
        board.records.append(CallEnded(cdr))
        board.count("calls_refused")
        extra = [reason_line(status, cause.value), *retry_lines(cause)]
        data = response_to(
            request,
            status,
            phrase.encode("ascii"),
            to_tag=board.ids.tag(),
            extra=extra,
            via_value=server.via_value,
        )
        server.respond(status, data, now)

    def _refuse_stranger(self, request: Request, flow: Flow, cause: Cause) -> None:
        self.board.count("strangers_refused")
        if not self._is_silent:
            self._refuse_statelessly(request, flow, cause)

    def _refuse_statelessly(self, request: Request, flow: Flow, cause: Cause) -> None:
        status, phrase = STATUS[cause]
        extra = retry_lines(cause)
        if self.answering.is_known(flow.address[0]):
            extra.append(reason_line(status, cause.value))
        self.answering.reply(request, flow, status, phrase.encode("ascii"), extra)

    def _challenge(self, request: Request, flow: Flow, cause: Cause, is_stale: bool, now: float) -> None:
        self.board.count(cause.value)
        status, phrase = STATUS[cause]
        if status != 407:
            self._refuse_stranger(request, flow, cause)
            return
        lines = self.authenticator.challenge_lines(now, is_stale)
        # Fewer algorithms rather than an answer that is longer than the question; SHA-256 is the
        # last to go, unless nobody could use it.
        reason = phrase.encode("ascii")
        for chosen in self.authenticator.shorter_challenges(lines, "SHA-256"):
            if self.answering.reply(request, flow, status, reason, chosen):
                return

    def refuse_too_short(self, request: Request, flow: Flow) -> None:
        """RFC 4028 §8.1: the session timer that was asked for is shorter than we allow."""
        self.board.count("sessions_too_short")
        self.answering.reply(request, flow, 422, phrase_of(422, b""), [min_se_line(self.board.calls.liveness)])


def _not_rung(verdict: InboundPlan | Reject, cause: Cause, detail: str) -> Reject:
    """The same for a call to a customer's number."""
    reject = Reject(cause, detail, [])
    if isinstance(verdict, Reject):
        reject.customer = verdict.customer
        reject.did_id = verdict.did_id
        reject.dialled_out = verdict.dialled_out
    else:
        reject.customer = verdict.customer
        reject.did_id = verdict.called.did.id
        reject.dialled_out = verdict.called.did.number
        reject.sell = verdict.sell
        reject.explanation = verdict.explanation
    return reject


def _turned_away(verdict: Plan | Reject, cause: Cause, detail: str) -> Reject:
    """A known caller is refused for a reason that policy does not know: who it is goes into the CDR."""
    reject = Reject(cause, detail, [])
    if isinstance(verdict, Reject):
        reject.customer = verdict.customer
        reject.endpoint_id = verdict.endpoint_id
        reject.user_id = verdict.user_id
    else:
        reject.customer = verdict.customer
        reject.endpoint_id = None if verdict.endpoint is None else verdict.endpoint.id
        reject.user_id = None if verdict.user is None else verdict.user.id
        if cause is Cause.BALANCE_INSUFFICIENT or cause is Cause.DAILY_SPEND_REACHED:
            reject.route_id = verdict.route.id
            reject.sell = verdict.sell
            reject.explanation = verdict.explanation
    reject.dialled_out = verdict.dialled_out
    reject.cli_out = verdict.cli_out
    return reject
