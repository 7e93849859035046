"""`tandem apply` of what customers and clients have beside their calls: packages, contracts, alerts, people …"""

from __future__ import annotations

import asyncio
import json
import shutil
import stat
from pathlib import Path
from typing import Any

import pytest

import config
from control.apply import Plan, Step
from control.apply_file import ApplyError, read_file
from control.client import ApiClient
from tests.fakes.api_client import with_client
from tests.fakes.control import ControlPlane, with_control
from tests.fakes.installation import Installation

EXAMPLES = Path(config.__file__).parent / "example"

WANTED = """
[products.Desk]
monthly_price = "120.00"
setup_price = "10"

[clients."Harbour House"]
start_date = 2027-01-01
status = "active"
[[clients."Harbour House".purchases]]
product = "Desk"
quantity = 4
start_date = 2027-02-01
[clients."Harbour House".telephone_services.201]
name = "Reception"
sip_user = "alice"
did = "+44 20 7946 0777"
permissions = ["national", "internal", "international"]

[providers.Carrier]
[rate_cards."Carrier buy"]
direction = "buy"
provider = "Carrier"

[packages."Flat 100"]
retail = "10.00"
free_minutes = 100
free_destination = "44"

[customers.Acme]
client = "Harbour House"
portal_access = true
[customers.Acme.sip_users.alice]
password = { env = "ALICE_PASSWORD" }
[customers.Acme.contacts."Ann@example.com"]
name = "Ann"
phone = "+44 20 7183 8750"
ip_allow_list = ["127.0.0.1/32"]
password = { file = "ann.txt" }
[[customers.Acme.customer_packages]]
package = "Flat 100"
start = 2027-02-01
quantity = 2
[customers.Acme.contracts."Interconnect"]
provider = "Carrier"
required_by = 2027-03-01
text_file = "interconnect.txt"
ends = 2028-01-31
rate_card = "Carrier buy"
[customers.Acme.alerts."Low balance"]
area = "balance"
operator = "<"
threshold = "20"
recipients = [{ webhook = "Acme's own" }]

[dids."+44 20 7946 0777"]
customer = "Acme"
destinations = [{ sip_user = "alice" }]

[webhooks.Operations]
url = { env = "HOOK_URL" }
events = ["alert.fired", "invoice.issued"]
secret_file = "operations.secret"
[webhooks."Acme's own"]
url = "https://hooks.example.com/acme"
events = []
customer = "Acme"

[alerts."Vendor trouble"]
area = "asr"
operator = "<"
threshold = 20
recipients = [{ webhook = "Operations" }]
"""


