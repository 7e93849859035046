"""The OpenAPI document, made from the routes themselves."""

from __future__ import annotations

import re
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Final

import msgspec

from control.api.openapi_answers import responses
from control.api.openapi_docs import COMMON, describe
from control.api.openapi_parameters import PARAMETER, parameters
from control.api.problems import Problem
from control.api.routing import Route
from control.services.roles import roles_for

_REF: Final = "#/components/schemas/{name}"


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
    describe(components, described)
    schema_of = dict(zip(described, schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        path = PARAMETER.sub(r"{\1}", route.whole_path)
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
    operation: dict[str, Any] = {
        "operationId": _operation_id(route),
        "summary": route.summary,
        "tags": [PARAMETER.sub("", route.path).strip("/").split("/")[0]],
        "parameters": parameters(route, components),
        "responses": responses(route, schema_of, schema_of[Problem]),
    }
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
        operation["requestBody"] = {
            "required": route.needs_body,
            "description": f"Up to {route.body_bytes_max:,} bytes; 413 beyond.",
            "content": body,
        }
        operation["x-body-bytes-max"] = route.body_bytes_max
    return operation


def _operation_id(route: Route) -> str:
    words = re.findall(r"[a-z0-9]+", PARAMETER.sub(r"by-\1", route.path).lower())
    return "_".join([route.method.lower(), *words])


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
            properties["row_version"] = {"type": "integer", "description": COMMON["row_version"]}
        required = [] if route.patches is not None else [f for f in whole.get("required", []) if f not in route.without]
        schema = {"type": "object", "properties": properties, "required": required, "additionalProperties": False}
    return {"application/json": {"schema": schema}}


def _component_name(kind: Any) -> str:
    return str(getattr(kind, "__name__", ""))
