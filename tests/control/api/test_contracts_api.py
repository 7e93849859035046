"""Vendors' contracts through the API: revisions that nobody edits, signed copies, and what is overdue."""

from __future__ import annotations

import hashlib
from typing import Any

from sqlalchemy import select

from control.services.contracts import FILE_BYTES_MAX
from control.store.outbox_tables import outbox
from tests.fakes.billing import at
from tests.fakes.control import ControlPlane, with_control

PDF = b"%PDF-1.7\nsigned\n%%EOF\n"


async def make(plane: ControlPlane, **fields: Any) -> int:
    await plane.make_customer()
    provider = await plane.make_provider()
    body = {"title": "Interconnect", "provider_id": provider, "required_by": "2027-02-01", **fields}
    return int((await plane.post("/customers/1/contracts", body, role="operator"))["id"])


async def upload(plane: ControlPlane, path: str, content: bytes, status: int = 201, **more: Any) -> Any:
    return (await plane.request("POST", path, content=content, status=status, **more)).json()


@with_control
async def test_contracts_of_a_customer_are_listed_with_their_vendor_and_what_is_overdue(
    plane: ControlPlane,
) -> None:
    contract = await make(plane, reference="V-77")
    await plane.post("/contracts", {"customer_id": 1, "title": "NDA"})
    (other, first) = (await plane.get("/customers/1/contracts?sort=-id", role="read-only"))["items"]
    assert (first["id"], first["provider"], first["reference"], first["state"]) == (
        contract,
        "Vendor One",
        "V-77",
        "draft",
    )
    assert (other["provider"], other["is_overdue"]) == (None, False)
    assert first["is_overdue"] is False
    plane.clock.ms = at("2027-02-02T00:00:00+00:00")
    assert (await plane.get(f"/contracts/{contract}"))["is_overdue"] is True
    assert [each["id"] for each in (await plane.get("/contracts?overdue=true"))["items"]] == [contract]
    assert [each["id"] for each in (await plane.get("/contracts?overdue=false"))["items"]] == [other["id"]]
    assert [each["id"] for each in (await plane.get("/contracts?provider_id=1"))["items"]] == [contract]
    assert [each["id"] for each in (await plane.get("/contracts?search=V-7"))["items"]] == [contract]


@with_control
async def test_a_contract_goes_from_draft_to_sent_to_signed_and_its_revisions_stay(plane: ControlPlane) -> None:
    contract = await make(plane)
    path = f"/contracts/{contract}"
    await plane.post(f"{path}/send", None, status=409)
    card = await plane.make_buy_card(1)
    body = {"text": "We buy.\nThey sell.", "starts": "2027-01-01", "ends": "2027-12-31", "rate_card_id": card}
    first = await plane.post(f"{path}/revisions", body)
    assert {name: first[name] for name in body} == body
    assert (first["number"], first["state"], first["signed_copy"]) == (1, "draft", None)
    assert (await plane.post(f"{path}/send", None, status=200))["state"] == "sent"
    assert (await plane.get(path))["state"] == "sent"
    signed = await upload(plane, f"{path}/revisions/1/signed-copy?signed_by=Bob&signed_on=2027-01-14", PDF)
    assert signed["state"] == "signed"
    copy = signed["signed_copy"]
    assert (copy["signed_by"], copy["signed_on"], copy["uploaded_by"]) == ("Bob", "2027-01-14", "test admin")
    assert (copy["size"], copy["sha256"]) == (len(PDF), hashlib.sha256(PDF).hexdigest())
    answer = await plane.request("GET", f"{path}/revisions/1/signed-copy", role="read-only")
    assert (answer.content, answer.headers["content-type"]) == (PDF, "application/pdf")
    assert answer.headers["content-disposition"] == 'attachment; filename="contract-1-1.pdf"'
    # Another text is another revision; the signed one keeps its words and its copy.
    second = await plane.post(f"{path}/revisions", {"text": "We buy more."})
    assert (second["number"], second["state"]) == (2, "draft")
    assert (await plane.get(path))["state"] == "draft"
    kept = (await plane.get(f"{path}/revisions"))["items"]
    assert [(each["number"], each["text"], each["state"]) for each in kept] == [
        (2, "We buy more.", "draft"),
        (1, "We buy.\nThey sell.", "signed"),
    ]
    for method in ("PATCH", "PUT", "DELETE"):
        assert (await plane.request(method, f"{path}/revisions/1", {"text": "x"})).status_code == 405
    await plane.delete(path, status=409)
    async with plane.store.read() as tx:
        events = list((await tx.execute(select(outbox.c.event))).scalars())
    assert events.count("contract.signed") == 1


