"""TLS from outside: whom the switch believes, what it shows, and that nobody can hold it up."""

from __future__ import annotations

import os
import signal
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from msgspec.structs import replace

from config.settings import Tls
from sipp_scenarios.places import TLS_PORT, Place
from switch.records import Cdr
from switch.snapshot import Gateway, Record
from tests.e2e.peer import Address, answered_call, hang_up
from tests.e2e.plane import Plane
from tests.e2e.secured import TlsPeer, TlsVendor, serving, trusting
from tests.e2e.traffic import Caller, Vendor
from tests.fakes.certificates import Authority

pytestmark = pytest.mark.slow

STALLED = 200


class Secured(Plane):
    """The first vendor speaks TLS, the second UDP; `authority` is the only root that is believed."""

    def __init__(self, folder: Path, *, verify: bool = True, handshakes_open_max: int = 256) -> None:
        self.authority = Authority()
        self.root = self.authority.write_root(folder / "root.pem")

        def records(place: Place) -> list[Record]:
            self.authority.issue(folder, place.switch[0])
            first = place.gateway(0).id
            return [
                replace(record, transport="tls", port=TLS_PORT, tls_verify=verify)
                if isinstance(record, Gateway) and record.id == first
                else record
                for record in place.records()
            ]

        tls = Tls(
            certificate="server.pem",
            private_key="server.key",
            ca_file="root.pem",
            handshake_timeout_s=2.0,
            handshakes_open_max=handshakes_open_max,
        )
        super().__init__(folder, vendors=2, records=records, tls=tls)

    @property
    def secured_vendor(self) -> Address:
        return self.place.vendors[0][0], TLS_PORT

    def caller(self, context: ssl.SSLContext | None = None) -> TlsPeer:
        return TlsPeer(self.customer[0], self.tls_at, context or trusting(self.root))


@pytest.fixture
def plane(tmp_path: Path) -> Iterator[Secured]:
    made = Secured(tmp_path)
    made.start()
    yield made
    made.kill()
    assert "Traceback" not in made.log(), made.log()[-3000:]


def one_call(plane: Secured) -> Cdr:
    """A call of the customer over UDP, answered by whichever vendor the switch reaches."""
    with Vendor(plane.place.vendors[1], plane.switch), Caller(plane.customer, plane.switch) as caller:
        caller.run(1, settle_s=15.0)
        assert len(caller.ended) == 1, caller.refused
    (cdr,) = [cdr for cdr in plane.cdrs() if cdr.call_id in caller.ended]
    return cdr


def certificate(plane: Secured, folder: Path, kind: str) -> tuple[Path, Path]:
    ip = plane.secured_vendor[0]
    folder = folder / "vendor"
    folder.mkdir(exist_ok=True)
    match kind:
        case "expired":
            return plane.authority.issue(folder, ip, days=-1)
        case "wrong address":
            return plane.authority.issue(folder, "127.0.0.1", "localhost")
        case "wrong name":
            return plane.authority.issue(folder, "vendor.example")
        case "self-signed":
            return Authority().issue(folder, ip)
        case _:
            return plane.authority.issue(folder, ip)


@pytest.mark.parametrize("kind", ["expired", "wrong address", "wrong name", "self-signed"])
def test_a_vendor_with_a_certificate_that_does_not_hold_is_left_for_the_next(
    plane: Secured, tmp_path: Path, kind: str
) -> None:
    with TlsVendor(plane.secured_vendor, serving(certificate(plane, tmp_path, kind))) as vendor:
        cdr = one_call(plane)
        assert vendor.connections == 1
        assert vendor.methods == []  # not a byte of SIP went there
    assert [attempt.cause for attempt in cdr.attempts] == ["unreachable", "answered"]
    assert cdr.attempts[0].cost_nanos == 0
    (line,) = [line for line in plane.log().splitlines() if "TLS to a gateway failed" in line]
    assert plane.secured_vendor[0] in line


def test_a_vendor_with_a_good_certificate_gets_the_call(plane: Secured, tmp_path: Path) -> None:
    with TlsVendor(plane.secured_vendor, serving(certificate(plane, tmp_path, "good"))) as vendor:
        cdr = one_call(plane)
        assert vendor.methods == ["INVITE", "ACK", "BYE"]
    assert [attempt.cause for attempt in cdr.attempts] == ["answered"]


def test_verification_that_is_off_takes_any_certificate(tmp_path: Path) -> None:
    plane = Secured(tmp_path, verify=False)
    plane.start()
    try:
        with TlsVendor(plane.secured_vendor, serving(certificate(plane, tmp_path, "self-signed"))) as vendor:
            cdr = one_call(plane)
            assert vendor.methods == ["INVITE", "ACK", "BYE"]
        assert [attempt.cause for attempt in cdr.attempts] == ["answered"]
    finally:
        plane.kill()


