"""Telephone services: extension, number, SIP user, and permissions that reach the switch."""

from __future__ import annotations

from typing import Any, NamedTuple

from switch.policy.permissions import Permissions
from switch.snapshot import Key, SipUser
from tests.fakes.control import ControlPlane, with_control
from tests.fakes.dids import NUMBER, make_did, make_parties, published, step, whole


class Tenant(NamedTuple):
    client: int
    customer: int
    user: int
    did: dict[str, Any]


async def make_tenant(plane: ControlPlane, name: str = "Tenant", number: str = NUMBER, **fields: Any) -> Tenant:
    client = await plane.post("/clients", {"name": name, "status": "active", "country_code": "44", **fields})
    parties = await make_parties(plane, name, client_id=client["id"])
    did = await make_did(plane, **whole(parties, number=number))
    return Tenant(client["id"], parties.customer, parties.user, did)


async def make(plane: ControlPlane, tenant: Tenant, *, status: int = 201, **fields: Any) -> dict[str, Any]:
    body = {"extension": "201", "sip_user_id": tenant.user, **fields}
    return dict(await plane.post(f"/clients/{tenant.client}/telephone-services", body, status=status))


def may_call(plane: ControlPlane, tenant: Tenant) -> set[str]:
    """Which of some numbers the SIP user may call, by the record that the switch has."""
    record = plane.publisher.records[Key("sip_user", tenant.user)]
    assert isinstance(record, SipUser)
    permissions = Permissions(record.call_permissions)
    numbers = {"national": "442079460000", "premium": "449001234567", "international": "15551230001", "own": NUMBER}
    return {name for name, number in numbers.items() if permissions.allow(number)}


ALL = {"national", "premium", "international", "own"}


@with_control
async def test_a_service_ties_extension_number_and_sip_user_of_the_clients_account(plane: ControlPlane) -> None:
    tenant = await make_tenant(plane)
    other = await make_tenant(plane, "Other", "442071838751")
    made = await make(plane, tenant, did_id=tenant.did["id"], name="Reception")
    assert (made["extension"], made["number"], made["sip_username"]) == ("201", NUMBER, "phone-Tenant")
    for fields, path, status in (
        ({"extension": "201"}, "extension", 409),
        ({"extension": "2a"}, "extension", 400),
        ({"extension": "202", "sip_user_id": other.user}, "sip_user_id", 400),
        ({"extension": "202", "sip_user_id": None, "did_id": other.did["id"]}, "did_id", 400),
        ({"extension": "202", "sip_user_id": 999}, "sip_user_id", 400),
        ({"extension": "202"}, "sip_user_id", 409),
        ({"extension": "202", "sip_user_id": None, "did_id": tenant.did["id"]}, "did_id", 409),
        ({"extension": "202", "sip_user_id": None, "permissions": ["local"]}, "permissions[0]", 400),
    ):
        problem = await make(plane, tenant, status=status, **fields)
        assert problem["errors"][0]["path"] == path, fields
    # Extensions are each client's own.
    await make(plane, other)
    problem = (await plane.delete(f"/sip-users/{tenant.user}", status=409)).json()
    assert problem["references"][0]["noun"] == "telephone_service"
    problem = await plane.patch(f"/customers/{tenant.customer}", {"client_id": None}, status=409)
    assert problem["errors"][0]["path"] == "client_id"


@with_control
async def test_permissions_act_in_the_switch_by_class_and_by_prefix(plane: ControlPlane) -> None:
    tenant = await make_tenant(plane, premium_prefixes=["449"])
    made = await make(plane, tenant, did_id=tenant.did["id"])
    path = f"/telephone-services/{made['id']}"
    assert may_call(plane, tenant) == ALL - {"premium"}
    for fields, expected in (
        ({"permissions": ["national"]}, {"national"}),
        ({"permissions": ["internal"]}, {"own"}),
        ({"permissions": ["international"]}, {"international"}),
        ({"permissions": []}, set()),
        ({"allowed_prefixes": ["1555"]}, {"international"}),
        ({"permissions": ["internal", "national", "international", "premium"], "allowed_prefixes": []}, ALL),
        ({"barred_prefixes": ["4420794"]}, ALL - {"national"}),
        ({"enabled": False}, set()),
        ({"enabled": True, "barred_prefixes": []}, ALL),
    ):
        await plane.patch(path, fields)
        assert may_call(plane, tenant) == expected, fields
    # The client's own classes are applied to its services, too.
    await plane.patch(path, {"permissions": ["national", "internal"]})
    await plane.patch(f"/clients/{tenant.client}", {"premium_prefixes": ["4420"], "country_code": "1"})
    assert may_call(plane, tenant) == {"international", "own"}
    await plane.delete(path)
    assert may_call(plane, tenant) == ALL
    audit = (await plane.get(f"/audit?noun=sip_user&noun_id={tenant.user}&action=permit"))["items"]
    assert len(audit) > 5


