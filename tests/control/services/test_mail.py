"""Mail through a real SMTP server."""

from __future__ import annotations

import asyncio
import socket

import msgspec
import pytest

from control.services.errors import MailFailed
from control.services.mail import Attachment, Mailer
from tests.fakes.mailbox import running_mailbox


def test_a_mail_arrives_with_its_text_and_its_files() -> None:
    async def run() -> None:
        async with running_mailbox() as mailbox:
            files = [Attachment("invoice.pdf", "application/pdf", b"%PDF")]
            await Mailer(mailbox.settings).send("a@example.com", "Grüße", "Straße\n.\nend\n", files)
        (message,) = mailbox.messages
        assert (message["From"], message["Subject"]) == ("tandem@example.net", "Grüße")
        assert message["Auto-Submitted"] == "auto-generated"
        body = message.get_body()
        assert body is not None
        assert body.get_content().splitlines() == ["Straße", ".", "end"]
        (part,) = message.iter_attachments()
        assert (part.get_filename(), part.get_content()) == ("invoice.pdf", b"%PDF")

    asyncio.run(run())


def test_a_subject_begins_no_header_of_its_own() -> None:
    async def run() -> None:
        async with running_mailbox() as mailbox:
            await Mailer(mailbox.settings).send("a@example.com", "Hello\r\nBcc: b@example.com", "x")
        assert mailbox.messages[0]["Bcc"] is None
        assert mailbox.messages[0]["Subject"] == "Hello Bcc: b@example.com"

    asyncio.run(run())


def test_a_server_that_is_away_or_refuses_is_said_to() -> None:
    async def run() -> None:
        async with running_mailbox() as mailbox:
            mailbox.is_full = True
            with pytest.raises(MailFailed, match="full"):
                await Mailer(mailbox.settings).send("a@example.com", "x", "x")
            # Nothing is said in clear to a server that offers no TLS.
            settings = msgspec.structs.replace(mailbox.settings, security="starttls")
            mailbox.is_full = False
            with pytest.raises(MailFailed, match="STARTTLS"):
                await Mailer(settings).send("a@example.com", "x", "x")
            assert mailbox.messages == []
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            settings = msgspec.structs.replace(mailbox.settings, port=free.getsockname()[1])
            with pytest.raises(MailFailed):
                await Mailer(settings).send("a@example.com", "x", "x")

    asyncio.run(run())
