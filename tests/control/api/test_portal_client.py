"""What a client's own people see of it in the portal, and the one thing that they set."""

from __future__ import annotations

from tests.control.api.test_portal_leaks import fill
from tests.fakes.control import ControlPlane, with_control
from tests.fakes.portal import make_contact, session


@with_control
async def test_a_clients_own_people_see_its_card_networks_and_usage(plane: ControlPlane) -> None:
    customer = await fill(plane, "one", 1)
    client_id = (await plane.get(f"/customers/{customer}"))["client_id"]
    async with await session(plane, email="one@example.com") as client:
        card = (await client.get("/client")).json()
        assert (card["name"], card["status"], card["internet_is_on"], card["local_network_is_on"]) == (
            "Client 1",
            "active",
            True,
            True,
        )
        (network,) = (await client.get("/network-info")).json()["items"]
        assert (network["vlan"], network["subnet"], network["router"]) == (1, "10.0.1.0/24", "10.0.1.1")
        usage = (await client.get("/broadband-usage?by=month")).json()["items"]
        assert [(row["period"], row["bytes_up"]) for row in usage] == [("2027-01", 1)]
        await plane.post(f"/clients/{client_id}/suspend", {}, status=200)
        card = (await client.get("/client")).json()
        assert (card["status"], card["internet_is_on"], card["local_network_is_on"]) == ("suspended", False, True)


@with_control
async def test_a_client_sets_its_own_billing_reference(plane: ControlPlane) -> None:
    customer = await fill(plane, "one", 1)
    await plane.post("/clients", {"name": "Other", "billing_ref": "TAKEN"})
    client_id = (await plane.get(f"/customers/{customer}"))["client_id"]
    async with await session(plane, email="one@example.com") as client:
        answer = await client.patch("/client", json={"billing_ref": "OUR-77"})
        assert (answer.status_code, answer.json()["billing_ref"]) == (200, "OUR-77")
        assert (await plane.get(f"/clients/{client_id}"))["billing_ref"] == "OUR-77"
        problem = await client.patch("/client", json={"billing_ref": "taken"})
        assert (problem.status_code, problem.json()["errors"][0]["path"]) == (409, "billing_ref")
        assert not problem.json().get("references"), "whose it is, is nobody's business"
        for body in ({"name": "Other"}, {"status": "active"}, {"billing_ref": "x" * 300}, {"billing_ref": None}):
            assert (await client.patch("/client", json=body)).status_code == 400, body
        # Blank: what it has stays.
        assert (await client.patch("/client", json={"billing_ref": ""})).json()["billing_ref"] == "OUR-77"
    audit = (await plane.get(f"/audit?noun=client&noun_id={client_id}&action=update"))["items"]
    assert (audit[0]["actor_kind"], audit[0]["after"]["billing_ref"]) == ("contact", "OUR-77")


@with_control
async def test_a_client_finds_its_bills_by_month_and_by_its_own_reference(plane: ControlPlane) -> None:
    customer = await fill(plane, "one", 1)
    await fill(plane, "two", 2)
    client_id = (await plane.get(f"/customers/{customer}"))["client_id"]
    async with await session(plane, email="one@example.com") as client:
        (bill,) = (await client.get("/bills")).json()["items"]
        assert (bill["id"], bill["number"], bill["month"], bill["total"]) == (1, 1, "2027-01", "17")
        await client.patch("/client", json={"billing_ref": "OUR-77"})
        for query, found in (
            ("billing_ref=our-77", [1]),
            ("month=2027-01", [1]),
            ("month=2027-02", []),
            ("limit=1", [1]),
        ):
            assert [each["id"] for each in (await client.get(f"/bills?{query}")).json()["items"]] == found, query
        whole = (await client.get("/bills/1")).json()
        assert [(line["name"], line["days"], line["net"]) for line in whole["lines"]] == [("Desk 1", 17, "17")]
        assert whole["account"]["customer_id"] == customer
        assert (await client.get("/bills/1/pdf")).content.startswith(b"%PDF-")
        for path in ("/bills/2", "/bills/2/pdf", "/bills/99", f"/bills/{2**70}"):
            assert (await client.get(path)).status_code == 404, path
        for query in ("client_id=3", f"billing_ref={'x' * 300}", "month=2027-13", "cursor=zz"):
            assert (await client.get(f"/bills?{query}")).status_code == 400, query
    # Another account of the client's sees its bills, and not what the account before it was charged.
    await plane.patch(f"/customers/{customer}", {"client_id": None})
    await make_contact(plane, await plane.make_customer(portal_access=True, client_id=client_id))
    async with await session(plane) as client:
        whole = (await client.get("/bills/1")).json()
        assert (whole["total"], whole["account"]) == ("17", None)


@with_control
async def test_a_customer_that_is_no_clients_account_has_no_card(plane: ControlPlane) -> None:
    await make_contact(plane, await plane.make_customer(portal_access=True))
    async with await session(plane) as client:
        for path in ("/client", "/network-info", "/broadband-usage", "/bills", "/bills/1", "/bills/1/pdf"):
            assert (await client.get(path)).status_code == 404, path
