"""Whose identities are trusted, what vendors are told of them, and headers of one's own, through the API."""

from __future__ import annotations

import pytest

from switch.snapshot import Customer, Gateway, Key, Provider
from tests.fakes.control import ControlPlane, with_control


@with_control
async def test_a_customer_is_trusted_with_identities_only_where_it_is_said(plane: ControlPlane) -> None:
    customer = await plane.make_customer()
    record = plane.publisher.records[Key("customer", customer)]
    assert isinstance(record, Customer)
    assert (record.trust_pai, record.allowed_headers) == (False, ())
    fields = {"trust_pai": True, "allowed_headers": ["X-Account", "x-room"]}
    assert fields.items() <= (await plane.patch(f"/customers/{customer}", fields)).items()
    record = plane.publisher.records[Key("customer", customer)]
    assert isinstance(record, Customer)
    assert (record.trust_pai, record.allowed_headers) == (True, ("X-Account", "x-room"))


@with_control
async def test_a_provider_says_how_it_is_told_who_calls(plane: ControlPlane) -> None:
    provider = await plane.make_provider()
    record = plane.publisher.records[Key("provider", provider)]
    assert isinstance(record, Provider)
    assert (record.send_pai, record.pai_format, record.privacy) == ("pass", "sip", "honour")
    fields = {"send_pai": "always", "pai_format": "tel", "privacy": "pass", "allowed_headers": ["X-Trunk"]}
    assert fields.items() <= (await plane.patch(f"/providers/{provider}", fields)).items()
    record = plane.publisher.records[Key("provider", provider)]
    assert isinstance(record, Provider)
    assert (record.send_pai, record.pai_format, record.privacy) == ("always", "tel", "pass")
    assert record.allowed_headers == ("X-Trunk",)


@pytest.mark.parametrize(
    "header", ["From", "P-Asserted-Identity", "X-", "X-a b", "X-a:", "X-a\r\nVia: x", "x" * 65, "", "X-\x01"]
)
def test_only_names_of_ones_own_headers_can_be_allowed(header: str, tmp_path: object) -> None:
    @with_control
    async def inside(plane: ControlPlane) -> None:
        problem = await plane.post("/customers", {"name": "Acme", "allowed_headers": [header]}, status=400)
        assert problem["errors"][0]["path"] == "allowed_headers[0]"
        problem = await plane.post("/providers", {"name": "One", "allowed_headers": [header]}, status=400)
        assert problem["errors"][0]["path"] == "allowed_headers[0]"

    inside(tmp_path=tmp_path)


@with_control
async def test_a_simulation_is_told_that_the_caller_wants_privacy(plane: ControlPlane) -> None:
    asked = {"dialled": "442071838750", "cli": "1", "is_private": True, "source_ip": "192.0.2.1"}
    await plane.post("/simulate", asked, status=200)
    assert plane.switch.asked[-1]["is_private"] is True


@with_control
async def test_a_gateway_and_a_simulation_name_codecs(plane: ControlPlane) -> None:
    provider = await plane.make_provider()
    fields = {"host": "192.0.2.9", "codecs": ["PCMA", "opus/48000"]}
    made = await plane.post(f"/providers/{provider}/gateways", fields)
    assert made["codecs"] == ["PCMA", "opus/48000"]
    record = plane.publisher.records[Key("gateway", made["id"])]
    assert isinstance(record, Gateway)
    assert record.codecs == ("PCMA", "opus/48000")
    await plane.patch(f"/gateways/{made['id']}", {"codecs": ["a b"]}, status=400)
    asked = {"dialled": "442071838750", "codecs": ["PCMA"], "source_ip": "192.0.2.1"}
    await plane.post("/simulate", asked, status=200)
    assert plane.switch.asked[-1]["codecs"] == ("PCMA",)
