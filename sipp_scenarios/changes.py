"""How the cases' records differ from `Place.records`: one function a difference."""

from __future__ import annotations

import hashlib

from msgspec.structs import replace

from sipp_scenarios.places import Place, with_changes
from switch.snapshot import (
    Client,
    CliRule,
    Customer,
    Endpoint,
    Gateway,
    IngressRoute,
    Provider,
    Record,
    Revision,
    SipUser,
)

PASSWORD = "correct horse"
REALM = "tandem"


def vendor_wants_plus(place: Place, records: list[Record]) -> list[Record]:
    return with_changes(records, Provider, tech_prefix="77", number_format="plus")


def two_seconds_at_most(place: Place, records: list[Record]) -> list[Record]:
    return with_changes(records, IngressRoute, max_duration_s=2)


def bought_too_dear(place: Place, records: list[Record]) -> list[Record]:
    """The vendor asks more than any row sells for."""
    records = with_changes(records, IngressRoute, profit_mode="rate")
    card = place.buy_card(0)
    dear = replace(card, revisions=(Revision(id=card.id, path="dear"),))
    return [dear if record == card else record for record in records]


def inactive_customer(place: Place, records: list[Record]) -> list[Record]:
    return with_changes(records, Customer, status="inactive")


def suspended_client(place: Place, records: list[Record]) -> list[Record]:
    client = Client(id=place.base, name=f"Client {place.number}", status="suspended")
    return [client, *with_changes(records, Customer, client_id=client.id)]


def first_vendor_may_take_800_ms(place: Place, records: list[Record]) -> list[Record]:
    """For the first 18x, and again for the answer."""
    first = place.provider(0)
    return [replace(first, pdd_ms=800, ring_ms=800) if record == first else record for record in records]


def vendor_also_takes_tcp(place: Place, records: list[Record]) -> list[Record]:
    return with_changes(records, Gateway, transport="udp", also_tcp=True)


def user_name(place: Place) -> str:
    return f"user{place.number}"


def with_sip_user(place: Place, records: list[Record]) -> list[Record]:
    """The customer calls by digest and has no address."""
    name = user_name(place)
    secret = f"{name}:{REALM}:{PASSWORD}".encode()
    user = SipUser(
        id=place.base,
        customer_id=place.base,
        username=name,
        realm=REALM,
        ha1_md5=hashlib.md5(secret).hexdigest(),
        ha1_sha256=hashlib.sha256(secret).hexdigest(),
        ha1_sha512_256=hashlib.new("sha512_256", secret).hexdigest(),
    )
    return [user, *(record for record in records if not isinstance(record, Endpoint))]


def tech_prefix_1234(place: Place, records: list[Record]) -> list[Record]:
    return with_changes(records, Endpoint, tech_prefix="1234")


def second_customer_on_5678(place: Place, records: list[Record]) -> list[Record]:
    second = place.base + 500
    return [
        *tech_prefix_1234(place, records),
        replace(place.customer, id=second, name=f"Customer {place.number} b", tax_ppm=0),
        replace(place.endpoint, id=second, customer_id=second, tech_prefix="5678"),
        replace(place.route, id=second, customer_id=second),
    ]


def three_channels(place: Place, records: list[Record]) -> list[Record]:
    return with_changes(records, Endpoint, channels=3)


def four_calls_a_second(place: Place, records: list[Record]) -> list[Record]:
    return with_changes(records, Customer, flow_speed_cps=4.0)


def numbers_rewritten(place: Place, records: list[Record]) -> list[Record]:
    """National numbers become international ones, each vendor is told of them as `tel:`, and PCMA alone is talked."""
    rule = CliRule(
        id=place.base, customer_id=place.base, match=r"^1555(\d+)$", action="rewrite", to=r"4420\1", position=1
    )
    records = with_changes(records, Endpoint, codecs=("PCMA",))
    records = with_changes(records, Customer, allowed_headers=("X-Account",))
    return [rule, *with_changes(records, Provider, send_pai="always", pai_format="tel")]


def british_numbers_only(place: Place, records: list[Record]) -> list[Record]:
    return [CliRule(id=place.base, customer_id=place.base, match="44", action="allow"), *records]


def pcma_only(place: Place, records: list[Record]) -> list[Record]:
    return with_changes(records, Endpoint, codecs=("PCMA",))


def gsm_only(place: Place, records: list[Record]) -> list[Record]:
    return with_changes(records, Endpoint, codecs=("GSM",))


def room_for_three_calls(place: Place, records: list[Record]) -> list[Record]:
    return with_changes(records, Endpoint, bandwidth_kbps=240)


def gateway_transports(records: list[Record], transports: list[str], tls_port: int) -> list[Record]:
    """Gateways with the transports of the case's vendors, in their order."""
    gateways = [record for record in records if isinstance(record, Gateway)]
    changed = {
        gateway.id: replace(gateway, transport=transport, port=tls_port if transport == "tls" else gateway.port)
        for gateway, transport in zip(gateways, transports, strict=True)
    }
    return [changed.get(record.id, record) if isinstance(record, Gateway) else record for record in records]
