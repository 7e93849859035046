"""Where SIP users are reached: the contacts that their phones have registered (RFC 3261 §10).

Bindings live beside the snapshot, as calls do: they are the phones' word, not the operator's. A contact
is reached where its REGISTER came from, since what a phone behind a NAT writes in Contact is nobody's
address outside. Moments are the engine's monotonic seconds.
"""

from __future__ import annotations

from typing import Final

from switch.outputs import Flow

MISSES_MAX: Final = 3
"""Pings in a row without an answer, after which a phone that used to answer them is taken for gone."""


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
        instance: bytes = b"",
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
        self.instance: bytes = instance
        """Instance and reg-id of RFC 5626 §4.1: which phone it is, wherever it is; empty: it does not say."""
        self.answered_at: float = 0.0
        """When it last answered a ping; 0: it never did."""
        self.is_watched: bool = False
        """`pings` will see it end."""
        self.misses: int = 0
        """Pings since that it has not answered."""

    def is_gone(self) -> bool:
        """It answered pings and has stopped; one that never answers any is rung until it expires."""
        return self.answered_at > 0.0 and self.misses >= MISSES_MAX


class Bindings:
    """All contacts by user."""

    def __init__(self) -> None:
        self.by_user: dict[int, list[Binding]] = {}
        self.count: int = 0
        self._by_connection: dict[int, set[Binding]] = {}

    def of(self, user_id: int, now: float) -> list[Binding]:
        """A user's contacts in the order in which they are rung, without those that are over or gone."""
        found = [each for each in self.by_user.get(user_id, ()) if each.expires_at > now and not each.is_gone()]
        found.sort(key=_precedence)
        return found

    def listed(self, user_id: int, now: float) -> list[Binding]:
        """All that have not expired, in the order of their coming."""
        return [each for each in self.by_user.get(user_id, ()) if each.expires_at > now]

    def add(self, binding: Binding) -> None:
        self.by_user.setdefault(binding.user_id, []).append(binding)
        self.count += 1
        connection = binding.flow.connection
        if connection:
            self._by_connection.setdefault(connection, set()).add(binding)

    def discard(self, binding: Binding) -> bool:
        """Take a binding out; False: it was not there."""
        mine = self.by_user.get(binding.user_id)
        if mine is None or binding not in mine:
            return False
        mine.remove(binding)
        if not mine:
            del self.by_user[binding.user_id]
        self.count -= 1
        connection = binding.flow.connection
        if connection:
            self._leave(connection, binding)
        return True

    def over(self, connection: int) -> list[Binding]:
        """Those that are reached over a connection."""
        return list(self._by_connection.get(connection, ()))

    def move(self, binding: Binding, flow: Flow) -> None:
        """Reach a contact elsewhere from now on; no connection is named any more."""
        if binding.flow.connection:
            self._leave(binding.flow.connection, binding)
        binding.flow = flow

    def _leave(self, connection: int, binding: Binding) -> None:
        members = self._by_connection.get(connection)
        if members is not None:
            members.discard(binding)
            if not members:
                del self._by_connection[connection]


def _precedence(binding: Binding) -> tuple[int, float]:
    """Highest q first, then the one that was heard of last."""
    return (-binding.q, -binding.registered_at)