def prepare(plane: ControlPlane, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = plane.folder / "wanted"
    folder.mkdir()
    (folder / "ann.txt").write_text("ann's own secret\n")
    (folder / "interconnect.txt").write_text("Both sides agree.\n")
    monkeypatch.setenv("ALICE_PASSWORD", "alice's own secret")
    monkeypatch.setenv("HOOK_URL", "https://hooks.example.com/token-4711")
    return folder / "wanted.toml"


async def planned(plane: ControlPlane, path: Path, text: str | None = None, **more: Any) -> list[Step]:
    def work(client: ApiClient) -> list[Step]:
        if text is not None:
            path.write_text(text)
        return Plan(client, read_file(path), **more).steps()

    return await with_client(plane, work)


async def applied(
    plane: ControlPlane, path: Path, text: str | None = None, **more: Any
) -> tuple[list[Step], list[str]]:
    def work(client: ApiClient) -> tuple[list[Step], list[str]]:
        if text is not None:
            path.write_text(text)
        plan = Plan(client, read_file(path), **more)
        steps = plan.steps()
        for step in steps:
            plan.run(step)
        return steps, plan.take_notes()

    return await with_client(plane, work)


def told(steps: list[Step]) -> list[tuple[str, str, list[str]]]:
    return [(step.action, step.wanted.label, sorted(step.changes)) for step in steps]


def test_everything_is_made_in_one_run_and_the_second_does_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @with_control
    async def inside(plane: ControlPlane) -> None:
        path = prepare(plane, monkeypatch)
        steps, notes = await applied(plane, path, WANTED)
        assert {step.action for step in steps} == {"create", "revise"}
        assert await planned(plane, path, WANTED) == []
        customer = (await plane.get("/customers"))["items"][0]["id"]
        (contact,) = (await plane.get("/contacts"))["items"]
        assert (contact["email"], contact["phone"], contact["has_password"]) == (
            "Ann@example.com",
            "+442071838750",
            True,
        )
        (package,) = (await plane.get(f"/customers/{customer}/customer-packages"))["items"]
        assert (package["quantity"], package["terms"]["name"]) == (2, "Flat 100")
        (contract,) = (await plane.get("/contracts"))["items"]
        assert (contract["title"], contract["ends"], contract["revisions"]) == ("Interconnect", "2028-01-31", 1)
        (own,) = (await plane.get(f"/customers/{customer}/alerts"))["items"]
        hooks = {row["name"]: row for row in (await plane.get("/webhooks"))["items"]}
        assert own["recipients"] == [{"webhook_id": hooks["Acme's own"]["id"]}]
        assert hooks["Operations"]["url"] == "https://hooks.example.com/token-4711"
        (purchase,) = (await plane.get("/purchases"))["items"]
        assert (purchase["quantity"], purchase["monthly_price"]) == (4, "120")
        (service,) = (await plane.get("/telephone-services"))["items"]
        assert (service["number"], service["sip_username"]) == ("442079460777", "alice")
        kept = path.parent / "operations.secret"
        assert stat.S_IMODE(kept.stat().st_mode) == 0o600
        assert len(kept.read_text().strip()) > 20
        assert any("Operations: its secret is in" in note for note in notes)
        assert any("Acme's own: its secret was not kept" in note for note in notes)
        shown = json.dumps([step.as_json() for step in steps]) + "".join(notes)
        for secret in ("own secret", "token-4711", kept.read_text().strip()):
            assert secret not in shown
        login = {"email": "ann@example.com", "password": "ann's own secret"}
        answer = await plane.client.post("/api/v1/portal/login", json=login)
        assert answer.status_code == 200, answer.text

    inside(tmp_path)


def test_what_differs_is_named_and_changed_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    @with_control
    async def inside(plane: ControlPlane) -> None:
        path = prepare(plane, monkeypatch)
        await applied(plane, path, WANTED)
        text = WANTED
        for old, new in (
            ('threshold = "20"', 'threshold = "20.00"'),
            ("threshold = 20\n", 'threshold = "30"\n'),
            ('[{ webhook = "Operations" }]', '[{ webhook = "Operations" }, { webhook = "Second" }]'),
            ('["alert.fired", "invoice.issued"]', '["invoice.issued", "alert.fired"]'),
            ("quantity = 2", "quantity = 3"),
            ("ends = 2028-01-31", "ends = 2028-06-30"),
            ('retail = "10.00"', 'retail = "11"'),
            ('name = "Ann"', 'name = "Ann Other"'),
            ('setup_price = "10"', 'setup_price = "12"'),
            ('name = "Reception"', 'name = "Front desk"'),
        ):
            assert old in text
            text = text.replace(old, new)
        text += '\n[webhooks.Second]\nurl = "https://hooks.example.com/second"\nevents = []\n'
        monkeypatch.setenv("HOOK_URL", "https://hooks.example.com/token-4712")
        expected = [
            ("change", "product Desk", ["setup_price"]),
            ("change", "package Flat 100", ["retail"]),
            ("change", "contact Ann@example.com of customer Acme", ["name"]),
            ("change", "package Flat 100 2027-02-01 of customer Acme", ["quantity"]),
            ("revise", "contract Interconnect of customer Acme", ["ends"]),
            ("change", "telephone service 201 of client Harbour House", ["name"]),
            ("change", "webhook Operations", ["url"]),
            ("create", "webhook Second", ["events", "name", "url"]),
            ("change", "alert Vendor trouble", ["recipients", "threshold"]),
        ]
        before = await plane.get("/audit")
        steps = await planned(plane, path, text)
        assert told(steps) == expected
        assert await plane.get("/audit") == before
        assert "token" not in json.dumps([step.as_json() for step in steps])
        await applied(plane, path, text)
        assert await planned(plane, path, text) == []
        contract = (await plane.get("/contracts"))["items"][0]
        assert (contract["revisions"], contract["ends"]) == (2, "2028-06-30")
        first = await plane.get(f"/contracts/{contract['id']}/revisions/1")
        assert (first["text"], first["ends"]) == ("Both sides agree.", "2028-01-31")
        again = await planned(plane, path, text, with_secrets=True)
        assert [(label, fields) for _, label, fields in told(again)] == [
            ("sip user alice of customer Acme", ["password"]),
            ("contact Ann@example.com of customer Acme", ["password"]),
        ]

    inside(tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        ('name = "Ann"', 'nmae = "Ann"', "nmae is not known here; use name, email, phone"),
        ('area = "asr"\n', "", "alert Vendor trouble: area is missing"),
        ('phone = "+44', 'customer_id = 1\nphone = "+44', "customer_id is not known here"),
        ('package = "Flat 100"', 'package = "Flat 200"', 'package: there is no package "Flat 200"'),
        ('webhook = "Operations"', 'webhook = "Nobody"', 'recipients: there is no webhook "Nobody"'),
        ('[{ webhook = "Operations" }]', '[{ fax = "1" }]', "recipients: use { email"),
        ('sip_user = "alice"\ndid', 'sip_user = "bob"\ndid', 'sip_user: there is no sip user "bob"'),
        ('did = "+44 20 7946 0777"', 'did = "+44 20 7946 0778"', "did: there is no DID"),
        ('{ env = "ALICE_PASSWORD" }', '{ env = "NO_PASSWORD" }', "NO_PASSWORD is not set"),
        ('{ file = "ann.txt" }', '{ file = "bob.txt" }', "bob.txt: No such file"),
        ('secret_file = "operations.secret"', 'secret_file = "ann.txt"', "exists already"),
        ('secret_file = "operations.secret"', 'secret_file = "no/such"', "cannot be written"),
        ('rate_card = "Carrier buy"', 'rate_card = "Other buy"', 'there is no rate card "Other buy"'),
    ],
    ids=(
        "unknown",
        "missing",
        "own id",
        "package",
        "webhook",
        "recipient",
        "sip_user",
        "did",
        "env",
        "file",
        "kept",
        "folder",
        "revision",
    ),
)
def test_a_file_that_asks_for_what_cannot_be_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: str, new: str, reason: str
) -> None:
    @with_control
    async def inside(plane: ControlPlane) -> None:
        path = prepare(plane, monkeypatch)
        assert old in WANTED
        with pytest.raises(ApplyError) as caught:
            await applied(plane, path, WANTED.replace(old, new))
        assert reason in str(caught.value)
        assert (await plane.get("/products"))["items"] == []
        assert (await plane.get("/customers"))["items"] == []

    inside(tmp_path)


