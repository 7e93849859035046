"""Requests of ours whose response changes nothing: the CANCEL of an INVITE, the BYE that ends a call."""

from __future__ import annotations

from switch.outputs import Flow
from switch.transaction.client import ClientTransaction, ClientUser
from switch.transaction.layer import Layer
from switch.wire.message import Response


class Unheard(ClientUser):
    """Wants no responses; the transaction itself sees to repeats."""

    def on_response(self, transaction: ClientTransaction, response: Response, now: float) -> None:
        return

    def on_no_response(self, transaction: ClientTransaction, reason: str, now: float) -> None:
        return


def request_alone(
    layer: Layer, method: bytes, branch: bytes, data: bytes, flow: Flow, now: float, *, is_reliable: bool
) -> None:
    """Send a request of ours whose response changes nothing."""
    ClientTransaction(layer, branch, method, data, flow, Unheard(), is_reliable=is_reliable).start(now)
