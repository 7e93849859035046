"""Parameters of the OpenAPI document: of the path, of the query with its filters and sorts, of headers."""

from __future__ import annotations

import re
from typing import Any, Final

from control.api.openapi_docs import COMMON
from control.api.routing import Route

PARAMETER: Final = re.compile(r"\{(\w+):(\w+)\}")
_PATH_TYPES: Final[dict[str, dict[str, Any]]] = {
    "int": {"type": "integer", "minimum": 1},
    "str": {"type": "string"},
}

_SAID: Final = re.compile(r"`sort` takes ([\w, ]+)")

_IF_MATCH: Final = {
    "name": "If-Match",
    "in": "header",
    "schema": {"type": "string", "examples": ['"3"']},
    "description": "The `ETag` (`row_version`) that was read: 412 where the row is at another by now.",
}
_KEY: Final = {
    "name": "Idempotency-Key",
    "in": "header",
    "schema": {"type": "string", "maxLength": 255},
    "description": "Asked again under it, the same is answered and nothing is done; 409 for another body.",
}


def parameters(route: Route, components: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": _PATH_TYPES[kind]}
        for name, kind in PARAMETER.findall(route.path)
    ]
    if route.takes_version or route.method in ("PATCH", "DELETE"):
        found.append(_IF_MATCH)
    if route.takes_key:
        found.append(_KEY)
    if route.query is not None:
        schema = components[route.query.__name__]
        required = schema.get("required", ())
        for name, field in schema["properties"].items():
            found.append(_of_query(route, name, field, is_required=name in required))
    return found


def orders_of(route: Route) -> tuple[str, ...]:
    """What `sort` takes, or what the summary says that it takes."""
    said = _SAID.search(route.summary)
    return route.sorts or (() if said is None else tuple(re.findall(r"\w+", said[1])))


def sort_values(sorts: tuple[str, ...]) -> list[str]:
    """Each field, and each the other way round."""
    return [value for name in sorts for value in (name, f"-{name}")]


def _of_query(route: Route, name: str, field: dict[str, Any], *, is_required: bool) -> dict[str, Any]:
    description = field.get("description") or COMMON.get(name, "")
    if not description and route.sorts:
        description = f"Rows whose `{name}` is this."
    schema = {key: value for key, value in field.items() if key != "description"}
    orders = orders_of(route)
    if name == "sort" and orders:
        schema = {"type": "string", "enum": sort_values(orders)}
        description = "The order: a field, with `-` before it for descending."
    parameter: dict[str, Any] = {"name": name, "in": "query", "schema": schema}
    if description:
        parameter["description"] = description
    if is_required:
        parameter["required"] = True
    return parameter
