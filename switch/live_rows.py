"""Live calls as the control plane lists them."""

from __future__ import annotations

from switch.billed import BilledCall
from switch.call.call import STATE_NAMES
from switch.cdr import source_text, wall_ms, wall_ms_if
from switch.frames import LiveCall
from switch.routed import RoutedCall


def live_call(call: BilledCall, now: float) -> LiveCall:
    admitted = call.admitted
    assert admitted is not None, "live calls only"
    provider_id: int | None = None
    gateway_id: int | None = None
    if call.answered is not None:
        provider_id, gateway_id = call.answered.provider_id, call.answered.gateway_id
    elif isinstance(call, RoutedCall) and call.tries:
        chosen = call.tries[len(call.tries) - 1]
        provider_id, gateway_id = chosen.option.provider.id, chosen.gateway.id
    elif admitted.did is not None:
        provider_id, gateway_id = admitted.did.provider_id, admitted.did.gateway_id
    return LiveCall(
        cdr_id=call.id,
        customer_id=admitted.customer_id,
        route_id=admitted.route_id,
        endpoint_id=admitted.endpoint_id,
        sip_user_id=admitted.sip_user_id,
        provider_id=provider_id,
        gateway_id=gateway_id,
        call_id=admitted.call_id,
        cli=admitted.cli_out,
        dialled=admitted.dialled_out,
        source=source_text(call.source),
        state=STATE_NAMES[call.state],
        invited_ms=wall_ms(call.invited_at, admitted.wall_offset_s),
        answered_ms=wall_ms_if(call.answered_at, admitted.wall_offset_s),
        duration_ms=round((now - call.answered_at) * 1000.0) if call.answered_at else 0,
        held_nanos=call.held_nanos,
        spent_nanos=call.spent_nanos(now),
    )
