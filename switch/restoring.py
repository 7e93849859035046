"""Brings back what was up before a restart: balances, holds, and calls with both their dialogs.

An answered call goes on: its peers find their dialogs, it talks on what it held, and it ends billed
like any other. Whether it is still up is not known until both sides have shown it (`is_unproven`).
A call that was not answered yet is over: its caller gets a 503 and can dial again, its CDR says
`lost_in_restart`, and nobody pays.
"""

from __future__ import annotations

import msgspec

from rating.holding import covered_ms
from rating.quotes import Charge, price
from switch.billed import BilledCall
from switch.board import Board
from switch.call.call import ANSWERED, SWITCH
from switch.call.forwarding import Swap
from switch.call.leg import CSEQ_JUMP, restored_leg
from switch.call.media import media_rule
from switch.cdr import NUMBER_START, build_cdr, closed_attempt, delivery_attempt, length_ms, wall_ms
from switch.outputs import Flow
from switch.policy.callers import Caller
from switch.policy.causes import STATUS, Cause
from switch.policy.live import CARD, CUSTOMER, DID, ENDPOINT, GATEWAY, INSTANCE_KEY, PROVIDER, ROUTE, USER, layer_key
from switch.policy.presentation import Presentation, is_plain, present
from switch.quote_facts import restored_quote
from switch.records import Admitted, Answered, Attempt, CallEnded
from switch.recovered import RecoveredCall
from switch.screening import ANONYMOUS, inbound_screens, screens
from switch.transaction.layer import server_key
from switch.transaction.server import ServerTransaction
from switch.wire.build import response_to
from switch.wire.errors import ParseError
from switch.wire.message import Request, parse_message
from switch.wire.sdp import canonical, codec_kbps, codec_list


def shift_of(board: Board, found: RecoveredCall, boot_id: str) -> float:
    """What to add to a call's moments to have them on our clock.

    The clock of one and the same boot goes on, so not even a wall clock that was set matters; after
    a boot moments are such that the call's wall clock stays what it was.
    """
    if boot_id and found.boot_id == boot_id:
        return 0.0
    return found.admitted.wall_offset_s - board.wall_offset_s


def restore_call(board: Board, found: RecoveredCall, shift_s: float, last_at: float, now: float) -> BilledCall:
    """An answered call, live again from here on.

    Args:
        last_at: the last moment of the process before, on our clock.
    Raises:
        ParseError: its dialogs cannot be rebuilt, or a listener that it used is not there any more.
        ValueError: its prices cannot (a time zone that this machine does not know).
    """
    answered = found.answered
    assert answered is not None, "answered calls only"
    admitted = _moved(found.admitted, shift_s)
    _check_listeners(board, admitted.source, answered)
    ingress = restored_leg(answered.ingress, board.hops)
    egress = restored_leg(answered.egress, board.hops)
    ingress.local_jump = egress.local_jump = CSEQ_JUMP
    sell = restored_quote(admitted.sell)
    buy = restored_quote(answered.buy)
    # From here on it is live: whatever can go wrong has gone wrong before.
    call = BilledCall(board, admitted, ingress, _unconnected(admitted.source), layer_keys(admitted))
    call.sell = sell
    call.buy = buy
    call.reply_flow = _unconnected(answered.reply_flow)
    call.invite_cseq = answered.invite_cseq
    if answered.swap is not None:
        call.swap = Swap(answered.swap[0], answered.swap[1])
    _screen(board, call, admitted, answered)
    _limit_media(board, call, admitted, answered)
    call.codecs = answered.codecs
    call.failed = answered.attempts
    call.answered = answered.attempt
    call.explanation = answered.explanation
    call.egress = egress
    call.state = ANSWERED
    call.status = answered.status
    call.progress_at = answered.progress_at + shift_s if answered.progress_at else 0.0
    # A clock that was set back while nobody ran must not make an answer of the future.
    call.answered_at = min(answered.answered_at + shift_s, now)
    # A process that came and went without hearing of the call has proven nothing by its own life.
    alive_at = found.alive_at + shift_s if found.alive_at else last_at
    call.alive_at = max(min(alive_at, now), call.answered_at)
    call.is_unproven = True
    _occupy_vendor(board, call, answered)
    board.accounts.ledger.restore(admitted.customer_id, call.id, found.held_nanos)
    call.held_nanos = found.held_nanos
    call.start_clock(now)
    session = answered.session
    call.go_on(call.alive_at, session.interval_s, session.refresher, now)
    return call


