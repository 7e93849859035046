"""What a customer's card says, set through HTTP alone, as its switch and its vendor see it in the next call."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.e2e.peer import Dialog, Peer, Seen, hang_up, reply
from tests.e2e.test_digest_from_outside import challenges, credentials
from tests.e2e.traffic import Vendor
from tests.fakes.installation import Installation

pytestmark = pytest.mark.slow

CALLER, VENDOR, STRANGER = "127.0.0.2", "127.0.0.3", "127.0.0.4"
LONDON, PARIS = "442079460000", "33155500000"
CLI = "15551230000"
OFFER = (
    "v=0\r\no=peer 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\n"
    "m=audio 40000 RTP/AVP 8 0\r\na=rtpmap:8 PCMA/8000\r\na=rtpmap:0 PCMU/8000\r\n"
)

REFUSED: list[tuple[str, dict[str, Any], str, int, str]] = [
    # Of what, what is set there, who is called, and how that is refused.
    ("customer", {"status": "inactive"}, LONDON, 403, "customer_inactive"),
    ("customer", {"status": "penalty", "penalty_until": "2100-01-01T00:00:00Z"}, LONDON, 403, "customer_penalty"),
    ("customer", {"channels": 0}, LONDON, 503, "channels_exceeded"),
    ("customer", {"daily_spend_limit": "0"}, LONDON, 402, "daily_spend_reached"),
    ("customer", {"debit_limit": "-10"}, LONDON, 402, "balance_insufficient"),
    ("endpoint", {"channels": 0}, LONDON, 503, "channels_exceeded"),
    ("endpoint", {"dial_pattern": "33."}, LONDON, 484, "number_invalid"),
    ("endpoint", {"codecs": ["G729"]}, LONDON, 488, "codecs_refused"),
    ("endpoint", {"bandwidth_kbps": 10}, LONDON, 503, "bandwidth_exceeded"),
    ("route", {"enabled": False}, LONDON, 404, "no_ingress_route"),
    ("route", {"dial_strings": ["33", "^49[0-9]+$"]}, LONDON, 404, "no_ingress_route"),
    ("route", {"channels": 0}, LONDON, 503, "channels_exceeded"),
    ("route", {"capped_rate": "0.01"}, LONDON, 403, "destination_blocked"),
    ("route", {"vendor_capped_rate": "0.001"}, LONDON, 503, "no_vendor"),
    ("route", {}, PARIS, 404, "no_sell_rate"),
]
PASSED: list[tuple[str, dict[str, Any], str, tuple[str, str], str]] = [
    # What is set, who is called, and which numbers and which codecs the vendor is shown.
    ("endpoint", {}, LONDON, (CLI, LONDON), "8 0"),
    ("endpoint", {"cli_prefix": "99"}, LONDON, (f"99{CLI}", LONDON), "8 0"),
    ("endpoint", {"force_from": "442071838750"}, LONDON, ("442071838750", LONDON), "8 0"),
    ("endpoint", {"tech_prefix": "77#", "strip_digits": 2}, f"77#00{LONDON}", (CLI, LONDON), "8 0"),
    ("endpoint", {"dial_pattern": "44XXXXXXXXXX"}, LONDON, (CLI, LONDON), "8 0"),
    ("endpoint", {"codecs": ["PCMU"]}, LONDON, (CLI, LONDON), "0"),
    ("route", {"dial_strings": ["33", "^4420[0-9]+$"]}, LONDON, (CLI, LONDON), "8 0"),
]


class Card(NamedTuple):
    """Paths of one customer's things."""

    customer: str
    endpoint: str
    route: str
    user: str


