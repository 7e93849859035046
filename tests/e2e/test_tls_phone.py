"""A phone that is registered over TLS: baresip, rung through a number, and calling."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from msgspec.structs import replace

from config.settings import Tls
from sipp_scenarios.changes import REALM, user_name
from sipp_scenarios.places import Place
from switch.policy.hashes import make_ha1
from switch.snapshot import Record, SipUser
from tests.e2e.baresip import Baresip
from tests.e2e.plane import Plane
from tests.e2e.test_inbound_from_outside import (
    NUMBER,
    PACKETS_PER_S,
    TALK_S,
    assert_charged,
    carrier,
    registrations,
    with_phone,
)
from tests.e2e.test_softphone import Softphone
from tests.e2e.traffic import Vendor
from tests.fakes.certificates import Authority

PASSWORD = "battery-staple"
"""baresip ends a password at its first blank."""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("baresip") is None, reason="needs Debian's baresip-core"),
]


class Secured(Plane):
    """A user who may register and call over TLS alone; `root` signed what the switch shows."""

    def __init__(self, folder: Path) -> None:
        authority = Authority()
        self.root = authority.write_root(folder / "root.pem")

        def records(place: Place) -> list[Record]:
            authority.issue(folder, place.switch[0])
            ha1 = make_ha1("MD5", user_name(place), REALM, PASSWORD)
            return [
                replace(record, transport="tls", ha1_md5=ha1) if isinstance(record, SipUser) else record
                for record in with_phone(place)
            ]

        # Debian's baresip knows MD5 alone, and gives up where anything else is offered beside it.
        super().__init__(
            folder,
            records=records,
            tls=Tls(certificate="server.pem", private_key="server.key"),
            digest_algorithms=("MD5",),
        )

    def phone(self, *commands: str) -> Baresip:
        at = self.place.other(66)
        return Baresip(self.folder / "phone", at, user_name(self.place), PASSWORD, self.tls_at, self.root, *commands)


@pytest.fixture
def plane(tmp_path: Path) -> Iterator[Secured]:
    made = Secured(tmp_path)
    made.start()
    yield made
    made.kill()
    assert "Traceback" not in made.log(), made.log()[-3000:]


def test_a_phone_registered_over_tls_is_rung_through_its_connection_with_media(plane: Secured) -> None:
    pytest.importorskip("pjsua2")
    phone = plane.phone()
    caller = None
    try:
        phone.wait_for("200 OK")
        (row,) = registrations(plane)
        assert row.transport == "tls"
        source = carrier(plane.place)
        uri = f"sip:{NUMBER}@{plane.switch[0]}:{plane.switch[1]}"
        caller = Softphone(plane.folder, "call", source[0], str(source[1]), "carrier", "none", uri, str(TALK_S))
        calling = caller.result()
        assert "CONFIRMED" in calling["states"], phone.log()[-3000:]
        for way in ("RX", "TX"):
            assert calling["packets"][way] >= TALK_S * PACKETS_PER_S * 0.8, calling
        phone.wait_for("Call established")
        (cdr,) = plane.cdrs()
        assert (cdr.cause, cdr.direction, cdr.sip_user_id) == ("normal", "inbound", plane.place.base)
        assert "transport=tls" in cdr.attempts[0].destination
        assert_charged(cdr)
        plane.assert_sound()
    finally:
        phone.stop()
        if caller is not None:
            caller.stop()
    # The connection was the contact, and is gone.
    plane.wait(lambda: not registrations(plane), "the phone's contact to end with its connection")


def test_a_phone_calls_out_over_tls(plane: Secured) -> None:
    host, port = plane.tls_at
    with Vendor(plane.vendor, plane.switch):
        phone = plane.phone("-e", f"/dial sip:442071000001@{host}:{port};transport=tls")
        try:
            phone.wait_for("Call established")
            phone.hang_up()
            plane.wait(plane.cdrs, "baresip to hang up")
        finally:
            phone.stop()
    (cdr,) = plane.cdrs()
    assert (cdr.cause, cdr.transport, cdr.sip_user_id) == ("normal", "tls", plane.place.base)
    assert (cdr.release, cdr.codecs) == ("caller", "PCMA")
    plane.assert_money_is_right([cdr])