def test_what_never_changes_is_refused_with_what_to_do_instead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    @with_control
    async def inside(plane: ControlPlane) -> None:
        path = prepare(plane, monkeypatch)
        await applied(plane, path, WANTED)
        for old, new, reason in (
            ("quantity = 4", "quantity = 5", "quantity is 4, not 5; a purchase is cancelled"),
            ("[products.Desk]", '[products.Desk]\ncurrency = "EUR"', "currency is USD, not EUR; it is taken off sale"),
            ('events = []\ncustomer = "Acme"', 'events = []\ncustomer = "Other"', "customer is Acme, not Other"),
        ):
            assert old in WANTED
            with pytest.raises(ApplyError) as caught:
                await applied(plane, path, WANTED.replace(old, new) + "[customers.Other]\n")
            assert reason in str(caught.value)
        assert len((await plane.get("/customers"))["items"]) == 1

    inside(tmp_path)


def test_what_is_paid_for_is_not_bought_again_because_its_first_day_is_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    more = """
[[clients."Harbour House".purchases]]
product = "Desk"
start_date = 2027-03-01
"""

    @with_control
    async def inside(plane: ControlPlane) -> None:
        path = prepare(plane, monkeypatch)
        await applied(plane, path, WANTED)
        moved = WANTED.replace("start_date = 2027-02-01", "start_date = 2027-02-02")
        with pytest.raises(ApplyError) as caught:
            await applied(plane, path, moved)
        assert "one from 2027-02-01 runs, which the file does not have; write that start_date" in str(caught.value)
        assert len((await plane.get("/purchases"))["items"]) == 1
        # One more beside it is no mistake, and neither is one after its end.
        await applied(plane, path, WANTED + more)
        assert len((await plane.get("/purchases"))["items"]) == 2
        for row in (await plane.get("/purchases"))["items"]:
            await plane.post(
                f"/clients/{row['client_id']}/purchases/{row['id']}/cancel",
                {"at": "2027-04-30", "waive_notice": True},
                status=200,
            )
        await applied(plane, path, WANTED.replace("start_date = 2027-02-01", "start_date = 2027-05-01"))
        assert len((await plane.get("/purchases"))["items"]) == 3

    inside(tmp_path)