def make_card(tandem: Installation, vendor: Peer, folder: Path) -> Card:
    """A customer that waits for approval, and prices; by the API alone."""
    api = tandem.api
    provider = api.post("/providers", {"name": "Carrier"})["id"]
    api.post(f"/providers/{provider}/gateways", {"host": VENDOR, "port": vendor.at[1]})
    buy = api.post("/rate-cards", {"name": "Buy", "direction": "buy", "provider_id": provider})["id"]
    sell = api.post("/rate-cards", {"name": "Sell", "direction": "sell", "vendor_card_ids": [buy]})["id"]
    for card, rate in ((buy, "0.01"), (sell, "0.03")):
        deck = folder / "deck.csv"
        deck.write_text(f"prefix,name,rate,increment\n4420,London,{rate},60/60\n")
        api.upload(f"/rate-cards/{card}/revisions", deck, {"file_name": "deck.csv", "activate": True})
    made = api.post("/customers", {"name": "Acme", "status": "pending_approval", "tax_percent": "20"})
    customer = f"/customers/{made['id']}"
    api.post(f"{customer}/payments", {"total": "10"})
    endpoint = api.post(f"{customer}/endpoints", {"direction": "egress", "host": CALLER})["id"]
    route = api.post(f"{customer}/ingress-routes", {"rate_card_id": sell})["id"]
    user = api.post(f"{customer}/sip-users", {"username": "alice", "password": "correct horse"})["id"]
    return Card(customer, f"/endpoints/{endpoint}", f"/ingress-routes/{route}", f"/sip-users/{user}")


@contextmanager
def set_to(tandem: Installation, path: str, patch: dict[str, Any]) -> Iterator[None]:
    """With these fields, and then as it was."""
    before = tandem.api.get(path)
    tandem.api.patch(path, patch)
    yield
    tandem.api.patch(path, {name: before[name] for name in patch})


def refusal(tandem: Installation, caller: Peer, number: str) -> tuple[int, str]:
    """The status and the cause that a caller is told, its CDR has, and a simulation says."""
    dialog = Dialog(caller, number, cli=CLI)
    caller.send(dialog.invite(body=OFFER))
    final = caller.wait_for_final()
    caller.send(dialog.ack(final))
    cause = final.header("Reason").partition('text="')[2].rstrip('"')
    (cdr,) = cdrs_of(tandem, dialog)
    assert (cdr["status"], cdr["cause"], cdr["gross"]) == (final.status, cause, "0")
    asked = {"dialled": number, "cli": CLI, "source_ip": CALLER, "codecs": ["PCMA", "PCMU"]}
    told = tandem.api.post("/simulate", asked)
    assert (told["status"], told["cause"]) == (final.status, cause)
    return final.status, cause


def passed(caller: Peer, vendor: Peer, number: str) -> tuple[Dialog, Seen]:
    """A call that is answered and hung up; its INVITE as the vendor saw it."""
    dialog = Dialog(caller, number, cli=CLI)
    caller.send(dialog.invite(body=OFFER))
    invite = vendor.wait_for_request("INVITE")
    vendor.send(reply(vendor, invite, 200, "OK", body=OFFER))
    caller.send(dialog.ack(caller.wait_for_final()))
    vendor.wait_for_request("ACK")
    hang_up(dialog, caller, vendor)
    return dialog, invite


def cdrs_of(tandem: Installation, dialog: Dialog) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []

    def is_there() -> bool:
        found[:] = list(tandem.api.items("/cdrs", {"call_id": dialog.call_id}))
        return bool(found)

    tandem.wait(is_there, f"the CDR of {dialog.call_id}")
    return found


def user_of(value: str) -> str:
    return value.partition("sip:")[2].partition("@")[0]


