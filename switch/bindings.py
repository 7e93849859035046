"""Where SIP users are reached: the contacts that their phones have registered (RFC 3261 §10).

Bindings live beside the snapshot, as calls do: they are the phones' word, not the operator's. A contact
is reached where its REGISTER came from, since what a phone behind a NAT writes in Contact is nobody's
address outside. Moments are the engine's monotonic seconds.
"""

from __future__ import annotations

from switch.outputs import Flow


class Binding:
    """One contact of one user."""

    def __init__(
        self,
        user_id: int,
        uri: bytes,
        flow: Flow,
        *,
        path: bytes = b"",
        q: int = 1_000,
        expires_at: float = 0.0,
        call_id: bytes = b"",
        cseq: int = 0,
        user_agent: str = "",
        registered_at: float = 0.0,
    ) -> None:
        self.user_id: int = user_id
        self.uri: bytes = uri
        """What its calls have in their Request-URI."""
        self.flow: Flow = flow
        """Where its REGISTER came from, and its calls go."""
        self.path: bytes = path
        """Value of the Route line of its calls (RFC 3327); empty: none."""
        self.q: int = q
        """In thousandths; the highest is rung first."""
        self.expires_at: float = expires_at
        self.call_id: bytes = call_id
        self.cseq: int = cseq
        self.user_agent: str = user_agent
        self.registered_at: float = registered_at


class Bindings:
    """All contacts by user."""

    def __init__(self) -> None:
        self.by_user: dict[int, list[Binding]] = {}

    def of(self, user_id: int, now: float) -> list[Binding]:
        """A user's contacts that have not expired, in the order in which they are rung."""
        found = [binding for binding in self.by_user.get(user_id, ()) if binding.expires_at > now]
        found.sort(key=_precedence)
        return found


def _precedence(binding: Binding) -> tuple[int, float]:
    """Highest q first, then the one that was heard of last."""
    return (-binding.q, -binding.registered_at)
