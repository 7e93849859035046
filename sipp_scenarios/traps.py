"""Sockets that must stay silent, and sockets that hear and never answer."""

from __future__ import annotations

import os
import socket
from contextlib import suppress
from pathlib import Path

FIRST_BLOCK = 16
BLOCKS = 220
CLAIM_PORT = 5060


class Trap:
    """Bound on UDP and TCP; every packet or connection that it gets is remembered.

    A trap stands where nothing may arrive: the host that a foreign Route names, a vendor that must
    not be tried. The same thing is a deaf vendor, which hears everything and answers nothing.
    """

    def __init__(self, address: str, port: int = 5060, *, is_deaf: bool = False) -> None:
        self.address = (address, port)
        self.is_deaf = is_deaf
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self._udp = socket.socket(family, socket.SOCK_DGRAM)
        self._tcp = socket.socket(family, socket.SOCK_STREAM)
        for sock in (self._udp, self._tcp):
            sock.setblocking(False)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1 if sock is self._tcp else 0)
            sock.bind(self.address)
        self._tcp.listen(8)
        self.heard: list[bytes] = []

    def listen(self) -> list[bytes]:
        """Everything that has come so far, oldest first."""
        with suppress(BlockingIOError):
            while True:
                self.heard.append(self._udp.recv(65_535))
        with suppress(BlockingIOError):
            while True:
                connection, peer = self._tcp.accept()
                self.heard.append(b"connection from %r" % (peer,))
                connection.close()
        return self.heard

    def close(self) -> None:
        self._udp.close()
        self._tcp.close()


_claims: list[socket.socket] = []


def free_loopback_block() -> int:
    """A number n for which 127.n.0.0/16 is nobody's, and ours until this process ends.

    A socket bound inside it is the claim: two runs that begin in the same moment never share one.
    """
    used = {second for table in ("udp", "tcp") for second in _blocks_in_use(Path(f"/proc/net/{table}"))}
    for step in range(BLOCKS):
        block = FIRST_BLOCK + (os.getpid() + step) % BLOCKS
        if block in used:
            continue
        claim = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        try:
            claim.bind((f"127.{block}.255.1", CLAIM_PORT))
        except OSError:
            claim.close()
            continue
        _claims.append(claim)
        return block
    raise OSError("every block of loopback addresses is in use")


def _blocks_in_use(table: Path) -> set[int]:
    """Second bytes of all local 127.x addresses in one of the kernel's tables (little-endian hex)."""
    addresses = [line.split()[1] for line in table.read_text().splitlines()[1:]]
    return {int(address[4:6], 16) for address in addresses if address[6:8] == "7F"}


def free_ports(count: int, address: str = "127.0.0.1") -> list[int]:
    """Ports that are free on UDP and TCP now; taken together, so that all differ."""
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    ports: list[int] = []
    held: list[socket.socket] = []
    try:
        while len(ports) < count:
            tcp = socket.socket(family, socket.SOCK_STREAM)
            held.append(tcp)
            tcp.bind((address, 0))
            port = tcp.getsockname()[1]
            udp = socket.socket(family, socket.SOCK_DGRAM)
            held.append(udp)
            try:
                udp.bind((address, port))
            except OSError:
                continue
            if port < 60_000:  # SIPp's control port stands 3,000 above
                ports.append(port)
    finally:
        for sock in held:
            sock.close()
    return ports