def old_protocol(context: ssl.SSLContext) -> ssl.SSLContext:
    """TLS 1.1 and nothing else."""
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.maximum_version = ssl.TLSVersion.TLSv1_1
    return context


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_vendor_below_tls_1_2_is_left_for_the_next(plane: Secured, tmp_path: Path) -> None:
    context = old_protocol(serving(certificate(plane, tmp_path, "good")))
    with TlsVendor(plane.secured_vendor, context) as vendor:
        cdr = one_call(plane)
        assert vendor.methods == []
    assert [attempt.cause for attempt in cdr.attempts] == ["unreachable", "answered"]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_caller_below_tls_1_2_is_refused(plane: Secured) -> None:
    with pytest.raises((ssl.SSLError, ConnectionError)):
        plane.caller(old_protocol(trusting(plane.root)))
    with plane.caller() as caller:
        assert caller.certificate


@pytest.mark.parametrize("spoken", [b"SIP/2.0 200 OK\r\n\r\n", b"\x15\x03\x01\x00\x02\x02\x28", b"\0" * 4_000])
def test_a_vendor_that_speaks_something_else_is_left_for_the_next(plane: Secured, spoken: bytes) -> None:
    with socket.create_server(plane.secured_vendor) as listening:
        threading.Thread(target=say_once, args=(listening, spoken), daemon=True).start()
        cdr = one_call(plane)
    assert [attempt.cause for attempt in cdr.attempts] == ["unreachable", "answered"]


def say_once(listening: socket.socket, spoken: bytes) -> None:
    connection, _ = listening.accept()
    with connection:
        connection.sendall(spoken)
        connection.settimeout(10.0)
        while connection.recv(4_096):
            pass


def test_a_new_certificate_on_disk_is_shown_and_the_calls_that_are_up_go_on(plane: Secured, tmp_path: Path) -> None:
    with plane.peer(plane.place.vendors[1]) as vendor, plane.caller() as caller:
        first = caller.certificate
        dialog, _ = answered_call(caller, vendor)
        plane.authority.issue(tmp_path, plane.switch[0])
        plane.wait(lambda: shown(plane) != first, "the new certificate")
        second = shown(plane)
        # A broken one, then a missing one: what is in use stays.
        refusals = plane.log().count("new certificate refused")
        (tmp_path / "server.pem").write_text("-----BEGIN CERTIFICATE-----\nrubbish\n-----END CERTIFICATE-----\n")
        plane.wait(lambda: plane.log().count("new certificate refused") > refusals, "the broken one to be refused")
        assert shown(plane) == second
        (tmp_path / "server.key").unlink()
        os.kill(plane.pid, signal.SIGHUP)
        plane.wait(lambda: plane.log().count("new certificate refused") > refusals + 1, "the missing one")
        assert shown(plane) == second
        hang_up(dialog, caller, vendor)
        plane.authority.issue(tmp_path, plane.switch[0])
        os.kill(plane.pid, signal.SIGHUP)
        plane.wait(lambda: shown(plane) != second, "the third certificate")
    (cdr,) = plane.cdrs()
    assert (cdr.cause, cdr.transport) == ("normal", "tls")


def shown(plane: Secured) -> bytes | None:
    """The certificate that a new connection is shown."""
    with plane.caller() as peer:
        return peer.certificate


CLIENT_HELLO_BEGINS = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"


@pytest.mark.parametrize("spoken", [b"", CLIENT_HELLO_BEGINS], ids=["nothing", "half a ClientHello"])
@pytest.mark.parametrize("addresses", [1, 100])
def test_two_hundred_stalled_handshakes_hold_up_nobody(tmp_path: Path, spoken: bytes, addresses: int) -> None:
    # From many addresses they fit within the limit; from one they may not, and make room for others.
    plane = Secured(tmp_path, handshakes_open_max=64 if addresses == 1 else 256)
    plane.start()
    stalled = []
    try:
        for number in range(STALLED):
            source = plane.place.other(100 + number % addresses)[0], 0
            opened = socket.create_connection(plane.tls_at, 5.0, source)
            stalled.append(opened)
            with suppress(ConnectionError):  # beyond the limit it is closed at once
                opened.sendall(spoken)
        with plane.peer(plane.place.vendors[1]) as vendor, plane.peer(plane.customer) as plain:
            with plane.caller() as secured:
                for caller in (plain, secured):
                    dialog, _ = answered_call(caller, vendor)
                    hang_up(dialog, caller, vendor)
            plane.wait(lambda: plane.stats().gauges["stream_connections"] == 0, "the stalled ones to be cut")
        plane.assert_sound()
    finally:
        for opened in stalled:
            opened.close()
        plane.kill()
