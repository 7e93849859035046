"""A 2xx to an INVITE that no call here knows: the vendor's leg is up, and nobody has it.

It happens when we go down between sending an INVITE and hearing its answer. RFC 3261 §16.7 would have
a proxy pass the answer on to a caller who has long been told that the call failed; a switch that
pays for the leg ACKs it and hangs it up.
"""

from __future__ import annotations

from typing import Final

from switch.call.hops import Hops
from switch.call.ids import Ids
from switch.call.leg import CSEQ_JUMP, CSEQ_MAX, egress_leg, request_in_dialog
from switch.outputs import Flow, Send
from switch.transaction.layer import Layer
from switch.transaction.unheard import request_alone
from switch.wire.message import Response

STRAYS_MAX: Final = 1_024
"""So many are remembered and hung up within the time that copies of a 2xx may come (64*T1): as few
BYEs as that, and as little memory, can be had from us by a forged address."""

_REASON: Final = (b'Reason: X.tandem;cause=0;text="lost_in_restart"',)


class Stray:
    def __init__(self, ack: Send, at: float) -> None:
        self.ack: Send = ack
        self.at: float = at


class Strays:
    """Those that were hung up lately, the oldest first."""

    def __init__(self, layer: Layer, hops: Hops, ids: Ids) -> None:
        self._layer: Layer = layer
        self._hops: Hops = hops
        self._ids: Ids = ids
        self._known: dict[bytes, Stray] = {}

    def hang_up(self, response: Response, source: Flow, now: float) -> bool:
        """ACK a 2xx, each copy again, and send one BYE.

        Returns:
            False if there were too many of late: nothing is sent then.
        """
        layer = self._layer
        key = b"%b\r%b\r%b" % (response.call_id, response.from_tag, response.to_tag)
        self._forget_old(now)
        known = self._known.get(key)
        if known is not None:
            layer.sends.append(known.ack)
            return True
        if len(self._known) >= STRAYS_MAX:
            return False
        leg = egress_leg(response, response.from_value(), response.from_tag, response.cseq, source, self._hops)
        local = self._hops.locals[leg.flow.listener]
        ack = Send(leg.flow, request_in_dialog(leg, b"ACK", response.cseq, local.via_start + self._ids.branch()))
        layer.sends.append(ack)
        self._known[key] = Stray(ack, now)
        branch = self._ids.branch()
        # The caller may have been inside the early dialog that this confirms; how far it counted is lost.
        cseq = min(response.cseq + CSEQ_JUMP, CSEQ_MAX)
        data = request_in_dialog(leg, b"BYE", cseq, local.via_start + branch, _REASON)
        request_alone(layer, b"BYE", branch, data, leg.flow, now, is_reliable=local.is_reliable)
        return True

    def _forget_old(self, now: float) -> None:
        known = self._known
        patience_s = self._layer.values.patience_ms / 1000.0
        while known:
            key = next(iter(known))
            if now - known[key].at < patience_s:
                return
            del known[key]