@with_control
async def test_classes_that_differ_need_the_country(plane: ControlPlane) -> None:
    tenant = await make_tenant(plane, country_code="")
    problem = await make(plane, tenant, status=400, permissions=["national"])
    assert problem["errors"][0]["path"] == "permissions"
    await make(plane, tenant, permissions=["national", "international"])


@with_control
async def test_a_sip_user_taken_from_a_service_is_as_free_as_before(plane: ControlPlane) -> None:
    tenant = await make_tenant(plane)
    made = await make(plane, tenant, permissions=[])
    assert may_call(plane, tenant) == set()
    await plane.patch(f"/telephone-services/{made['id']}", {"sip_user_id": None})
    assert may_call(plane, tenant) == ALL


@with_control
async def test_a_number_that_goes_leaves_its_service_without_one(plane: ControlPlane) -> None:
    tenant = await make_tenant(plane)
    made = await make(plane, tenant, did_id=tenant.did["id"], permissions=["internal"])
    assert may_call(plane, tenant) == {"own"}
    await step(plane, tenant.did, "release")
    assert (await plane.get(f"/telephone-services/{made['id']}"))["number"] is None
    assert may_call(plane, tenant) == set()


@with_control
async def test_a_decommission_sends_numbers_to_cooling_off_and_ends_what_the_client_had(plane: ControlPlane) -> None:
    tenant = await make_tenant(plane)
    made = await make(plane, tenant, did_id=tenant.did["id"])
    site = (await plane.post("/sites", {"name": "North House"}))["id"]
    network = {"site_id": site, "vlan": 100, "subnet": "10.0.0.0/24", "gateway": "10.0.0.1"}
    await plane.post(f"/clients/{tenant.client}/network-info", network)
    assert published(plane, tenant.did) is not None
    await plane.post(f"/clients/{tenant.client}/decommission", {}, status=200)
    did = await plane.get(f"/dids/{tenant.did['id']}")
    assert (did["state"], did["customer_id"]) == ("cooling_off", None)
    assert published(plane, tenant.did) is None
    ended = await plane.get(f"/telephone-services/{made['id']}")
    assert (ended["enabled"], ended["number"]) == (False, None)
    assert may_call(plane, tenant) == set()
    other = await plane.post("/clients", {"name": "Next", "status": "active"})
    await plane.post(f"/clients/{other['id']}/network-info", network)


@with_control
async def test_a_client_that_has_left_gets_no_numbers_services_or_accounts_again(plane: ControlPlane) -> None:
    """A number that it was given now would never cool off, and nobody would be charged for it."""
    tenant, stock = await make_tenant(plane), await make_did(plane, number="442071838751")
    service = await make(plane, tenant)
    await plane.post(f"/clients/{tenant.client}/decommission", {}, status=200)
    for action in ("allocate", "assign"):
        body = {"customer_id": tenant.customer}
        if action == "assign":
            body["destinations"] = [{"kind": "sip_user", "id": tenant.user}]  # type: ignore[assignment]
        problem = await plane.post(f"/dids/{stock['id']}/{action}", body, status=400)
        assert [each["path"] for each in problem["errors"]] == ["customer_id"]
    fields = {"number": "442071838752", "customer_id": tenant.customer}
    assert (await plane.post("/dids", fields, status=400))["errors"][0]["path"] == "customer_id"
    problem = await plane.patch(f"/telephone-services/{service['id']}", {"enabled": True}, status=409)
    assert problem["errors"][0]["path"] == "enabled"
    await plane.patch(f"/telephone-services/{service['id']}", {"notes": "Left in January"})
    gone = await plane.post("/clients", {"name": "Gone", "status": "inactive"})
    problem = await plane.post("/customers", {"name": "Late", "client_id": gone["id"]}, status=409)
    assert problem["errors"][0]["path"] == "client_id"


@with_control
async def test_a_country_code_is_kept_while_permissions_need_it(plane: ControlPlane) -> None:
    tenant = await make_tenant(plane)
    service = await make(plane, tenant, permissions=["national"])
    problem = await plane.patch(f"/clients/{tenant.client}", {"country_code": ""}, status=409)
    assert problem["errors"][0]["path"] == "country_code"
    assert problem["references"] == [{"noun": "telephone_service", "id": str(service["id"]), "name": "201"}]
    assert may_call(plane, tenant) == {"national", "premium", "own"}
    await plane.patch(f"/telephone-services/{service['id']}", {"permissions": ["national", "international"]})
    await plane.patch(f"/clients/{tenant.client}", {"country_code": ""})
