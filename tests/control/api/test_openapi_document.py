"""The OpenAPI document says what the routes do."""

from __future__ import annotations

import re
from typing import Any

from control.api.openapi import openapi_document
from control.api.routes import ROUTES
from tests.fakes.control import ControlPlane, with_control


def references(value: Any) -> set[str]:
    if isinstance(value, dict):
        own = {value["$ref"]} if isinstance(value.get("$ref"), str) else set()
        return own.union(*map(references, value.values()))
    if isinstance(value, list):
        return set().union(*map(references, value))
    return set()


@with_control
async def test_every_route_is_in_the_document_with_its_role_and_answer(plane: ControlPlane) -> None:
    document = (await plane.client.get("/api/v1/openapi.json")).json()
    for route in ROUTES:
        operation = document["paths"][re.sub(r":(int|str)\}", "}", route.whole_path)][route.method.lower()]
        assert str(route.status) in operation["responses"]
        assert "default" not in operation["responses"], "each refusal is named"
        assert ("401" in operation["responses"]) or route.role is None
        assert (operation.get("security") == []) == (route.role is None)
        assert operation.get("x-permission") == route.needs
        assert ("requestBody" in operation) == (route.body is not None or route.patches is not None)


def test_every_reference_leads_somewhere_and_every_operation_has_its_own_name() -> None:
    document = openapi_document(ROUTES)
    for reference in references(document):
        name = reference.removeprefix("#/components/schemas/")
        assert name in document["components"]["schemas"], reference
    names = [operation["operationId"] for path in document["paths"].values() for operation in path.values()]
    assert len(names) == len(set(names))


def test_a_patch_asks_for_no_field_and_a_nested_post_not_for_what_its_path_says() -> None:
    paths = openapi_document(ROUTES)["paths"]
    patch = paths["/api/v1/customers/{row_id}"]["patch"]["requestBody"]["content"]["application/json"]["schema"]
    assert patch["required"] == []
    assert {"name", "timers", "row_version"} <= set(patch["properties"])
    nested = paths["/api/v1/customers/{customer_id}/endpoints"]["post"]["requestBody"]
    schema = nested["content"]["application/json"]["schema"]
    assert "customer_id" not in schema["properties"]
    assert schema["required"] == ["direction", "host"]


def test_query_parameters_are_described() -> None:
    parameters = openapi_document(ROUTES)["paths"]["/api/v1/cdrs"]["get"]["parameters"]
    assert {"from", "to", "customer_id", "number", "limit", "cursor"} <= {each["name"] for each in parameters}
