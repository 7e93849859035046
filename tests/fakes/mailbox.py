"""A mail server on loopback that keeps what it is sent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any

from aiosmtpd.smtp import SMTP, Envelope, Session

from config.settings import Mail


class Mailbox:
    """Handler of the server: messages as they came, in their order."""

    def __init__(self) -> None:
        self.messages: list[EmailMessage] = []
        self.port = 0
        self.is_full = False

    async def handle_DATA(self, _server: SMTP, _session: Session, envelope: Envelope) -> str:  # noqa: N802
        if self.is_full:
            return "552 Mailbox full"
        assert isinstance(envelope.content, bytes)
        message = message_from_bytes(envelope.content, policy=policy.default)
        assert isinstance(message, EmailMessage)
        assert [message["To"]] == envelope.rcpt_tos
        self.messages.append(message)
        return "250 OK"

    @property
    def settings(self) -> Mail:
        return Mail(host="127.0.0.1", port=self.port, security="none", sender="tandem@example.net", timeout_s=5.0)

    def text(self) -> str:
        """Of the last message."""
        return str(self.messages[-1].get_content())


@asynccontextmanager
async def running_mailbox(**options: Any) -> AsyncIterator[Mailbox]:
    """A server in this loop; `options` are the protocol's."""
    mailbox = Mailbox()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(mailbox, loop=loop, **options), "127.0.0.1", 0)
    mailbox.port = server.sockets[0].getsockname()[1]
    try:
        yield mailbox
    finally:
        server.close()
        await server.wait_closed()
