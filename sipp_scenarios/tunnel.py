"""What Debian's SIPp cannot do itself: TLS, and a choice among digest challenges.

A tunnel knows nothing of SIP. What SIPp says over TCP leaves over TLS and the other way round.
"""

from __future__ import annotations

import asyncio
import datetime
import ipaddress
import ssl
from contextlib import suppress
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


class Authority:
    """A certificate authority that lives as long as the run."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Scenario authority")])
        self._certificate = self._sign(name, name, self._key.public_key(), [], is_authority=True)
        self.root = folder / "root.pem"
        self.root.write_bytes(self._certificate.public_bytes(serialization.Encoding.PEM))

    def issue(self, name: str, addresses: list[str]) -> tuple[Path, Path]:
        """A certificate for these addresses and its key, as files."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        certificate = self._sign(subject, self._certificate.subject, key.public_key(), addresses, is_authority=False)
        certificate_path, key_path = self._folder / f"{name}.pem", self._folder / f"{name}.key"
        certificate_path.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        key_path.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        key_path.chmod(0o600)
        return certificate_path, key_path

    def _sign(
        self, subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, addresses: list[str], *,
        is_authority: bool,
    ) -> x509.Certificate:  # fmt: skip
        now = datetime.datetime.now(datetime.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(days=2))
            .add_extension(x509.BasicConstraints(ca=is_authority, path_length=None), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
        )
        if addresses:
            names = [x509.IPAddress(ipaddress.ip_address(address)) for address in addresses]
            builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
        if is_authority:
            usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
            builder = builder.add_extension(usage, critical=True)
        return builder.sign(self._key, hashes.SHA256())


class Tunnel:
    """Takes connections at one address and carries their bytes to another."""

    def __init__(self) -> None:
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.handshakes = 0
        """Connections that came through on both sides."""

    async def into_tls(
        self, at: tuple[str, int], target: tuple[str, int], root: Path, source: tuple[str, int] | None = None
    ) -> None:
        """TCP in, TLS out, the target's certificate checked against `root`, from `source` if given."""
        context = ssl.create_default_context(cafile=root)
        await self._serve(at, target, None, context, source)

    async def out_of_tls(self, at: tuple[str, int], target: tuple[str, int], certificate: tuple[Path, Path]) -> None:
        """TLS in with this certificate, TCP out."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(*certificate)
        await self._serve(at, target, context, None, None)

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _serve(
        self, at: tuple[str, int], target: tuple[str, int], inside: ssl.SSLContext | None,
        outside: ssl.SSLContext | None, source: tuple[str, int] | None,
    ) -> None:  # fmt: skip
        async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            try:
                far_reader, far_writer = await asyncio.open_connection(*target, ssl=outside, local_addr=source)
            except OSError:
                writer.close()
                return
            self.handshakes += 1
            ways = [asyncio.create_task(_pump(reader, far_writer)), asyncio.create_task(_pump(far_reader, writer))]
            self._tasks.update(ways)
            await asyncio.gather(*ways, return_exceptions=True)

        self._server = await asyncio.start_server(carry, *at, ssl=inside)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65_536):
            writer.write(data)
            await writer.drain()
    writer.close()


class OnlyMd5(asyncio.DatagramProtocol):
    """A UDP relay before one SIPp that takes every challenge but MD5's out of what comes back.

    That is what a phone does by itself that knows MD5 alone (RFC 8760 §2.4); SIPp takes whichever
    challenge stands first and ends there.
    """

    def __init__(self, at: tuple[str, int], sipp: tuple[str, int], switch: tuple[str, int]) -> None:
        self._at = at
        self._sipp = sipp
        self._switch = switch
        self._transport: asyncio.DatagramTransport | None = None

    async def open(self) -> None:
        loop = asyncio.get_running_loop()
        self._transport, _ = await loop.create_datagram_endpoint(lambda: self, local_addr=self._at)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        assert self._transport is not None
        if addr != self._switch:
            self._transport.sendto(data, self._switch)
            return
        lines = [line for line in data.split(b"\r\n") if not line.startswith(b"Proxy-Auth") or b"algorithm=MD5" in line]
        self._transport.sendto(b"\r\n".join(lines), self._sipp)

    async def close(self) -> None:
        if self._transport is not None:
            self._transport.close()
