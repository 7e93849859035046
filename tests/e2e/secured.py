"""TLS ends for the tests: a caller's connection, and a vendor that shows whatever certificate it is given."""

from __future__ import annotations

import socket
import ssl
import threading
from contextlib import suppress
from pathlib import Path

from tests.e2e.peer import SDP, Address, Peer, Seen, reply

LOOK_S = 0.05


class TlsPeer(Peer):
    """A TLS connection to the switch; `certificate` is what it was shown, in DER."""

    def __init__(self, host: str, to: Address, context: ssl.SSLContext) -> None:
        self.switch = to
        self.transport = "tls"
        plain = socket.create_connection(to, timeout=5.0, source_address=(host, 0))
        self._socket = context.wrap_socket(plain, server_hostname=to[0])
        self.at: Address = self._socket.getsockname()
        self.certificate = self._socket.getpeercert(binary_form=True)
        self._buffer = b""
        self.seen: list[Seen] = []

    def __enter__(self) -> TlsPeer:
        return self

    def send(self, message: str | bytes, to: Address | None = None) -> None:
        self._socket.sendall(message.encode() if isinstance(message, str) else message)

    def receive(self, within_s: float = 2.0) -> Seen | None:
        self._socket.settimeout(max(within_s, 0.001))
        try:
            return self._receive_from_stream()
        except (TimeoutError, ConnectionError):
            return None


class TlsVendor(threading.Thread):
    """Listens with `context`; answers INVITE and BYE with 200 once somebody has got through the handshake."""

    def __init__(self, at: Address, context: ssl.SSLContext) -> None:
        super().__init__(daemon=True)
        self._listening = socket.create_server(at)
        self._listening.settimeout(LOOK_S)
        self._context = context
        self._at = at
        self._is_ended = False
        self.connections = 0
        """That were opened, handshake or none."""
        self.methods: list[str] = []
        """Of the requests that came through."""

    def __enter__(self) -> TlsVendor:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_ended = True
        self.join()
        self._listening.close()

    def run(self) -> None:
        while not self._is_ended:
            with suppress(TimeoutError):
                plain, _ = self._listening.accept()
                self.connections += 1
                threading.Thread(target=self._serve, args=(plain,), daemon=True).start()

    def _serve(self, plain: socket.socket) -> None:
        plain.settimeout(5.0)
        with suppress(OSError), self._context.wrap_socket(plain, server_side=True) as secured:
            secured.settimeout(LOOK_S)
            peer = _Accepted(secured, self._at)
            while not self._is_ended:
                seen = peer.receive(LOOK_S)
                if seen is not None and not seen.status:
                    self.methods.append(seen.method)
                    if seen.method != "ACK":
                        peer.send(reply(peer, seen, 200, "OK", body=SDP if seen.method == "INVITE" else ""))


class _Accepted(TlsPeer):
    """The vendor's end of one connection."""

    def __init__(self, secured: ssl.SSLSocket, at: Address) -> None:
        self.switch = secured.getpeername()
        self.transport = "tls"
        self._socket = secured
        self.at = at
        self._buffer = b""
        self.seen = []


def serving(certificate: tuple[Path, Path]) -> ssl.SSLContext:
    """A server's context that shows this certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    return context


def trusting(root: Path) -> ssl.SSLContext:
    """A client's context that believes this root alone."""
    return ssl.create_default_context(cafile=root)
