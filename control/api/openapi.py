"""The OpenAPI document, made from the routes themselves."""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

import msgspec

from control.api.problems import MEDIA_TYPE, Problem
from control.api.routing import Route
from control.services.roles import roles_for

_REF: Final = "#/components/schemas/{name}"
_PARAMETER: Final = re.compile(r"\{(\w+):(\w+)\}")
_PATH_TYPES: Final[dict[str, dict[str, Any]]] = {
    "int": {"type": "integer", "minimum": 1},
    "str": {"type": "string"},
}


def release() -> str:
    """The version of the installed package; a checkout that nobody installed has none."""
    try:
        return version("tandem")
    except PackageNotFoundError:
        return "0"


def openapi_document(routes: Sequence[Route]) -> dict[str, Any]:
    """OpenAPI 3.1 of these routes."""
    types: list[Any] = [Problem]
    for route in routes:
        kinds = (route.query, route.shown or route.body, route.reply, route.patches, route.later)
        types += [kind for kind in kinds if _is_described(kind)]
    described = list(dict.fromkeys(types))
    schemas, components = msgspec.json.schema_components(described, ref_template=_REF)
    schema_of = dict(zip(described, schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        path = _PARAMETER.sub(r"{\1}", route.whole_path)
        paths.setdefault(path, {})[route.method.lower()] = _operation(route, schema_of, components)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Tandem",
            "version": release(),
            "description": "Money is decimal strings, times are RFC 3339 in UTC, unknown fields are refused. "
            "An answer with the header `Tandem-Switch: pending` is stored and reaches calls when the switch is back.",
        },
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "key": {"type": "http", "scheme": "bearer"},
                "session": {"type": "http", "scheme": "bearer", "description": "Of `POST /portal/login`."},
            },
        },
        "security": [{"key": []}],
    }


def _is_described(kind: Any) -> bool:
    return kind is not None and kind is not bytes and not isinstance(kind, str)


def _operation(route: Route, schema_of: dict[Any, dict[str, Any]], components: dict[str, Any]) -> dict[str, Any]:
    problem = {"description": "Refused.", "content": {MEDIA_TYPE: {"schema": schema_of[Problem]}}}
    operation: dict[str, Any] = {
        "operationId": _operation_id(route),
        "summary": route.summary,
        "tags": [_PARAMETER.sub("", route.path).strip("/").split("/")[0]],
        "parameters": _parameters(route, components),
        "responses": {str(route.status): _reply(route, schema_of)},
    }
    if route.takes_key:
        pending = {**_reply(route, schema_of), "description": "Done, and not yet in the switch's balance."}
        operation["responses"]["202"] = pending
    operation["responses"].update((str(status), {**problem, "description": told}) for status, told in refusals(route))
    if route.role is None:
        operation["security"] = []
    elif route.role == "customer":
        operation["security"] = [{"session": []}]
        operation["description"] = "Needs the token of a contact's login."
    else:
        operation["description"] = f"Needs a key with role {' or '.join(roles_for(route.role))}."
        operation["x-permission"] = route.needs
    body = _body(route, schema_of, components)
    if body is not None:
        operation["requestBody"] = {"required": True, "content": body}
    return operation


def refusals(route: Route) -> list[tuple[int, str]]:
    """The statuses that a route refuses with, and why."""
    is_change = route.method != "GET"
    has_body = route.body is not None or route.patches is not None
    told = [
        (400, "Not understood: `errors` names what.", route.query is not None or has_body or "{" in route.path),
        (401, "No key or login that opens anything.", route.role is not None or route.path.startswith("/portal/")),
        (403, "The key's role does not reach.", route.role not in (None, "customer")),
        (404, "No such thing.", route.query is not None or "{" in route.path or has_body),
        (409, "What is stored or running does not allow it.", is_change),
        (412, "`If-Match` names an older version.", route.takes_version or route.method in ("PATCH", "DELETE")),
        (413, "Too large.", has_body),
        (415, "A body of another kind.", route.body is bytes),
        (429, "Too many wrong tries.", route.is_throttled or (route.path.startswith("/portal/") and has_body)),
        (503, "The store, or the switch that only could answer, is away.", True),
    ]
    return [(status, text) for status, text, is_possible in told if is_possible and status != route.status]


def _operation_id(route: Route) -> str:
    words = re.findall(r"[a-z0-9]+", _PARAMETER.sub(r"by-\1", route.path).lower())
    return "_".join([route.method.lower(), *words])


def _parameters(route: Route, components: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = [
        {"name": name, "in": "path", "required": True, "schema": _PATH_TYPES[kind]}
        for name, kind in _PARAMETER.findall(route.path)
    ]
    if route.method in ("PATCH", "DELETE"):
        found.append({"name": "If-Match", "in": "header", "schema": {"type": "string"}})
    if route.takes_key:
        found.append(
            {
                "name": "Idempotency-Key",
                "in": "header",
                "schema": {"type": "string", "maxLength": 255},
                "description": "Asked again under it, the same is answered and nothing is done; 409 for another body.",
            }
        )
    if route.query is not None:
        schema = components[_component_name(route.query)]
        for name, field in schema["properties"].items():
            parameter: dict[str, Any] = {"name": name, "in": "query", "schema": field}
            if "description" in field:
                parameter["description"] = field["description"]
            found.append(parameter)
    return found


def _body(route: Route, schema_of: dict[Any, dict[str, Any]], components: dict[str, Any]) -> dict[str, Any] | None:
    if route.body is bytes:
        file = {"schema": {"type": "string", "format": "binary"}}
        return {
            route.file_type: file,
            "multipart/form-data": {"schema": {"type": "object", "properties": {"file": {}}}},
        }
    kind = route.patches or route.shown or route.body
    if kind is None:
        return None
    schema = schema_of[kind]
    name = _component_name(kind)
    if name in components and (route.patches is not None or route.without):
        whole = components[name]
        properties = {field: value for field, value in whole["properties"].items() if field not in route.without}
        if route.patches is not None:
            properties["row_version"] = {"type": "integer"}
        required = [] if route.patches is not None else [f for f in whole.get("required", []) if f not in route.without]
        schema = {"type": "object", "properties": properties, "required": required, "additionalProperties": False}
    return {"application/json": {"schema": schema}}


def _reply(route: Route, schema_of: dict[Any, dict[str, Any]]) -> dict[str, Any]:
    reply: dict[str, Any] = {"description": "Done."}
    if isinstance(route.reply, str):
        reply["content"] = {route.reply: {"schema": {"type": "string"}}}
    elif route.reply is not None:
        reply["content"] = {"application/json": {"schema": schema_of[route.reply]}}
    return reply


def _component_name(kind: Any) -> str:
    return str(getattr(kind, "__name__", ""))
