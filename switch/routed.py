"""A call with its plan: hunts through vendors and occupies their channels."""

from __future__ import annotations

from typing import Final
from urllib.parse import quote

from switch.billed import BilledCall
from switch.board import Board
from switch.call.attempt import Attempt
from switch.call.call import CALLEE, SWITCH
from switch.call.forwarding import Swap
from switch.call.leg import ingress_leg
from switch.call.media import MediaRule, media_rule
from switch.call.screen import PLAIN
from switch.call.session_timer import ask_again
from switch.cdr import DECISION_MAX, Try, attempt_record, first_codec
from switch.outputs import Flow
from switch.policy.causes import STATUS, Cause
from switch.policy.decide import Plan, choose_gateway, follows, number_for
from switch.policy.live import CARD, GATEWAY, PROVIDER, layer_key
from switch.policy.presentation import is_plain, present
from switch.policy.verdicts import Option, Skip
from switch.quote_facts import quote_facts
from switch.records import Admitted, Candidate
from switch.records import Attempt as AttemptRecord
from switch.screening import USER_UNRESERVED, anonymised, screens, swapped
from switch.snapshot import Gateway, Provider
from switch.transaction.server import ServerTransaction
from switch.wire.headers import PRIVACY, RETRY_AFTER, USER_AGENT
from switch.wire.identity import asserted_number, wants_privacy
from switch.wire.message import Request, Response
from switch.wire.sdp import codec_list

CODECS: Final = "codecs"
"""Outcome of a vendor whose gateways take no codec that is offered."""

_PHRASES: Final[dict[int, bytes]] = {
    408: b"Request Timeout",
    480: b"Temporarily Unavailable",
    500: b"Server Internal Error",
    502: b"Bad Gateway",
    503: b"Service Unavailable",
    504: b"Server Time-out",
}


