"""What `tandem apply` reads out of its file, and what it says when the file is wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

import config
from control.apply_file import ApplyError, read_file

EXAMPLE = Path(config.__file__).parent / "example" / "example.toml"


def read(folder: Path, text: str) -> list[str]:
    path = folder / "wanted.toml"
    path.write_text(text)
    return [wanted.label for wanted in read_file(path)]


def test_what_is_referred_to_comes_first(tmp_path: Path) -> None:
    labels = read(
        tmp_path,
        """
        [customers.Acme]
        client = "House"
        [[customers.Acme.endpoints]]
        host = "192.0.2.1"
        [customers.Acme.sip_users.alice]
        password = "secret-1"
        [customers.Acme.ingress_routes.all]
        rate_card = "Sell"
        [rate_cards.Sell]
        direction = "sell"
        vendor_cards = ["Buy"]
        [rate_cards.Buy]
        direction = "buy"
        provider = "Vendor"
        [providers.Vendor]
        [[providers.Vendor.gateways]]
        host = "192.0.2.9"
        port = 5060
        [clients.House]
        """,
    )
    assert labels == [
        "client House",
        "provider Vendor",
        "gateway 192.0.2.9 5060 udp of provider Vendor",
        "rate card Buy",
        "rate card Sell",
        "customer Acme",
        "endpoint egress 192.0.2.1 of customer Acme",
        "sip user alice of customer Acme",
        "ingress route all of customer Acme",
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[custommers.Acme]", "custommers: not known here"),
        ("[[customers]]\nname = 'Acme'", 'write [customers."its name"]'),
        ("customers.Acme = 1", 'customers."Acme": a table is wanted'),
        ("[customers.Acme.endpoints]\nhost = '::1'", 'write [[customers."Acme".endpoints]]'),
        ("[[customers.Acme.endpoints]]\ntech_prefix = '1'", 'customers."Acme".endpoints[0]: host is missing'),
        ("[[customers.Acme.payments]]\ntotal = '1'", 'customers."Acme".payments[0]: key is missing'),
        ("[rate_cards.Sell]\ndeck = 'none.csv'", "there is no file"),
        ("[customers", "wanted.toml"),
    ],
)
def test_a_mistake_is_named_with_its_place(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(ApplyError) as caught:
        read(tmp_path, text)
    assert told in str(caught.value)
    assert "wanted.toml" in str(caught.value)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ApplyError, match="No such file"):
        read_file(tmp_path / "none.toml")


def test_the_example_has_a_client_of_each_status_with_a_customer_of_its_own_unless_it_has_left() -> None:
    wanted = read_file(EXAMPLE)
    clients = {each.fields["name"]: each.fields["status"] for each in wanted if each.kind.table == "clients"}
    owners = [each.fields["client"] for each in wanted if each.kind.table == "customers"]
    assert sorted(clients.values()) == ["active", "inactive", "new", "scheduled", "suspended"]
    assert sorted(owners) == sorted(name for name, status in clients.items() if status != "inactive")


def test_the_example_tells_its_customers_apart_by_tech_prefix() -> None:
    prefixes = [each.fields["tech_prefix"] for each in read_file(EXAMPLE) if each.kind.table == "endpoints"]
    assert "1234" in prefixes
    assert len(set(prefixes)) == len(prefixes)


def test_the_example_customer_of_the_first_call_is_prepaid_by_a_payment_with_a_key() -> None:
    wanted = read_file(EXAMPLE)
    (acme,) = [each for each in wanted if each.label == "customer Acme Voice"]
    (paid,) = [each for each in wanted if each.kind.table == "payments"]
    assert acme.fields["debit_limit"] == "0"
    assert paid.parent is acme
    assert (paid.fields["total"], paid.fields["key"]) == ("100", "example-opening")
    assert wanted.index(paid) > wanted.index(acme)
