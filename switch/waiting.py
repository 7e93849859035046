"""INVITEs that wait for their route's call rate instead of being refused (`cps_buffer_s`)."""

from __future__ import annotations

from mypy_extensions import trait

from switch.outputs import Flow
from switch.policy.causes import Cause
from switch.policy.verdicts import Facts, Reject
from switch.transaction.server import ServerTransaction, ServerUser
from switch.transaction.timers import Timer, TimerOwner
from switch.wire.message import Request


@trait
class WaitingUser:
    """Who decides about calls."""

    def decide_again(self, waiting: Waiting, now: float) -> None:
        """Its time has come; it is `over` or `wait`s again."""
        raise NotImplementedError

    def leave_queue(self, waiting: Waiting, now: float) -> None:
        """Its caller has cancelled it, or it is ended by order: the reject's cause says which."""
        raise NotImplementedError


class Waiting(ServerUser, TimerOwner):
    """One INVITE, from its arrival to its admission, refusal or CANCEL. It occupies no channel."""

    def __init__(
        self,
        user: WaitingUser,
        server: ServerTransaction,
        flow: Flow,
        facts: Facts,
        reject: Reject,
        cdr_id: str,
        now: float,
        *,
        is_challenged: bool,
    ) -> None:
        """
        Args:
            reject: the refusal that it gets if it cannot wait on.
            cdr_id: what it is called by from now on, admitted or not.
        """
        request = server.request
        assert request is not None, "a fresh transaction"
        self.user: WaitingUser = user
        self.server: ServerTransaction = server
        self.request: Request = request
        self.flow: Flow = flow
        self.facts: Facts = facts
        self.reject: Reject = reject
        self.cdr_id: str = cdr_id
        self.is_challenged: bool = is_challenged
        self.arrived_at: float = now
        self._until: float = now + reject.patience_s
        self._timer: Timer | None = None
        server.user = self

    def wait(self, seconds: float, now: float) -> None:
        self._timer = self.server.layer.timers.start_at(now + seconds, self, 0)

    def may_wait(self, seconds: float, now: float) -> bool:
        """Whether that long from now is within the route's time."""
        return seconds > 0.0 and now + seconds <= self._until

    def fire(self, kind: int, now: float) -> None:
        self._timer = None
        self.user.decide_again(self, now)

    def hurry(self, now: float) -> None:
        """Have it decided now."""
        if self._timer is not None:
            self._timer.stop()
            self.fire(0, now)

    def end(self, cause: Cause, now: float) -> bool:
        """Refuse it now; False: it has been decided about already."""
        if self._timer is None:
            return False
        self._timer.stop()
        self._timer = None
        self.reject.cause = cause
        self.user.leave_queue(self, now)
        return True

    def on_cancel(self, transaction: ServerTransaction, cancel: Request, now: float) -> None:
        self.end(Cause.CANCELLED, now)
