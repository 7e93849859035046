"""Says once more that a call is over, where the switch died as it was about to say so.

A CDR is in the journal before the message that ends the call leaves. Between the two lies a moment
in which a death leaves a vendor with a leg that costs money, or a caller in silence. So after a
restart the peers of calls that ended just before it are told again; who knew already answers a BYE
with 481 and a copy of a final response with an ACK, and nothing comes of it.
"""

from __future__ import annotations

from switch.board import Board
from switch.call.leg import CSEQ_JUMP, CSEQ_MAX, request_in_dialog, restored_leg
from switch.policy.causes import STATUS
from switch.records import LegState
from switch.recovered import EndedCall
from switch.restoring import tell_caller
from switch.transaction.unheard import request_alone


def say_again(board: Board, ended: EndedCall, now: float) -> None:
    """BYE to each side that did not hang up itself; to a caller that nobody answered, the final response."""
    cdr, answered = ended.cdr, ended.call.answered
    if answered is None:
        if cdr.status >= 300:
            phrase = next((words for cause, (_, words) in STATUS.items() if cause.value == cdr.cause), "Call Over")
            tell_caller(board, ended.call.admitted, cdr.status, phrase, cdr.cause, now)
        return
    reason: list[bytes] = []
    if cdr.release == "switch":
        reason.append(b'Reason: X.tandem;cause=0;text="%b"' % cdr.cause.encode("ascii"))
    if cdr.release != "caller":
        _hang_up(board, answered.ingress, reason, now)
    if cdr.release != "callee":
        _hang_up(board, answered.egress, reason, now)


def _hang_up(board: Board, state: LegState, reason: list[bytes], now: float) -> None:
    if state.heard_from.listener >= len(board.hops.locals):
        return  # the listener that it used is not there any more
    leg = restored_leg(state, board.hops)
    local = board.hops.locals[leg.flow.listener]
    branch = board.ids.branch()
    # How far the dialog's requests had counted on is not written.
    cseq = min(leg.local_cseq + CSEQ_JUMP, CSEQ_MAX)
    data = request_in_dialog(leg, b"BYE", cseq, local.via_start + branch, reason)
    request_alone(board.layer, b"BYE", branch, data, leg.flow, now, is_reliable=local.is_reliable)
