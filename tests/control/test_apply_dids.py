"""DIDs and number blocks by `tandem apply`: made, compared by name, handed over, and left alone the second time."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from control import apply_dids
from tests.fakes.installation import Installation

pytestmark = pytest.mark.slow

WANTED = """
[providers.Carrier]
[rate_cards."Inbound cost"]
direction = "buy"
provider = "Carrier"
[rate_cards.Inbound]
direction = "sell"
[customers.Acme]
[[customers.Acme.internal_number_blocks]]
start = 1000
size = 100
[customers.Acme.sip_users.1001]
password = "secret-1"
[[customers.Acme.endpoints]]
direction = "ingress"
host = "198.51.100.9"
[dids."+44 20 7946 0777"]
name = "Reception"
provider = "Carrier"
provider_card = "Inbound cost"
customer = "Acme"
customer_card = "Inbound"
cost = "1.00"
retail = "0"
destinations = [
    { endpoint = "198.51.100.9" },
    { sip_user = "1001" },
    { uri = "sip:desk@pbx.example.com" },
    { number = "+1 555 123 0001" },
]
[dids.442079460778]
provider = "Carrier"
"""


def test_numbers_are_made_changed_and_handed_over_and_the_second_run_does_nothing(
    tandem: Installation, tmp_path: Path
) -> None:
    wanted = tmp_path / "wanted.toml"
    wanted.write_text(WANTED)
    tandem.tandem("apply", str(wanted))
    assert "nothing to do" in tandem.tandem("apply", str(wanted))
    reception, stock = tandem.api.items("/dids")
    assert (reception["number"], reception["state"], reception["cost"]) == ("442079460777", "assigned", "1")
    assert [each["kind"] for each in reception["destinations"]] == ["endpoint", "sip_user", "uri", "number"]
    assert stock["state"] == "free"
    (block,) = tandem.api.items("/internal-number-blocks")
    assert (block["start"], block["end"]) == (1000, 1099)

    text = WANTED.replace('name = "Reception"', 'name = "Front desk"').replace('{ sip_user = "1001" },', "")
    text += 'customer = "Acme"\ndestinations = [{ sip_user = "1001" }]\n'
    wanted.write_text(text)
    steps = json.loads(tandem.tandem("apply", str(wanted), "--json"))["differences"]
    assert [(step["what"], sorted(step["changes"])) for step in steps] == [
        ("DID +44 20 7946 0777", ["destinations", "name"]),
        ("DID 442079460778", ["customer", "destinations"]),
    ]
    assert "nothing to do" in tandem.tandem("apply", str(wanted))
    reception, stock = tandem.api.items("/dids")
    assert (reception["name"], len(reception["destinations"])) == ("Front desk", 3)
    assert (stock["state"], stock["destinations"][0]["kind"]) == ("assigned", "sip_user")

    wanted.write_text(
        text + '[customers.Other]\n[dids.442079460779]\ncustomer = "Other"\ndestinations = [{fax = "1"}]\n'
    )
    assert "use endpoint, sip_user, uri or number" in tandem.tandem("apply", str(wanted), status=2)
    wanted.write_text('[dids.442079460777]\ncustomer = "Other"\n')
    assert "can be allocated" in tandem.tandem("apply", str(wanted), status=1)
    wanted.write_text('[dids."020 7946"]\n')
    assert "no E.164 number" in tandem.tandem("apply", str(wanted), status=2)


def test_destinations_are_the_same_however_a_number_is_written() -> None:
    assert apply_dids.is_same_place([{"number": "+1 (555) 123-0001"}], [{"number": "15551230001"}])
    assert not apply_dids.is_same_place([{"number": "15551230001"}], [{"uri": "15551230001"}])
    assert not apply_dids.is_same_place("15551230001", [])
