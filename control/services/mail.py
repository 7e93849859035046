"""Mail through the installation's SMTP server: one message a connection, and a reason where it fails."""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from email.headerregistry import Address
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from typing import Final

import aiosmtplib
import msgspec
import structlog

from config.settings import Mail
from control.services.errors import MailFailed

log = structlog.get_logger("control.mail")

SUBJECT_CHARACTERS_MAX: Final = 200


class Attachment(msgspec.Struct, frozen=True):
    name: str
    media_type: str
    """As in `application/pdf`."""
    content: bytes


class Mailer:
    """Sends as these settings say; their `host` is not empty."""

    def __init__(self, settings: Mail) -> None:
        self._settings = settings

    async def send(self, to: str, subject: str, text: str, attachments: Sequence[Attachment] = ()) -> None:
        """Hand one mail to the server, and return when it has taken it.

        Args:
            to: the bare address.
        Raises:
            MailFailed: the server is away, refuses us or the address; nothing of the text is said in it.
        """
        message = _message(self._settings.sender, to, subject, text, attachments)
        settings = self._settings
        context = ssl.create_default_context(cafile=settings.ca_file or None) if settings.security != "none" else None
        try:
            await aiosmtplib.send(
                message,
                hostname=settings.host,
                port=settings.port,
                username=settings.username or None,
                password=settings.password or None,
                use_tls=settings.security == "tls",
                # Else it would be taken where it is offered: nobody on the way decides that.
                start_tls=settings.security == "starttls",
                tls_context=context,
                timeout=settings.timeout_s,
            )
        except (aiosmtplib.SMTPException, OSError) as error:
            log.error("mail was not sent", to=to, reason=_first_line(error))
            raise MailFailed(f"The mail to {to} was not sent: {_first_line(error)}") from error
        log.info("mail sent", to=to)


def _message(sender: str, to: str, subject: str, text: str, attachments: Sequence[Attachment]) -> EmailMessage:
    message = EmailMessage()
    message["From"] = Address(addr_spec=sender)
    message["To"] = Address(addr_spec=to)
    # A line end in a name would begin another header.
    message["Subject"] = " ".join(subject.split())[:SUBJECT_CHARACTERS_MAX]
    message["Date"] = formatdate(localtime=False, usegmt=True)
    message["Message-ID"] = make_msgid(domain=sender.rpartition("@")[2])
    # RFC 3834: nobody's out-of-office notice needs to answer.
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(text)
    for each in attachments:
        main, _, sub = each.media_type.partition("/")
        message.add_attachment(each.content, maintype=main, subtype=sub, filename=each.name)
    return message


def _first_line(error: Exception) -> str:
    return (str(error) or type(error).__name__).splitlines()[0]
