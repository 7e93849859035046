"""What the peer's bytes can do wrong, as exceptions that carry the answer they earn."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from switch.wire.message import Request


class ParseError(ValueError):
    """The peer's bytes break RFC 3261 §25, or pass one of our limits.

    `status` is the reply they earn. `request` is set where enough could be read to send that
    reply (`build.response_to`); it is None for responses and for what is no SIP at all, which
    are dropped.
    """

    def __init__(self, reason: str, status: int = 400, request: Request | None = None) -> None:
        super().__init__(reason)
        self.reason: str = reason
        self.status: int = status
        self.request: Request | None = request


class FramingError(ValueError):
    """A stream has lost its place, or its peer asks too much: the connection must close.

    `reply` goes out first where there is one. `messages` were complete before the trouble and
    still want handling.
    """

    def __init__(self, reason: str, reply: bytes | None, messages: list[bytes]) -> None:
        super().__init__(reason)
        self.reason: str = reason
        self.reply: bytes | None = reply
        self.messages: list[bytes] = messages
