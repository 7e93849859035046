"""Is a call still up? OPTIONS inside its dialog to both sides, at intervals and after a restart.

RFC 3261 §12.2.2 has a peer that knows the dialog answer it like any request, and one that has
forgotten it answer 481. We stand between two peers whose sequence numbers pass unchanged, so a probe
must not use one up: it carries the last that its peer was sent. Some answer 500 to that, which shows
just as well that they are there: alive is whoever answers anything but 481 and 408.
"""

from __future__ import annotations

from typing import Final

from mypy_extensions import trait

from switch.call.hops import Hops
from switch.call.ids import Ids
from switch.call.leg import Leg, request_in_dialog
from switch.call.liveness import Liveness
from switch.transaction.client import ClientTransaction, ClientUser
from switch.transaction.layer import Layer
from switch.transaction.timers import Timer, TimerOwner
from switch.wire.message import Response

CONFIRM_MS: Final = 2_000
"""A 481 is asked about once more: a peer that restarts behind its own proxy may say it for a moment."""
RETRY_MS: Final = 5_000
"""After a restart of ours, a peer that cannot be reached is tried again so soon, for as long as a
transaction would wait for it: streams are gone with us, and their peers may not have noticed yet."""

_ACCEPT: Final = (b"Accept: application/sdp",)

# Timers of the keeper.
_ROUND: Final = 1
# Timer of a side.
_AGAIN: Final = 1


@trait
class KeepAliveUser:
    """The call that is watched."""

    def on_proven(self, now: float) -> None:
        """Both sides of a call from before a restart have shown life since."""

    def on_silence(self, was_proven: bool, now: float) -> None:
        """A side of the call is gone; nothing is probed any more.

        Args:
            was_proven: it had shown life in this process before.
        """
        raise NotImplementedError


class Side(ClientUser, TimerOwner):
    """One peer, and how the last probes of it fared."""

    def __init__(self, keeper: KeepAlive, leg: Leg, *, is_proven: bool) -> None:
        self.keeper: KeepAlive = keeper
        self.leg: Leg = leg
        self.is_proven: bool = is_proven
        """Has shown life in this process. Until then one failure is enough: the crash may have
        swallowed its BYE, and money runs meanwhile."""
        self.failures: list[bool] = []
        """The last `keepalive_of` probes, true for those that failed."""
        self.is_doubted: bool = False
        """The last answer was a 481."""
        self.unreached_at: float = 0.0
        """First time that it could not be reached after a restart; 0.0: it could."""
        self._client: ClientTransaction | None = None
        self._asked_at: float = 0.0
        self._again: Timer | None = None

    def probe(self, now: float) -> None:
        if self._client is not None:
            return
        if self._again is not None:
            self._again.stop()
            self._again = None
        self._asked_at = now
        keeper = self.keeper
        leg = self.leg
        local = keeper.hops.locals[leg.flow.listener]
        branch = keeper.ids.branch()
        data = request_in_dialog(leg, b"OPTIONS", leg.local_cseq, local.via_start + branch, _ACCEPT)
        client = ClientTransaction(
            keeper.layer, branch, b"OPTIONS", data, leg.flow, self, is_reliable=local.is_reliable
        )
        self._client = client
        client.start(now)

    def stop(self) -> None:
        if self._again is not None:
            self._again.stop()
            self._again = None
        if self._client is not None:
            self._client.terminate()
            self._client = None

    def fire(self, kind: int, now: float) -> None:
        self._again = None
        self.probe(now)

    def on_response(self, transaction: ClientTransaction, response: Response, now: float) -> None:
        status = response.status
        if status < 200:
            return
        self._client = None
        if status == 481:
            if self._has_spoken():
                self.note_life(now)
            if self.is_doubted or not self.is_proven:
                self.keeper.lose(self, now)
            else:
                self.is_doubted = True
                self._probe_again(CONFIRM_MS, now)
        elif status == 408:
            self._failed(now)
        else:
            self.leg.alive_at = now
            self.note_life(now)

    def on_no_response(self, transaction: ClientTransaction, reason: str, now: float) -> None:
        self._client = None
        if not self.is_proven and reason != "timeout" and not self._has_spoken():
            self.unreached_at = self.unreached_at or now
            if now - self.unreached_at < self.keeper.layer.values.patience_ms / 1000.0:
                self._probe_again(RETRY_MS, now)
                return
        self._failed(now)

    def note_life(self, now: float) -> None:
        """It answered a probe, or has been heard of since the last round."""
        if not self.is_proven:
            self.is_proven = True
            self.keeper.note_proof(now)
        self.is_doubted = False
        self.unreached_at = 0.0
        self._note(False)

    def _has_spoken(self) -> bool:
        """It was heard of by other means while the probe was under way."""
        return self.leg.alive_at > self._asked_at

    def _failed(self, now: float) -> None:
        if self._has_spoken():
            self.note_life(now)
            return
        self._note(True)
        if not self.is_proven or self.failures.count(True) >= self.keeper.values.keepalive_failures:
            self.keeper.lose(self, now)

    def _note(self, has_failed: bool) -> None:
        failures = self.failures
        failures.append(has_failed)
        if len(failures) > self.keeper.values.keepalive_of:
            del failures[0]

    def _probe_again(self, after_ms: int, now: float) -> None:
        self._again = self.keeper.layer.timers.start(after_ms, self, _AGAIN, now)


class KeepAlive(TimerOwner):
    """Watches one answered call, from the moment on at which it is first to be asked.

    The call itself waits for that moment with one timer: most calls are over before.
    """

    def __init__(
        self,
        layer: Layer,
        hops: Hops,
        ids: Ids,
        values: Liveness,
        user: KeepAliveUser,
        ingress: Leg,
        egress: Leg,
        interval_ms: int,
        restored_at: float = 0.0,
    ) -> None:
        """
        Args:
            interval_ms: 0 asks once only.
            restored_at: when a call of a process before this one was taken up; 0.0: it is ours.
        """
        self.layer: Layer = layer
        self.hops: Hops = hops
        self.ids: Ids = ids
        self.values: Liveness = values
        self.user: KeepAliveUser | None = user
        is_proven = restored_at == 0.0
        self._sides: list[Side] = [
            Side(self, ingress, is_proven=is_proven),
            Side(self, egress, is_proven=is_proven),
        ]
        self._restored_at: float = restored_at
        self._interval_ms: int = interval_ms
        self._round: Timer | None = None

    def stop(self) -> None:
        self.user = None
        if self._round is not None:
            self._round.stop()
            self._round = None
        for side in self._sides:
            side.stop()
        self._sides = []

    def fire(self, kind: int, now: float) -> None:
        """Ask both sides now, and again after each interval."""
        interval_ms = self._interval_ms
        self._round = self.layer.timers.start(interval_ms, self, _ROUND, now) if interval_ms else None
        # Who has shown life lately need not be asked.
        since = now - interval_ms / 2_000.0
        if self._restored_at:
            since = self._restored_at
            self._restored_at = 0.0
        for side in self._sides:
            if side.leg.alive_at > since:
                side.note_life(now)
            else:
                side.probe(now)

    def note_proof(self, now: float) -> None:
        """One of the sides has shown for the first time that it is up."""
        user = self.user
        if user is not None and all(side.is_proven for side in self._sides):
            user.on_proven(now)

    def lose(self, side: Side, now: float) -> None:
        user = self.user
        self.stop()
        if user is not None:
            user.on_silence(side.is_proven, now)
