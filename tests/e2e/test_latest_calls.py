"""Calls as the API shows them from their INVITE on: in the list, message by message, as a picture."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import urllib.parse
import urllib.request
import xml.dom.minidom
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.peer import SDP, Dialog, Peer, hang_up, reply
from tests.fakes.example_calls import example_vendor
from tests.fakes.installation import Installation

pytestmark = pytest.mark.slow

HOSTILE = "<script>alert(1)</script>\"'><img src=x onerror=alert(2)>&amp;]]>"
NUMBER = "1234442071000001"


@pytest.fixture
def tandem(installation: Installation) -> Installation:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    # The same after a restart: calls that are up come back to it.
    listener = 'host = "127.0.0.1"\nport = '
    installation.config.write_text(installation.config.read_text().replace(f"{listener}0", f"{listener}{port}"))
    installation.start()
    return installation


def fetch(tandem: Installation, path: str) -> tuple[str, dict[str, str]]:
    key = (tandem.data / "admin.key").read_text().strip()
    request = urllib.request.Request(f"{tandem.url}/api/v1{path}", headers={"Authorization": f"Bearer {key}"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return answer.read().decode(), {name.lower(): value for name, value in answer.headers.items()}


def get(tandem: Installation, path: str) -> Any:
    return json.loads(fetch(tandem, path)[0])


def test_a_call_is_there_from_its_invite_to_long_after_its_end_with_every_message(
    tandem: Installation, tmp_path: Path
) -> None:
    with example_vendor(tandem, tmp_path) as vendor, Peer(("127.0.0.1", 0), tandem.sip) as caller:
        dialog = Dialog(caller, NUMBER)
        secret = 'Authorization: Digest username="bob", nonce="n", uri="sip:x", response="deadbeef", cnonce="c0ffee"'
        caller.send(dialog.invite(f"User-Agent: {HOSTILE}", secret))
        invite = vendor.wait_for_request("INVITE")
        # Before any answer, and long before a CDR.
        (call,) = get(tandem, "/latest-calls")["items"]
        assert (call["state"], call["call_id"], call["ended"]) == ("trying", dialog.call_id, None)
        assert names_of(tandem, call["id"]) == ["INVITE", "100 Trying (INVITE)", "INVITE"]
        vendor.send(reply(vendor, invite, 180, "Ringing"))
        caller.wait_for_status(180)
        assert [each["id"] for each in get(tandem, "/latest-calls?state=ringing")["items"]] == [call["id"]]
        vendor.send(reply(vendor, invite, 200, "OK", body=SDP))
        caller.send(dialog.ack(caller.wait_for_final()))
        vendor.wait_for_request("ACK")
        live = get(tandem, f"/calls/{call['id']}/messages")
        assert live["is_live"]
        assert live["is_complete"]
        assert live["decision"][-1] == "up"
        assert any(": taken" in line for line in live["decision"])
        # The switch dies and comes back: what was said before is still there.
        os.kill(tandem.child("switch"), signal.SIGKILL)
        tandem.wait(lambda: tandem.health()["switch"] == "away", "the end of the switch")
        tandem.wait(lambda: tandem.health()["switch"] == "connected", "the next one")
        assert [each["id"] for each in get(tandem, "/latest-calls?state=answered")["items"]] == [call["id"]]
        hang_up(dialog, caller, vendor)
        (ended,) = get(tandem, f"/latest-calls?search={dialog.call_id}")["items"]
        assert (ended["id"], ended["state"], ended["cause"]) == (call["id"], "ended", "normal")
        trace = get(tandem, f"/calls/{call['id']}/messages")
        assert not trace["is_live"]
        assert names_of(tandem, call["id"])[-4:] == ["BYE", "BYE", "200 OK (BYE)", "200 OK (BYE)"]
        assert {each["party"] for each in trace["messages"]} == {"Acme Voice", "Meridian"}
        assert HOSTILE in trace["messages"][0]["text"]
        plain, headers = fetch(tandem, f"/calls/{call['id']}/messages.txt")
        for text in (json.dumps(trace), plain):
            assert "deadbeef" not in text
            assert "c0ffee" not in text
        assert "sent to 127.0.0.1" in plain
        assert headers["x-content-type-options"] == "nosniff"
        picture, headers = fetch(tandem, f"/calls/{call['id']}/ladder.svg")
        assert headers["content-type"].startswith("image/svg+xml")
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "Meridian" in picture
        check_inert(picture)
        (tmp_path / "ladder.svg").write_text(picture)


def test_refused_and_failed_calls_stand_in_the_list_with_their_reason_and_their_messages(
    tandem: Installation, tmp_path: Path
) -> None:
    with example_vendor(tandem, tmp_path) as vendor, Peer(("127.0.0.1", 0), tandem.sip) as caller:
        refused = Dialog(caller, "1234999000000001", cli=urllib.parse.quote(HOSTILE))
        caller.send(refused.invite())
        caller.send(refused.ack(caller.wait_for_final()))
        busy = Dialog(caller, NUMBER)
        caller.send(busy.invite())
        vendor.send(reply(vendor, vendor.wait_for_request("INVITE"), 486, "Busy <b>Here</b>"))
        caller.send(busy.ack(caller.wait_for_status(486)))
        vendor.wait_for_request("ACK")
        # Both may have come within a millisecond: then either may stand first.
        found = {each["call_id"]: each for each in get(tandem, "/latest-calls")["items"]}
        failed, first = found.pop(busy.call_id), found.pop(refused.call_id)
        assert not found
        assert (failed["state"], failed["status"], failed["cause"]) == ("failed", 486, "busy")
        assert first["state"] == "refused"
        assert [each["id"] for each in get(tandem, "/latest-calls?state=refused")["items"]] == [first["id"]]
        path = f"/customers/{failed['customer_id']}/latest-calls"
        assert [each["id"] for each in get(tandem, f"{path}?search=2071000001")["items"]] == [failed["id"]]
        names = names_of(tandem, first["id"])
        assert (names[0], names[-1]) == ("INVITE", "ACK")
        assert "486 Busy <b>Here</b> (INVITE)" in names_of(tandem, failed["id"])
        assert get(tandem, f"/calls/{failed['id']}/messages")["decision"][-1].endswith("busy, status 486")
        for each in (failed, first):
            check_inert(fetch(tandem, f"/calls/{each['id']}/ladder.svg")[0])


def test_a_call_that_waits_for_its_routes_rate_is_there_from_its_invite_under_the_id_that_it_keeps(
    tandem: Installation, tmp_path: Path
) -> None:
    with example_vendor(tandem, tmp_path) as vendor, Peer(("127.0.0.1", 0), tandem.sip) as caller:
        customer = next(each for each in tandem.api.items("/customers") if each["name"] == "Acme Voice")
        (route,) = tandem.api.items(f"/customers/{customer['id']}/ingress-routes")
        slowly = {"flow_speed_cps": 0.05, "cps_buffer_s": 30}
        tandem.api.patch(f"/customers/{customer['id']}/ingress-routes/{route['id']}", slowly)
        dialogs = [Dialog(caller, NUMBER) for _ in range(2)]
        for dialog in dialogs:
            caller.send(dialog.invite())
        vendor.wait_for_request("INVITE")
        (waiting,) = get(tandem, "/latest-calls?state=waiting")["items"]
        assert waiting["call_id"] == dialogs[1].call_id
        trace = get(tandem, f"/calls/{waiting['id']}/messages")
        assert names_of(tandem, waiting["id"]) == ["INVITE", "100 Trying (INVITE)"]
        assert "waits for a call rate" in " ".join(trace["decision"])
        assert len(get(tandem, "/calls")["items"]) == 1
        tandem.api.post(f"/calls/{waiting['id']}/end", {})
        assert caller.wait_for_status(480).header("Call-ID") == dialogs[1].call_id
        (ended,) = get(tandem, f"/latest-calls?search={dialogs[1].call_id}")["items"]
        assert (ended["id"], ended["state"], ended["cause"]) == (waiting["id"], "refused", "killed")


def names_of(tandem: Installation, cdr_id: str) -> list[str]:
    return [each["name"] for each in get(tandem, f"/calls/{cdr_id}/messages")["messages"]]


def check_inert(picture: str) -> None:
    """It is XML with the elements of a drawing alone, and no attribute that acts."""
    document = xml.dom.minidom.parseString(picture)
    elements = document.getElementsByTagName("*")
    allowed = {"svg", "style", "rect", "defs", "marker", "path", "text", "line"}
    assert {each.tagName for each in elements} <= allowed
    for each in elements:
        for name, value in each.attributes.items():
            assert not name.lower().startswith("on"), name
            assert "href" not in name.lower()
            assert not re.search(r"javascript|data:", value, re.I)
