"""Asks gateways with OPTIONS whether they are there, and tells their health what came back."""

from __future__ import annotations

from typing import Final

from switch.board import Board
from switch.snapshot import Gateway
from switch.transaction.client import ClientTransaction, ClientUser
from switch.transaction.timers import Timer, TimerOwner
from switch.wire.headers import RETRY_AFTER
from switch.wire.message import Response

ANSWER_MS_MAX: Final = 5_000
"""A probe without an answer by then has failed; timer F's 32 s would notice a dead vendor too late."""

_DUE: Final = 1
_LATE: Final = 2


class Prober(ClientUser, TimerOwner):
    """Probes one gateway for as long as its record asks for it."""

    def __init__(self, board: Board, gateway: Gateway, now: float) -> None:
        self.board: Board = board
        self.gateway: Gateway = gateway
        self._client: ClientTransaction | None = None
        # Spread over the interval, so that a restart does not probe all gateways in one instant.
        first_ms = board.rng.randrange(max(1, min(gateway.probe_interval_ms, 1_000)))
        self._due: Timer | None = board.layer.timers.start_at(now + first_ms / 1000.0, self, _DUE)
        self._late: Timer | None = None

    def stop(self) -> None:
        if self._due is not None:
            self._due.stop()
            self._due = None
        self._settle()

    def fire(self, kind: int, now: float) -> None:
        if kind == _DUE:
            self._due = self.board.layer.timers.start_at(now + self.gateway.probe_interval_ms / 1000.0, self, _DUE)
            self._send(now)
        else:
            self._failed("no answer", now)

    def on_response(self, transaction: ClientTransaction, response: Response, now: float) -> None:
        if response.status < 200:
            return
        self._settle()
        board = self.board
        gateway = self.gateway
        health = board.live.health_of(gateway.id)
        if response.status == 503:
            value = response.first(RETRY_AFTER) or b""
            digits = value.split(b"(", 1)[0].split(b";", 1)[0].strip()
            if digits.isdigit() and len(digits) < 10:
                health.rest(float(int(digits)), now)
        if health.probe_answered(
            response.status, board.now_ms(now), gateway.probe_failures_max, gateway.probe_successes_min
        ):
            board.tell_health(gateway.id)

    def on_no_response(self, transaction: ClientTransaction, reason: str, now: float) -> None:
        self._failed("no answer" if reason == "timeout" else reason, now)

    def _send(self, now: float) -> None:
        board = self.board
        self._settle()
        flow = board.flow_to(self.gateway, now)
        if flow is None:
            self._failed(f"{self.gateway.host} is not resolved", now)
            return
        local = board.hops.locals[flow.listener]
        host = flow.address[0]
        target = b"sip:%b:%d" % ((f"[{host}]" if ":" in host else host).encode("ascii"), flow.address[1])
        if local.transport != "udp":
            target += b";transport=" + local.transport.encode("ascii")
        branch = board.ids.branch()
        lines = [
            b"OPTIONS %b SIP/2.0" % target,
            local.via_start + branch,
            b"Max-Forwards: 70",
            b"From: <sip:probe@%b>;tag=%b" % (local.shown_host, board.ids.tag()),
            b"To: <%b>" % target,
            b"Call-ID: %b" % board.ids.tag(),
            b"CSeq: 1 OPTIONS",
            b"Contact: " + local.contact,
            b"Accept: application/sdp",
            b"Content-Length: 0\r\n\r\n",
        ]
        client = ClientTransaction(
            board.layer, branch, b"OPTIONS", b"\r\n".join(lines), flow, self, is_reliable=local.is_reliable
        )
        self._client = client
        late_ms = min(ANSWER_MS_MAX, self.gateway.probe_interval_ms)
        self._late = board.layer.timers.start(late_ms, self, _LATE, now)
        client.start(now)

    def _failed(self, reason: str, now: float) -> None:
        self._settle()
        board = self.board
        gateway = self.gateway
        health = board.live.health_of(gateway.id)
        if health.probe_failed(reason, board.now_ms(now), gateway.probe_failures_max):
            board.tell_health(gateway.id)

    def _settle(self) -> None:
        if self._late is not None:
            self._late.stop()
            self._late = None
        if self._client is not None:
            self._client.terminate()
            self._client = None


class Probers:
    """One `Prober` for each gateway that wants one, kept in step with the snapshot."""

    def __init__(self, board: Board) -> None:
        self.board: Board = board
        self._running: dict[int, Prober] = {}

    def follow(self, now: float) -> None:
        """Start, restart and stop probing as the records now say."""
        gateways = self.board.tables.gateways
        for gateway_id in list(self._running):
            prober = self._running[gateway_id]
            record = gateways.get(gateway_id)
            if record == prober.gateway:
                continue  # a whole snapshot brings new records of the same content
            prober.stop()
            del self._running[gateway_id]
            if record is None or not record.probe or not record.enabled:
                health = self.board.live.health.get(gateway_id)
                if health is not None and health.probing_ended(self.board.now_ms(now)):
                    self.board.tell_health(gateway_id)
        for gateway in gateways.values():
            if gateway.probe and gateway.enabled and gateway.id not in self._running:
                self._running[gateway.id] = Prober(self.board, gateway, now)