def test_each_field_of_a_card_is_met_by_the_next_call(tandem: Installation, tmp_path: Path) -> None:
    with Peer((CALLER, 0), tandem.sip) as caller, Peer((VENDOR, 0), tandem.sip) as vendor:
        card = make_card(tandem, vendor, tmp_path)
        api = tandem.api
        assert refusal(tandem, caller, LONDON) == (403, "customer_pending")
        api.patch(card.customer, {"status": "active"})
        for what, patch, number, (cli, dialled), codecs in PASSED:
            with set_to(tandem, getattr(card, what), patch):
                dialog, invite = passed(caller, vendor, number)
            assert (user_of(invite.header("From")), user_of(invite.uri)) == (cli, dialled), patch
            assert f" RTP/AVP {codecs}\r\n".encode() in invite.body, patch
            (cdr,) = cdrs_of(tandem, dialog)
            assert (cdr["cli_out"], cdr["dialled_out"], cdr["net"], cdr["tax"]) == (cli, dialled, "0.03", "0.006")
        for what, patch, number, status, cause in REFUSED:
            with set_to(tandem, getattr(card, what), patch):
                assert refusal(tandem, caller, number) == (status, cause), patch
        # Nobody is known by that address any more: whoever calls from it is asked for a password, and has no CDR.
        with set_to(tandem, card.endpoint, {"enabled": False}):
            dialog = Dialog(caller, LONDON)
            caller.send(dialog.invite())
            assert caller.wait_for_final().status == 407
            assert list(api.items("/cdrs", {"call_id": dialog.call_id})) == []
        rule = api.post(f"{card.customer}/cli-rules", {"match": "1555", "action": "rewrite", "to": "442071838750"})
        _, invite = passed(caller, vendor, LONDON)
        assert user_of(invite.header("From")) == "442071838750"
        api.patch(f"/cli-rules/{rule['id']}", {"action": "deny", "to": ""})
        assert refusal(tandem, caller, LONDON) == (403, "cli_refused")
        with set_to(tandem, card.endpoint, {"flow_speed_cps": 0.01}):
            api.delete(f"/cli-rules/{rule['id']}")
            passed(caller, vendor, LONDON)
            dialog = Dialog(caller, LONDON)
            caller.send(dialog.invite())
            final = caller.wait_for_final()
            assert (final.status, final.header("Retry-After")) == (503, "1")
        assert api.get("/invariants")["is_sound"]


def log_in(phone: Peer, password: str) -> tuple[Dialog, Seen]:
    """An INVITE that answers the challenge; what comes to it."""
    asked = Dialog(phone, LONDON, cli=CLI)
    phone.send(asked.invite(body=OFFER))
    challenge = phone.wait_for_final()
    assert challenge.status == 407
    phone.send(asked.ack(challenge))
    dialog = Dialog(phone, LONDON, cli=CLI)
    strongest = next(iter(challenges(challenge).values()))
    phone.send(dialog.invite(credentials(strongest, "alice", password, dialog.uri), body=OFFER))
    answer = phone.wait_for(lambda seen: seen.status > 100 and seen.method == "INVITE")
    if answer.status >= 300:
        phone.send(dialog.ack(answer))
    return dialog, answer


def test_a_user_with_a_password_calls_from_anywhere_until_it_is_off(tandem: Installation, tmp_path: Path) -> None:
    """User/Password authentication of the card: the password that was set opens it, and no other."""
    with Peer((STRANGER, 0), tandem.sip) as phone, Vendor((VENDOR, 0), tandem.sip) as vendor:
        card = make_card(tandem, vendor.peer, tmp_path)
        tandem.api.patch(card.customer, {"status": "active"})

        def calls(password: str) -> dict[str, Any]:
            dialog, answer = log_in(phone, password)
            assert answer.status == 200
            phone.send(dialog.ack(answer))
            phone.send(dialog.inside("BYE", 2))
            assert phone.wait_for_final("BYE").status == 200
            return cdrs_of(tandem, dialog)[0]

        cdr = calls("correct horse")
        assert (cdr["sip_user_id"], cdr["endpoint_id"]) == (int(card.user.rpartition("/")[2]), None)
        assert log_in(phone, "wrong horse")[1].status == 407
        tandem.api.patch(card.user, {"password": "battery staple"})
        assert log_in(phone, "correct horse")[1].status == 407
        assert calls("battery staple")["net"] == "0.03"
        with set_to(tandem, card.user, {"ip_allow_list": ["192.0.2.0/24"]}):
            assert log_in(phone, "battery staple")[1].status == 407
        with set_to(tandem, card.user, {"channels": 0}):
            assert log_in(phone, "battery staple")[1].status == 503
        tandem.api.patch(card.user, {"enabled": False})
        assert log_in(phone, "battery staple")[1].status == 407
