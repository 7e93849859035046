"""A response of server-sent events whose reader must keep up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any, Final

from litestar.response import Stream

EVENT_STREAM: Final = "text/event-stream"
SEND_S: Final = 10.0
"""A reader that takes nothing for so long is let go: what waits for it is in our memory."""


class EventStream(Stream):
    """Sends as fast as its reader takes, and gives a reader up that takes nothing."""

    def __init__(self, events: AsyncGenerator[bytes, None]) -> None:
        self._events = events
        # Proxies that gather answers (nginx) would hold events back.
        headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        super().__init__(events, media_type=EVENT_STREAM, headers=headers)

    def to_asgi_response(self, *args: Any, **options: Any) -> Any:
        whole = super().to_asgi_response(*args, **options)

        async def answer(scope: Any, receive: Any, send: Any) -> None:
            async def send_in_time(message: Any) -> None:
                async with asyncio.timeout(SEND_S):
                    await send(message)

            try:
                await whole(scope, receive, send_in_time)
            except* TimeoutError:
                # The server closes a connection whose answer was not brought to its end.
                pass
            finally:
                # Whoever is let go, or went, follows no more: not only once it is collected.
                await self._events.aclose()

        return answer
