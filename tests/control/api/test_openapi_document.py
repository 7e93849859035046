"""The OpenAPI document says what the routes do."""

from __future__ import annotations

import re
from typing import Any

from control.api.openapi import openapi_document
from control.api.openapi_parameters import orders_of, sort_values
from control.api.routes import ROUTES
from control.api.routing import Route
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


def test_a_body_of_which_nothing_is_needed_is_not_required() -> None:
    paths = openapi_document(ROUTES)["paths"]
    for path, is_required in (
        ("/invoices/{invoice_id}/issue", False),
        ("/dids/{row_id}/release", False),
        ("/customers", True),
        ("/customers/{customer_id}/endpoints", True),
        ("/customers.csv", True),
    ):
        assert paths[f"/api/v1{path}"]["post"]["requestBody"]["required"] is is_required, path


def test_query_parameters_are_described() -> None:
    parameters = openapi_document(ROUTES)["paths"]["/api/v1/cdrs"]["get"]["parameters"]
    assert {"from", "to", "customer_id", "number", "limit", "cursor"} <= {each["name"] for each in parameters}


def has_sort(route: Route) -> bool:
    return route.query is not None and "sort" in route.query.__struct_fields__


def operations() -> list[tuple[Route, dict[str, Any]]]:
    paths = openapi_document(ROUTES)["paths"]
    found = []
    for route in ROUTES:
        path = re.sub(r":(int|str)\}", "}", route.whole_path)
        found.append((route, paths[path][route.method.lower()]))
    return found


def test_every_filter_says_what_it_does() -> None:
    """By the words below its field in the struct, a `Meta`, or `openapi_docs.COMMON`."""
    for route, operation in operations():
        for parameter in operation["parameters"]:
            if parameter["in"] != "path":
                assert parameter.get("description"), (route.path, parameter["name"])


def test_every_list_names_its_orders() -> None:
    for route, operation in operations():
        for parameter in operation["parameters"]:
            if parameter["name"] == "sort":
                wanted = [f"{sign}{name}" for name in orders_of(route) for sign in ("", "-")]
                assert parameter["schema"].get("enum", []) == wanted, route.path
                assert wanted or not route.handler.__qualname__.startswith("_routes"), route.path


@with_control
async def test_lists_take_the_orders_that_they_name_and_no_other(plane: ControlPlane) -> None:
    lists = [route for route in ROUTES if has_sort(route) and "{" not in route.path]
    assert len(lists) > 20
    for route in lists:
        for value in sort_values(orders_of(route)):
            await plane.get(route.path, params={"sort": value})
        refused = await plane.get(route.path, params={"sort": "weather"}, status=400)
        assert refused["errors"][0]["path"] == "sort", route.path


def test_each_way_to_refuse_is_documented_as_a_problem() -> None:
    for route, operation in operations():
        answers = operation["responses"]
        for status, answer in answers.items():
            if int(status) >= 400:
                assert list(answer["content"]) == ["application/problem+json"], (route.path, status)
        assert ("401" in answers) == (route.role is not None or route.path.startswith("/portal/")), route.path
        assert "404" in answers or "{" not in route.path, route.path
        if route.method in ("PATCH", "DELETE"):
            assert {"400", "409", "412"} <= set(answers), route.path
        if route.body is not None or route.patches is not None:
            assert {"400", "413"} <= set(answers), route.path
            assert operation["x-body-bytes-max"] == route.body_bytes_max
        assert "503" in answers
    login = openapi_document(ROUTES)["paths"]["/api/v1/portal/login"]["post"]["responses"]
    assert "429" in login


def test_headers_that_a_change_takes_are_documented() -> None:
    for route, operation in operations():
        headers = {parameter["name"] for parameter in operation["parameters"] if parameter["in"] == "header"}
        assert ("If-Match" in headers) == (route.takes_version or route.method in ("PATCH", "DELETE")), route.path
        assert ("Idempotency-Key" in headers) == route.takes_key, route.path


def test_words_below_a_field_reach_the_document() -> None:
    schemas = openapi_document(ROUTES)["components"]["schemas"]
    described = schemas["CustomerNew"]["properties"]["penalty_until"]
    assert described["description"] == "With status `penalty`, and only then: when it ends by itself."


@with_control
async def test_a_body_above_the_documented_limit_is_413(plane: ControlPlane) -> None:
    hooks = [operation for route, operation in operations() if route.path == "/webhooks" and route.body is not None]
    limit = hooks[0]["x-body-bytes-max"]
    padding = " " * limit
    answer = await plane.request("POST", "/webhooks", content=padding.encode() + b"{}", status=413)
    assert answer.headers["content-type"] == "application/problem+json"


def test_every_route_that_heeds_if_match_says_so() -> None:
    paths = openapi_document(ROUTES)["paths"]
    for path in ("/dids/{row_id}/release", "/clients/{client_id}/suspend", "/invoices/{invoice_id}/issue"):
        operation = paths[f"/api/v1{path}"]["post"]
        assert "If-Match" in {each["name"] for each in operation["parameters"]}, path
        assert "412" in operation["responses"], path
