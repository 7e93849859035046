"""Certificates are taken when they are good and left when they are not."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from config.settings import Tls
from switch.tls import Certificates, TlsChannel, TlsUnusable
from tests.fakes.certificates import Authority


def settings_of(folder: Path) -> Tls:
    authority = Authority()
    authority.issue(folder, "us")
    authority.write_root(folder / "root.pem")
    return Tls(certificate="server.pem", private_key="server.key", ca_file="root.pem")


def served_serial(certificates: Certificates, root: Path) -> int:
    """The serial number of the certificate that a new connection is shown."""
    context = ssl.create_default_context(cafile=root)
    client, server = TlsChannel(context, "us"), TlsChannel(certificates.server(), None)
    client.start()
    for _ in range(6):
        server.receive(client.outgoing())
        client.receive(server.outgoing())
    assert client.is_open
    shown = client._object.getpeercert()
    assert shown is not None
    return int(str(shown["serialNumber"]), 16)


def test_a_new_certificate_is_taken_and_open_connections_keep_theirs(tmp_path: Path) -> None:
    authority = Authority()
    authority.issue(tmp_path, "us")
    root = authority.write_root(tmp_path / "root.pem")
    certificates = Certificates(Tls(certificate="server.pem", private_key="server.key"), tmp_path)
    before = served_serial(certificates, root)
    context = certificates.server()
    authority.issue(tmp_path, "us")
    assert certificates.has_changed()
    assert certificates.reload()
    assert not certificates.has_changed()
    assert certificates.server() is not context
    assert served_serial(certificates, root) != before


@pytest.mark.parametrize("name", ["server.pem", "server.key", "root.pem"])
@pytest.mark.parametrize("content", [b"", b"-----BEGIN CERTIFICATE-----\nrubbish", None])
def test_a_broken_file_leaves_the_old_certificate_in_use(tmp_path: Path, name: str, content: bytes | None) -> None:
    certificates = Certificates(settings_of(tmp_path), tmp_path)
    context = certificates.server()
    if content is None:
        (tmp_path / name).unlink()
    else:
        (tmp_path / name).write_bytes(content)
    assert certificates.has_changed()
    assert not certificates.reload()
    assert certificates.server() is context
    assert not certificates.has_changed()  # said once, not with every look


def test_a_key_of_another_certificate_is_refused(tmp_path: Path) -> None:
    certificates = Certificates(settings_of(tmp_path), tmp_path)
    Authority().issue(tmp_path, "us", stem="other")
    (tmp_path / "other.key").replace(tmp_path / "server.key")
    assert not certificates.reload()


def test_a_listener_without_a_certificate_is_a_mistake(tmp_path: Path) -> None:
    with pytest.raises(TlsUnusable, match=r"tls\.certificate"):
        Certificates(Tls(), tmp_path).server()


def test_the_first_read_names_the_file_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(TlsUnusable, match=r"missing\.pem"):
        Certificates(Tls(certificate="missing.pem"), tmp_path)


def test_endless_handshakes_are_cut(tmp_path: Path) -> None:
    server = TlsChannel(Certificates(settings_of(tmp_path), tmp_path).server(), None)
    record = b"\x16\x03\x01\x40\x00" + b"\x01\x00\xff\xff" + b"x" * 16_380
    with pytest.raises(ssl.SSLError):
        server.receive(record * 10)