def close_lost(board: Board, found: RecoveredCall, shift_s: float, last_at: float, now: float) -> None:
    """A call that had no answer yet, or that cannot be brought back: its CDR, and a word to its caller.

    One that was answered is charged up to where it was known to be up; its peers hang up by themselves.
    """
    admitted = _moved(found.admitted, shift_s)
    answered = found.answered
    status, phrase = STATUS[Cause.LOST_IN_RESTART]
    alive_at = found.alive_at + shift_s if found.alive_at and answered is not None else last_at
    ended_at = max(admitted.invited_at, min(alive_at, now))
    sell = restored_quote(admitted.sell)
    charge = Charge(0, 0, 0)
    answered_at = progress_at = 0.0
    duration_ms = 0
    attempts: tuple[Attempt, ...] = ()
    if answered is None:
        tell_caller(board, admitted, status, phrase, Cause.LOST_IN_RESTART.value, now)
    else:
        # It was up until then at least, and that long it is charged, within what it held.
        status = answered.status
        answered_at = answered.answered_at + shift_s
        progress_at = answered.progress_at + shift_s if answered.progress_at else 0.0
        talk_ms = max(0, length_ms(answered_at, ended_at))
        duration_ms = min(talk_ms, max(0, covered_ms(sell, found.held_nanos)))
        ended_at = answered_at + duration_ms / 1000.0
        answered_ms = wall_ms(answered_at, admitted.wall_offset_s)
        ended_ms = wall_ms(ended_at, admitted.wall_offset_s)
        charge = price(sell, duration_ms, answered_ms)
        cost = price(restored_quote(answered.buy), duration_ms, answered_ms)
        attempts = (*answered.attempts, closed_attempt(answered.attempt, ended_ms, cost))
        delivery = delivery_attempt(admitted, answered.attempt, ended_ms, duration_ms, answered_ms)
        if delivery is not None:
            attempts = (delivery, *attempts)
        # For the day that its CDR names, which is all that a replay knows.
        board.accounts.charge(admitted.customer_id, charge.gross_nanos, ended_ms)
    cdr = build_cdr(
        admitted,
        sell,
        charge,
        progress_at=progress_at,
        answered_at=answered_at,
        ended_at=ended_at,
        release=SWITCH,
        cause=Cause.LOST_IN_RESTART.value,
        status=status,
        duration_ms=duration_ms,
        codecs="" if answered is None else answered.codecs,
        attempts=attempts,
        explanation=() if answered is None else answered.explanation,
    )
    board.records.append(CallEnded(cdr))
    board.count("calls_lost_in_restart")


def layer_keys(admitted: Admitted) -> list[int]:
    """What the call occupies, as `Plan.keys`."""
    keys = [layer_key(CUSTOMER, admitted.customer_id), INSTANCE_KEY]
    if admitted.route_id is not None:
        keys.append(layer_key(ROUTE, admitted.route_id))
    if admitted.did is not None:
        keys.append(layer_key(DID, admitted.did.id))
    if admitted.endpoint_id is not None:
        keys.append(layer_key(ENDPOINT, admitted.endpoint_id))
    if admitted.sip_user_id is not None:
        keys.append(layer_key(USER, admitted.sip_user_id))
    return keys


