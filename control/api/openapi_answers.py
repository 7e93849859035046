"""Answers of the OpenAPI document: what each route says when all is well, and each way in which it refuses."""

from __future__ import annotations

from typing import Any, Final

from control.api.problems import MEDIA_TYPE
from control.api.routing import Route

PROBLEMS: Final[dict[int, str]] = {
    400: "Not JSON, a field that is not known or breaks a rule; `errors` names each by its path.",
    401: "No key or token that opens anything.",
    403: "The key's role does not reach that far.",
    404: "There is no such thing, or it is another's.",
    409: "What is stored or running does not allow it; `references` names what stands in the way.",
    412: "`If-Match` names an older version.",
    413: "The body is larger than `x-body-bytes-max`.",
    415: "A body of a kind that is not read.",
    429: "Too many wrong tries; `Retry-After` says when to try again.",
    503: "The store failed, or only the switch could answer and is away; `Retry-After` says when to ask again.",
}
_RETRY: Final = {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds."}}


def responses(route: Route, schema_of: dict[Any, dict[str, Any]], problem: dict[str, Any]) -> dict[str, Any]:
    """By status."""
    found = {str(route.status): _reply(route, schema_of)}
    if route.takes_key:
        found["202"] = {**_reply(route, schema_of), "description": "Done, and not yet in the switch's balance."}
    if route.later is not None:
        found["202"] = {
            "description": "Checked, and to be made at its time.",
            "content": {"application/json": {"schema": schema_of[route.later]}},
            "headers": {"Location": {"schema": {"type": "string"}}},
        }
    content = {MEDIA_TYPE: {"schema": problem}}
    for status in problem_statuses(route):
        refusal: dict[str, Any] = {"description": PROBLEMS[status], "content": content}
        if status in (429, 503):
            refusal["headers"] = _RETRY
        found.setdefault(str(status), refusal)
    return found


def problem_statuses(route: Route) -> list[int]:
    """The ways in which this route can refuse."""
    has_body = route.body is not None or route.patches is not None
    has_path = "{" in route.path
    is_of_portal = route.path.startswith("/portal/")
    found = {
        400: route.role is not None or route.query is not None or has_body or has_path,
        401: route.role is not None or is_of_portal,
        403: route.role not in (None, "customer"),
        404: has_path or route.query is not None or has_body,
        409: route.method != "GET",
        412: route.takes_version or route.method in ("PATCH", "DELETE"),
        413: has_body,
        415: route.body is bytes,
        429: route.is_throttled or (is_of_portal and has_body),
        503: True,
    }
    return [
        status
        for status, is_usual in found.items()
        if (is_usual or status in route.also_refuses) and status != route.status
    ]


def _reply(route: Route, schema_of: dict[Any, dict[str, Any]]) -> dict[str, Any]:
    reply: dict[str, Any] = {"description": "Done."}
    if isinstance(route.reply, str):
        reply["content"] = {route.reply: {"schema": {"type": "string"}}}
    elif route.reply is not None:
        reply["content"] = {"application/json": {"schema": schema_of[route.reply]}}
    if route.status == 201:
        reply["headers"] = {"Location": {"schema": {"type": "string"}, "description": "Where the new thing is."}}
    return reply