@with_control
async def test_a_signed_contract_is_never_overdue_and_expires_with_its_last_day(plane: ControlPlane) -> None:
    contract = await make(plane)
    path = f"/contracts/{contract}"
    await plane.post(f"{path}/revisions", {"text": "x", "ends": "2027-02-28"})
    await upload(plane, f"{path}/revisions/1/signed-copy", PDF)
    plane.clock.ms = at("2027-02-28T23:59:59+00:00")
    assert [(await plane.get(path))[name] for name in ("state", "is_overdue", "ends")] == [
        "signed",
        False,
        "2027-02-28",
    ]
    assert len((await plane.get("/contracts?state=signed"))["items"]) == 1
    plane.clock.ms = at("2027-03-01T00:00:00+00:00")
    assert (await plane.get(path))["state"] == "expired"
    assert [len((await plane.get(f"/contracts?state={each}"))["items"]) for each in ("signed", "expired")] == [0, 1]


@with_control
async def test_only_a_pdf_by_its_own_bytes_is_taken_once_and_for_the_last_revision(
    plane: ControlPlane,
) -> None:
    contract = await make(plane)
    path = f"/contracts/{contract}/revisions"
    await plane.post(path, {"text": "x"})
    for content in (b"", b"MZ\x90", b"<html>%PDF-1.7 %%EOF", b"%PDF-1.7 no end"):
        problem = await upload(plane, f"{path}/1/signed-copy", content, status=400)
        assert problem["errors"][0]["path"] == "file", content
    await upload(plane, f"{path}/1/signed-copy", b"%PDF-" + b"x" * (FILE_BYTES_MAX + 70_000), status=413)
    big = b"%PDF-" + b"x" * FILE_BYTES_MAX + b"%%EOF"
    await upload(plane, f"{path}/1/signed-copy", big, status=400)
    await plane.post(path, {"text": "y"})
    await upload(plane, f"{path}/1/signed-copy", PDF, status=409)
    await upload(plane, f"{path}/3/signed-copy", PDF, status=404)
    await plane.get(f"{path}/2/signed-copy", status=404)
    files = {"file": ('a"b\r\n.pdf', PDF, "text/html")}
    made = (await plane.request("POST", f"{path}/2/signed-copy", files=files, status=201)).json()
    await upload(plane, f"{path}/2/signed-copy", PDF, status=409)
    answer = await plane.request("GET", f"{path}/2/signed-copy")
    assert answer.headers["content-type"] == "application/pdf"
    assert '"' not in answer.headers["content-disposition"].removeprefix('attachment; filename="').removesuffix('"')
    assert made["signed_copy"]["size"] == len(PDF)


@with_control
async def test_mistakes_in_a_contract_are_named(plane: ControlPlane) -> None:
    contract = await make(plane)
    sell = await plane.make_sell_card()
    wrong: list[tuple[dict[str, Any], int]] = [
        ({"customer_id": 9, "title": "x"}, 400),
        ({"customer_id": 1, "title": "x", "provider_id": 9}, 400),
        ({"customer_id": 1}, 400),
        ({"customer_id": 1, "title": "x", "required_by": "1960-01-01"}, 400),
        ({"customer_id": 1, "title": "x", "state": "signed"}, 400),
    ]
    for body, status in wrong:
        await plane.post("/contracts", body, status=status)
    path = f"/contracts/{contract}/revisions"
    wrong = [
        ({"text": ""}, 400),
        ({"text": "x", "starts": "2027-02-01", "ends": "2027-01-01"}, 400),
        ({"text": "x", "rate_card_id": 99}, 400),
        ({"text": "x", "rate_card_id": sell}, 409),
    ]
    for body, status in wrong:
        await plane.post(path, body, status=status)
    await plane.post(path, {"text": "x"}, status=403, role="billing")
    await plane.delete(f"/contracts/{contract}")