def _screen(board: Board, call: BilledCall, admitted: Admitted, answered: Answered) -> None:
    """What passes between the two sides, by today's records of both; without them, as little as may be."""
    customer = board.tables.customers.get(admitted.customer_id)
    provider = board.tables.providers.get(answered.attempt.provider_id)
    swap = call.swap
    is_private = swap is not None and swap.callee_side.startswith(ANONYMOUS)
    if customer is None or provider is None:
        return
    if admitted.did is not None and not answered.attempt.destination.startswith(NUMBER_START):
        call.screen_out, call.screen_back = inbound_screens(customer, provider, is_private)
        return
    is_changed = admitted.cli_out != admitted.cli_in
    if not is_changed and is_plain(customer, provider, is_private):
        return
    shown = Presentation(True, False, "")
    if not is_private:
        # What the INVITE asserted is not known any more: later ones pass as they come, or say what is shown.
        asserted = "" if is_changed else admitted.cli_out
        shown = present(customer, provider, admitted.cli_out, is_changed, asserted, False)
    host = board.hops.locals[answered.egress.heard_from.listener].shown_host
    call.screen_out, call.screen_back = screens(customer, provider, shown, host, admitted.cli_out if is_changed else "")


def _limit_media(board: Board, call: BilledCall, admitted: Admitted, answered: Answered) -> None:
    """Codecs and bandwidth, by today's records; of what was agreed upon the first codec is all that is known."""
    tables = board.tables
    caller: Caller | None = None
    if admitted.endpoint_id is not None:
        caller = tables.endpoint_callers.get(admitted.endpoint_id)
    elif admitted.sip_user_id is not None:
        caller = tables.user_callers.get(admitted.sip_user_id)
    is_delivered = admitted.did is not None and not answered.attempt.destination.startswith(NUMBER_START)
    gateway = None if is_delivered else tables.gateways.get(answered.attempt.gateway_id)
    far = None if gateway is None else codec_list(gateway.codecs)
    call.media = media_rule(None if caller is None else caller.codecs, far)
    if caller is not None and caller.kbps_max is not None:
        kbps = codec_kbps(canonical(answered.codecs.encode("ascii", "replace")))
        call.limit_kbps(caller.key, caller.kbps_max, kbps)


def _occupy_vendor(board: Board, call: BilledCall, answered: Answered) -> None:
    attempt = answered.attempt
    if attempt.destination and not attempt.destination.startswith(NUMBER_START):
        return  # it came through that provider's gateway, and left for none
    board.live.enter(layer_key(PROVIDER, attempt.provider_id), call)
    board.live.enter(layer_key(GATEWAY, attempt.gateway_id), call)
    board.live.enter(layer_key(CARD, attempt.card_id), call)


def tell_caller(board: Board, admitted: Admitted, status: int, phrase: str, cause: str, now: float) -> None:
    """End the caller's INVITE, as far as what it sent can still be read."""
    try:
        request = parse_message(admitted.invite)
    except ParseError:
        return
    source = _unconnected(admitted.source)
    if not isinstance(request, Request) or source.listener >= len(board.hops.locals):
        return
    local = board.hops.locals[source.listener]
    via_value = request.via.with_source(source.address[0], source.address[1])
    key = server_key(request, b"INVITE")
    flow = source if request.via.has_rport else Flow(source.listener, (source.address[0], request.via.port or 5060))
    server = ServerTransaction(board.layer, key, request, flow, via_value, is_reliable=local.is_reliable)
    extra = [b'Reason: X.tandem;cause=%d;text="%b"' % (status, cause.encode("ascii"))]
    if cause == Cause.LOST_IN_RESTART.value:
        extra.append(b"Retry-After: 1")
    reason = phrase.encode("ascii")
    data = response_to(request, status, reason, to_tag=board.ids.tag(), extra=extra, via_value=via_value)
    server.respond(status, data, now)


def _check_listeners(board: Board, source: Flow, answered: Answered) -> None:
    count = len(board.hops.locals)
    flows = (source, answered.reply_flow, answered.ingress.heard_from, answered.egress.heard_from)
    if any(flow.listener >= count for flow in flows):
        raise ParseError("a listener that it used is not there any more")


def _unconnected(flow: Flow) -> Flow:
    """The same place over a connection of today: those of the process before are gone."""
    return flow if not flow.connection else Flow(flow.listener, flow.address, 0, flow.server_name, flow.tls_verify)


def _moved(admitted: Admitted, shift_s: float) -> Admitted:
    if not shift_s:
        return admitted
    return msgspec.structs.replace(
        admitted, invited_at=admitted.invited_at + shift_s, wall_offset_s=admitted.wall_offset_s - shift_s
    )