class RoutedCall(BilledCall):
    """What is known of the call beyond SIP and money."""

    def __init__(
        self,
        board: Board,
        plan: Plan,
        call_id: str,
        held_nanos: int,
        server: ServerTransaction,
        source: Flow,
        dialled_in: str,
        cli_in: str,
        invited_at: float,
        now: float,
        *,
        is_challenged: bool,
    ) -> None:
        invite = server.request
        assert invite is not None, "a fresh transaction"
        agent = invite.first(USER_AGENT)
        max_duration_s = board.options.max_duration_s
        if plan.max_duration_ms is not None:
            max_duration_s = min(max_duration_s, plan.max_duration_ms // 1000)
        admitted = Admitted(
            id=call_id,
            customer_id=plan.customer.id,
            client_id=plan.customer.client_id,
            endpoint_id=None if plan.endpoint is None else plan.endpoint.id,
            sip_user_id=None if plan.user is None else plan.user.id,
            route_id=plan.route.id,
            source=source,
            transport=board.hops.locals[source.listener].transport,
            call_id=invite.call_id.decode("utf-8", "backslashreplace"),
            cli_in=cli_in,
            cli_out=plan.cli_out,
            dialled_in=dialled_in,
            dialled_out=plan.dialled_out,
            invited_at=invited_at,
            # Of the INVITE: a wall clock that is set during the call moves none of its times.
            wall_offset_s=board.wall_offset_s,
            currency=plan.sell_card.currency,
            sell=quote_facts(plan.sell),
            user_agent="" if agent is None else agent.decode("utf-8", "backslashreplace"),
            is_challenged=is_challenged,
            max_duration_s=max_duration_s,
            held_nanos=held_nanos,
            invite=invite.data,
            decision=plan.decision[:DECISION_MAX],
        )
        super().__init__(board, admitted, ingress_leg(invite, source, board.ids.tag(), board.hops), source, plan.keys)
        self.plan: Plan = plan
        self.sell = plan.sell
        self._wall_offset_s: float = board.wall_offset_s
        """As it was at the INVITE."""
        self.tries: list[Try] = []
        self._position: int = 0
        self._tried: set[int] = set()
        board.records.append(admitted)
        self.begin(server, now)
        if plan.kbps_max is not None:
            self.limit_kbps(plan.keys[0], plan.kbps_max, plan.kbps)
        self._is_private: bool = invite.has(PRIVACY) and wants_privacy(invite)
        self._own_swap: Swap | None = None
        if plan.cli_out != cli_in:
            self.swap = self._own_swap = swapped(self.ingress.remote_value, plan.cli_out)

    def next_attempt(self, now: float) -> None:
        options = self.plan.options
        while self._position < len(options):
            index = self._position
            self._position += 1
            if self._try_option(index, options[index], now):
                return
        self._exhausted(now)

    def _try_option(self, index: int, option: Option, now: float) -> bool:
        """Begin an attempt at one of a vendor's gateways; False if none of them can be reached now."""
        board = self.board
        reason = detail = ""
        while True:
            chosen = choose_gateway(board.tables, board.live, option, now, board.now_ms(now), board.rng, self._tried)
            if isinstance(chosen, Skip):
                self._explain(index, option, reason or chosen.reason, detail or chosen.detail)
                return False
            self._tried.add(chosen.id)
            flow = board.flow_to(chosen, now)
            if flow is None:
                reason, detail = "unhealthy", f"gateway {chosen.id}: {chosen.host} is not resolved"
            elif self._wants_tls() and chosen.transport != "tls":
                reason, detail = "insecure", "sips wants TLS (RFC 3261 §26.2.2)"
            elif chosen.codecs and self._media_for(chosen).refuses(self.server_request()):
                reason, detail = CODECS, f"gateway {chosen.id} takes none of those offered"
            else:
                self._explain(index, option, "taken", f"gateway {chosen.id}")
                self._try(option, chosen, flow, now)
                return True

    def _media_for(self, gateway: Gateway) -> MediaRule:
        return MediaRule(self.plan.codecs, codec_list(gateway.codecs))

    def server_request(self) -> Request:
        """The caller's INVITE."""
        invite = self.invite
        assert invite is not None, "attempts end with the answer"
        return invite

    def _wants_tls(self) -> bool:
        invite = self.invite
        return invite is not None and invite.target.scheme == b"sips"

    def _try(self, option: Option, gateway: Gateway, flow: Flow, now: float) -> None:
        board = self.board
        plan = self.plan
        defaults = board.options
        provider = option.provider
        number = number_for(provider, plan.dialled_out)
        self._present(provider, flow)
        if gateway.codecs:
            self.media = self._media_for(gateway)
        elif self.media is not None or plan.codecs is not None:
            self.media = media_rule(plan.codecs, None)
        branch = board.ids.branch()
        data = self._invite_for(gateway, flow, number, branch)
        if gateway.also_tcp and len(data) > defaults.udp_request_bytes_max:
            tcp = board.tcp_flow_to(flow)
            if tcp is not None:
                flow = tcp
                data = self._invite_for(gateway, flow, number, branch)
        attempt = Attempt(
            self.layer,
            self,
            flow,
            least(plan.first_reply_ms, provider.first_reply_ms, defaults.first_reply_ms),
            least(plan.pdd_ms, provider.pdd_ms, defaults.pdd_ms),
            least(plan.ring_ms, provider.ring_ms, defaults.ring_ms),
        )
        chosen = Try(option, gateway, number)
        self.tries.append(chosen)
        live = board.live
        live.enter(layer_key(PROVIDER, option.card.provider_id), attempt)
        live.enter(layer_key(GATEWAY, chosen.gateway_id), attempt)
        live.enter(layer_key(CARD, option.card.id), attempt)
        self.begin_attempt(attempt, branch, data, now)

    def _present(self, provider: Provider, flow: Flow) -> None:
        """Who this vendor is told is calling, and which headers pass it."""
        customer = self.plan.customer
        changed = "" if self._own_swap is None else self.plan.cli_out
        if not changed and is_plain(customer, provider, self._is_private):
            self.swap = None
            self.screen_out = self.screen_back = PLAIN
            return
        shown = present(
            customer,
            provider,
            self.plan.cli_out,
            self._own_swap is not None,
            asserted_number(self.server_request()),
            self._is_private,
        )
        self.swap = anonymised(self.ingress.remote_value) if shown.is_anonymous else self._own_swap
        host = self.hops.locals[flow.listener].shown_host
        self.screen_out, self.screen_back = screens(customer, provider, shown, host, changed)

    def _invite_for(self, gateway: Gateway, flow: Flow, number: str, branch: bytes) -> bytes:
        host = gateway.host
        if ":" in host and host[0] != "[":
            host = f"[{host}]"
        transport = self.hops.locals[flow.listener].transport
        user = number if number.isdigit() else quote(number, safe=USER_UNRESERVED)
        uri = f"{'sips' if self._wants_tls() else 'sip'}:{user}@{host}"
        port = gateway.port
        if port:
            uri = f"{uri}:{port}"
        if transport != "udp":
            uri = f"{uri};transport={transport}"
        return self.build_invite(uri.encode("ascii"), flow, branch)

    def on_vendor_failure(self, attempt: Attempt, response: Response, now: float) -> None:
        board = self.board
        chosen = self.tries[self.attempts.index(attempt)]
        status = response.status
        if status == 503:
            wait_s = _retry_after_s(response)
            if wait_s > 0:
                board.live.health_of(chosen.gateway.id).rest(wait_s, now)
                board.tell_health(chosen.gateway.id)
        provider = board.tables.providers.get(chosen.option.card.provider_id, chosen.option.provider)
        invite = self.invite
        if status == 422 and self.session_ask.is_ours and invite is not None:
            # It was us who offered that timer: the caller would not know what to make of the refusal.
            self.session_ask = ask_again(invite, self.session_ask, response)
            self._try(chosen.option, chosen.gateway, attempt.flow, now)
        elif status == 401 or status == 407:
            self.next_attempt(now)  # it asks us, not the caller
        elif follows(provider, status) == "next":
            self.next_attempt(now)
        elif 300 <= status < 400:
            # Never followed, and its addresses are no caller's business.
            self.fail(503, b"Service Unavailable", "rejected", CALLEE, now)
        else:
            self.fail_with(response, cause_of(status), now)

    def on_attempt_over(self, attempt: Attempt, now: float) -> None:
        board = self.board
        if attempt not in self.attempts:
            return  # the call has ended and left everything already
        chosen = self.tries[self.attempts.index(attempt)]
        live = board.live
        live.leave(layer_key(PROVIDER, chosen.option.card.provider_id), attempt)
        live.leave(layer_key(GATEWAY, chosen.gateway_id), attempt)
        live.leave(layer_key(CARD, chosen.option.card.id), attempt)
        board.quick_answers.note_failure(chosen.option.card.provider_id)
        if attempt.cause in ("first_reply_timeout", "unreachable"):
            board.rest_target(attempt.flow, now)

    def _exhausted(self, now: float) -> None:
        """No vendor is left: the last one's answer, in our words (SPEC of refusals)."""
        if not self.attempts:
            outcomes = {told.outcome for told in self.plan.explanation[: len(self.plan.options)]}
            cause = Cause.CODECS_REFUSED if outcomes == {CODECS} else Cause.NO_VENDOR
            status, phrase = STATUS[cause]
            self._refuse(status, phrase.encode("ascii"), cause.value, now)
            return
        last = self.attempts[len(self.attempts) - 1]
        if last.cause == "ring_timeout":
            self._refuse(480, _PHRASES[480], Cause.NO_ANSWER.value, now)
        elif last.status >= 400 and last.status not in (401, 407):
            phrase_bytes = _PHRASES.get(last.status, b"Call Failed")
            self._refuse(last.status, phrase_bytes, Cause.VENDORS_EXHAUSTED.value, now)
        else:
            self._refuse(503, _PHRASES[503], Cause.VENDORS_EXHAUSTED.value, now)

    def _refuse(self, status: int, phrase: bytes, cause: str, now: float) -> None:
        self.fail(status, phrase, cause, SWITCH, now, (reason_line(status, cause),))

    def on_answered(self, response: Response, now: float) -> None:
        board = self.board
        plan = self.plan
        attempt = self.attempt
        assert attempt is not None, "one of its attempts was answered"
        position = self.attempts.index(attempt)
        self.failed = self.failed_but(position, now)
        self.answered = attempt_record(attempt, self.tries[position], now, self._wall_offset_s)
        self.buy = self.tries[position].option.quote
        self.explanation = tuple(plan.explanation)
        self.channel = attempt
        self.codecs = first_codec(self.edited(response) or response.body)
        self.note_media(response)
        record = self.answered_record()
        assert record is not None, "all of it is known now"
        board.records.append(record)
        self.start_clock(now)
        board.note_answer(self.tries[position].option.provider, now - attempt.started_at, now)
        board.count("calls_answered")

    def on_ended(self, now: float) -> None:
        if self.answered is None:
            self.failed = self.failed_but(-1, now)
            self.explanation = tuple(self.plan.explanation)
        super().on_ended(now)
        self.tries = []
        self.plan.options = []
        self.plan.explanation = []

    def failed_but(self, position: int, now: float) -> tuple[AttemptRecord, ...]:
        """Records of all attempts but one."""
        wall_offset_s = self._wall_offset_s
        found: list[AttemptRecord] = []
        for index, chosen in enumerate(self.tries):
            if index != position:
                found.append(attempt_record(self.attempts[index], chosen, now, wall_offset_s))
        return tuple(found)

    def _explain(self, index: int, option: Option, outcome: str, detail: str) -> None:
        self.plan.explanation[index] = Candidate(
            option.card.id, option.card.provider_id, outcome, option.rate_nanos, option.margin_nanos, detail
        )


def reason_line(status: int, cause: str) -> bytes:
    """Tells the peer's log why, in a protocol value of our own (RFC 3326 §2)."""
    return b'Reason: X.tandem;cause=%d;text="%b"' % (status, cause.encode("ascii"))


def least(first: int | None, second: int | None, default: int) -> int:
    """The shortest of the timers that were set; the default where none was."""
    if first is None:
        return default if second is None else second
    return first if second is None else min(first, second)


def cause_of(status: int) -> str:
    if status == 486 or status == 600:
        return Cause.BUSY.value
    if status == 480 or status == 408:
        return Cause.NO_ANSWER.value
    return Cause.FAILED.value if 500 <= status < 600 else Cause.REJECTED.value


def _retry_after_s(response: Response) -> float:
    value = response.first(RETRY_AFTER)
    if value is None:
        return 0.0
    digits = value.split(b"(", 1)[0].split(b";", 1)[0].strip()
    return float(int(digits)) if digits.isdigit() and len(digits) <= 9 else 0.0
