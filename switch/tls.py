"""TLS contexts of the switch, made from files and made again when the files change.

A certificate that cannot be used leaves the one in use where it is. Connections that are up keep
the context that they began with, so a new certificate drops no call. TLS 1.2 is the least.
"""

from __future__ import annotations

import contextlib
import ssl
from pathlib import Path
from typing import Final

import structlog

from config.settings import Tls

HANDSHAKE_BYTES_MAX: Final = 65_536
"""What a peer may send before its handshake is done."""
RECORD_BYTES: Final = 65_536

log = structlog.get_logger("switch.tls")


class TlsUnusable(Exception):
    """The certificate files cannot be used; the text names the file and the reason."""


class Certificates:
    """The server's context, and the two that we call others with: verified and not.

    Relative paths are taken from `beside`.
    """

    def __init__(self, settings: Tls, beside: Path) -> None:
        self._certificate = beside / settings.certificate if settings.certificate else None
        self._private_key = beside / settings.private_key if settings.private_key else self._certificate
        self._ca_file = beside / settings.ca_file if settings.ca_file else None
        self._seen = self._stamps()
        self._server, self._verified, self._unverified = self._build()

    def server(self) -> ssl.SSLContext:
        """For connections that come in.

        Raises:
            TlsUnusable: no certificate is configured.
        """
        if self._server is None:
            raise TlsUnusable("a TLS listener needs tls.certificate and tls.private_key")
        return self._server

    def client(self, verify: bool) -> ssl.SSLContext:
        """For connections that we open; our certificate is shown to a peer that asks for one."""
        return self._verified if verify else self._unverified

    def has_changed(self) -> bool:
        """Whether a file is another one than when it was last read; looks at the disk."""
        return self._stamps() != self._seen

    def reload(self) -> bool:
        """Read the files again; False: they cannot be used and what was in use stays."""
        self._seen = self._stamps()
        try:
            self._server, self._verified, self._unverified = self._build()
        except TlsUnusable as error:
            log.error("new certificate refused, the old one stays in use", reason=str(error))
            return False
        log.info("certificates read", certificate=str(self._certificate))
        return True

    def _stamps(self) -> list[tuple[int, int, int] | None]:
        stamps: list[tuple[int, int, int] | None] = []
        for path in (self._certificate, self._private_key, self._ca_file):
            try:
                facts = path.stat() if path is not None else None
            except OSError:
                facts = None
            stamps.append((facts.st_ino, facts.st_size, facts.st_mtime_ns) if facts else None)
        return stamps

    def _build(self) -> tuple[ssl.SSLContext | None, ssl.SSLContext, ssl.SSLContext]:
        server = None
        verified = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        unverified = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        unverified.check_hostname = False
        unverified.verify_mode = ssl.CERT_NONE
        try:
            if self._ca_file is not None:
                verified.load_verify_locations(self._ca_file)
            else:
                verified.load_default_certs(ssl.Purpose.SERVER_AUTH)
        except (OSError, ssl.SSLError) as error:
            raise TlsUnusable(f"{self._ca_file}: {error}") from error
        contexts = [verified, unverified]
        if self._certificate is not None:
            server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            contexts.append(server)
        for context in contexts:
            context.minimum_version = ssl.TLSVersion.TLSv1_2
            if self._certificate is None:
                continue
            try:
                context.load_cert_chain(self._certificate, self._private_key)
            except (OSError, ssl.SSLError) as error:
                raise TlsUnusable(f"{self._certificate}: {error}") from error
        return server, verified, unverified


class TlsChannel:
    """One connection's TLS: ciphertext and plaintext in and out, no socket (RFC 8446, RFC 5246).

    `outgoing` returns what must be sent on after each call.
    """

    def __init__(self, context: ssl.SSLContext, server_name: str | None) -> None:
        """`server_name` is what the peer's certificate must carry; None: we are the server."""
        self._in = ssl.MemoryBIO()
        self._out = ssl.MemoryBIO()
        self._object = context.wrap_bio(
            self._in, self._out, server_side=server_name is None, server_hostname=server_name
        )
        self._handshake_bytes = 0
        self.is_open = False
        """The handshake is done."""

    def start(self) -> None:
        self._shake_hands()

    def receive(self, data: bytes) -> bytes:
        """Take what came from the peer; returns plaintext, maybe none yet.

        Raises:
            ssl.SSLError: the handshake failed, the peer closed, or it does not speak TLS.
        """
        self._in.write(data)
        if not self.is_open:
            self._handshake_bytes += len(data)
            if self._handshake_bytes > HANDSHAKE_BYTES_MAX:
                raise ssl.SSLError("handshake too long")
            self._shake_hands()
            if not self.is_open:
                return b""
        parts: list[bytes] = []
        try:
            while part := self._object.read(RECORD_BYTES):
                parts.append(part)
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            if not parts:
                raise
        return b"".join(parts)

    def send(self, data: bytes) -> None:
        self._object.write(data)

    def shut_down(self) -> None:
        # Ours is written by this; the peer's need not be waited for (RFC 5246 §7.2.1).
        with contextlib.suppress(ssl.SSLError, OSError, ValueError):
            self._object.unwrap()

    def outgoing(self) -> bytes:
        return self._out.read()

    def _shake_hands(self) -> None:
        try:
            self._object.do_handshake()
        except ssl.SSLWantReadError:
            return
        self.is_open = True