def test_an_alert_of_the_installation_is_not_that_of_a_customer_with_its_name(tmp_path: Path) -> None:
    rule = 'area = "asr"\noperator = "<"\n'
    text = f'[customers.Acme.alerts.Asr]\n{rule}threshold = "30"\n[alerts.Asr]\n{rule}threshold = "20"\n'

    @with_control
    async def inside(plane: ControlPlane) -> None:
        path = plane.folder / "wanted.toml"
        await applied(plane, path, text)
        assert await planned(plane, path, text) == []
        rows = (await plane.get("/alerts"))["items"]
        assert [(row["customer_id"], row["threshold"]) for row in rows] == [(1, "30"), (None, "20")]

    inside(tmp_path)


def test_the_examples_can_be_applied_one_after_the_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    @with_control
    async def inside(plane: ControlPlane) -> None:
        # A copy, since a secret is written beside it.
        folder = plane.folder / "example"
        await asyncio.to_thread(shutil.copytree, EXAMPLES, folder)
        monkeypatch.setenv("ANN_PASSWORD", "ann's own secret")
        monkeypatch.setenv("HOOK_URL", "https://hooks.example.com/token-4711")
        for name in ("example.toml", "business.toml"):
            assert len((await applied(plane, folder / name))[0]) > 5
        for name in ("example.toml", "business.toml"):
            assert await planned(plane, folder / name) == []

    inside(tmp_path)


@pytest.mark.slow
def test_the_command_shows_what_it_will_do_and_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANN_PASSWORD", "ann's own secret")
    monkeypatch.setenv("HOOK_URL", "https://hooks.example.com/token-4711")
    folder = tmp_path / "example"
    shutil.copytree(EXAMPLES, folder)
    business = str(folder / "business.toml")
    tandem = Installation(tmp_path)
    tandem.start()
    try:
        assert 'there is no provider "Meridian"' in tandem.tandem("apply", business, status=2)
        tandem.tandem("apply", str(folder / "example.toml"))
        dry = tandem.tandem("apply", business, "--dry-run")
        as_json = tandem.tandem("apply", business, "--dry-run", "--json")
        assert "+ contact ann@acme.example of customer Acme Voice" in dry
        assert "password: (from ANN_PASSWORD)" in dry
        assert "url: (from HOOK_URL)" in dry
        assert tandem.api.get("/webhooks")["items"] == []
        done = tandem.tandem("apply", business)
        assert "nothing to do" in tandem.tandem("apply", business)
        kept = (folder / "operations.secret").read_text().strip()
        for shown in (dry, as_json, done, tandem.log.read_text()):
            for secret in ("own secret", "token-4711", kept):
                assert secret not in shown
        assert tandem.api.get("/webhooks")["items"][0]["url"] == "https://hooks.example.com/token-4711"
    finally:
        tandem.kill()
