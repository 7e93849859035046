"""One route of the API: its facts as data, and how a request becomes a call of its handler.

A handler is a function of a `Call`. Who may call it, what its query and body look like and what
it answers stand in the `Route`, from which the OpenAPI document is made too, so that the two agree.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any, Final, Literal

import msgspec
from litestar import Request, Response
from litestar.enums import HttpMethod
from litestar.handlers import HTTPRouteHandler

from control.api.problems import Forbidden, Unauthorized
from control.services import sessions
from control.services.admin_keys import authenticate
from control.services.context import SYSTEM, Context, Role
from control.services.errors import NotFound, invalid
from control.services.fields import ROW_ID_MAX
from control.services.idempotency import Answer
from control.services.problems import convert, decode
from control.services.roles import STANDS_FOR, Permission, may, roles_for

API: Final = "/api/v1"
BODY_BYTES_MAX: Final = 1_048_576


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """A request that was let in, with everything decoded."""

    ctx: Context
    request: Request[Any, Any, Any]
    path: dict[str, Any]
    query: Any
    body: Any
    version: int | None
    """Of `If-Match`."""
    key: str = ""
    """Of `Idempotency-Key`, where the route takes one."""


class Created(msgspec.Struct, frozen=True):
    """An answer of 201 with where the new thing is."""

    value: Any
    location: str


class Later(msgspec.Struct, frozen=True):
    """An answer of 202: it is accepted, and will be done. `location` is where that can be followed."""

    value: Any
    location: str


Handler = Callable[[Call], Awaitable[Any]]


class Route(msgspec.Struct, frozen=True, kw_only=True):
    method: str
    path: str
    """With `{name:type}` for parameters; below `API` unless `is_rooted`."""
    handler: Handler
    summary: str
    role: Role | Literal["customer"] | None
    """The least that a key must have, as `control.services.roles` tells; None: open to all. `customer`: for a
    contact's session, and for no key."""
    query: type[msgspec.Struct] | None = None
    body: Any = None
    """Type of the JSON body; `bytes` where the handler reads the stream itself."""
    file_type: str = "text/csv"
    """What a body of `bytes` is."""
    reply: Any = None
    """Type of the answer; None: 204. A `str` is a media type that is not JSON."""
    status: int = 200
    shown: Any = None
    """The body's type for the document, where `body` is looser."""
    patches: Any = None
    """Type whose fields the body may hold, any of them."""
    without: tuple[str, ...] = ()
    """Fields of the body that the path says already."""
    body_bytes_max: int = BODY_BYTES_MAX
    later: Any = None
    """Type of the answer of 202, where the handler may give a `Later`."""
    sorts: tuple[str, ...] = ()
    """Of a list: what `sort` takes, its own order first."""
    is_rooted: bool = False
    takes_version: bool = False
    """`If-Match` counts, though it is no `PATCH` or `DELETE`."""
    also_refuses: tuple[int, ...] = ()
    """Statuses beside those that every route of its kind can have."""
    is_throttled: bool = False
    """Wrong tries are counted, and too many of them are 429."""
    takes_key: bool = False
    """It moves money: done once for each `Idempotency-Key`; 202 where the switch does not have it yet."""

    @property
    def needs(self) -> Permission | None:
        """What a key must be allowed to do; None where no key is asked for."""
        return None if self.role is None or self.role == "customer" else STANDS_FOR[self.role]

    @property
    def needs_body(self) -> bool:
        """Whether something has to be said: a body whose every field has a default may be left out."""
        if self.patches is not None or self.body in (None, bytes):
            return self.body is not None or self.patches is not None
        is_struct = isinstance(self.body, type) and issubclass(self.body, msgspec.Struct)
        return not is_struct or any(field.required for field in msgspec.structs.fields(self.body))

    @property
    def whole_path(self) -> str:
        return self.path if self.is_rooted else API + self.path


def make_handler(route: Route, ctx: Context) -> HTTPRouteHandler:
    """The route as Litestar serves it."""

    async def endpoint(request: Request[Any, Any, Any]) -> Response[Any]:
        if route.role is None:
            acting = ctx.acting(SYSTEM)
        elif route.role == "customer":
            acting = await _let_contact_in(ctx, request)
        else:
            acting = await _let_in(ctx, request, route.role)
        call = Call(
            ctx=acting,
            request=request,
            path=_read_path(request.path_params),
            query=_read_query(request, route),
            body=await _read_body(request, route),
            version=_read_version(request),
            key=_read_key(request) if route.takes_key else "",
        )
        return _respond(await route.handler(call), route, acting)

    handler: HTTPRouteHandler = HTTPRouteHandler(
        route.whole_path,
        http_method=HttpMethod(route.method),
        # Each response brings its own; the framework insists on one that may have a body.
        status_code=200,
        request_max_body_size=route.body_bytes_max,
        opt={"route": route},
    )(endpoint)
    return handler


async def _let_in(ctx: Context, request: Request[Any, Any, Any], role: Role) -> Context:
    key = bearer_of(request)
    actor = await authenticate(ctx, key) if key else None
    if actor is None or actor.role == "customer":
        raise Unauthorized("A key is needed: Authorization: Bearer <key>.")
    if not may(actor.role, role):
        raise Forbidden(f"This needs a key with role {' or '.join(roles_for(role))}; yours has {actor.role}.")
    return ctx.acting(actor)


async def _let_contact_in(ctx: Context, request: Request[Any, Any, Any]) -> Context:
    token = bearer_of(request)
    actor = await sessions.authenticate(ctx, token, address_of(request)) if token else None
    if actor is None:
        raise Unauthorized("A login is needed: Authorization: Bearer <token>.")
    return ctx.acting(actor)


def _read_path(params: dict[str, Any]) -> dict[str, Any]:
    """What the path names; no row has a number that no column holds."""
    for name, value in params.items():
        if isinstance(value, int) and abs(value) > ROW_ID_MAX:
            raise NotFound(name.removesuffix("_id"), value)
    return dict(params)


def bearer_of(request: Request[Any, Any, Any]) -> str:
    """The key or token of the request; empty where it has none."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def address_of(request: Request[Any, Any, Any]) -> str:
    """Where the request comes from; empty where that is no address (a Unix socket)."""
    return request.client.host if request.client is not None else ""


def _read_query(request: Request[Any, Any, Any], route: Route) -> msgspec.Struct | None:
    values: dict[str, str] = {}
    for name, value in request.query_params.multi_items():
        if route.query is None and route.role is not None:
            # Who asks a `DELETE` for `at` or `dry_run` must not see it done now and for good.
            raise invalid(name, "this takes no parameters")
        if name in values:
            raise invalid(name, "given twice")
        values[name] = value
    return None if route.query is None else convert(values, route.query, is_text=True)


async def _read_body(request: Request[Any, Any, Any], route: Route) -> Any:
    if route.patches is not None:
        sent = decode(await request.body(), dict[str, Any])
        known = (*route.patches.__struct_fields__, "row_version")
        for name in sent:
            if name not in known or name in route.without:
                raise invalid(name, f"Object contains unknown field `{name}`")
        return sent
    if route.body is None or route.body is bytes:
        return None
    written = await request.body()
    return decode(written if written or route.needs_body else b"{}", route.body)


_ENTITY_TAG: Final = re.compile(r'"?([0-9]{1,18})"?')


def _read_version(request: Request[Any, Any, Any]) -> int | None:
    """`If-Match: "3"` as 3. Versions are strong validators here: a row is the same only at the same version."""
    text = request.headers.get("if-match", "").strip()
    if text in ("", "*"):
        return None
    found = _ENTITY_TAG.fullmatch(text)
    if found is None:
        raise invalid("If-Match", 'expected one row_version, as in If-Match: "3"')
    return int(found[1])


_KEY: Final = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]{0,253}[\x21-\x7e])?")


def _read_key(request: Request[Any, Any, Any]) -> str:
    """`Idempotency-Key` as it stands, whether or not it is quoted; empty: none was sent."""
    text = request.headers.get("idempotency-key", "").strip()
    if text and _KEY.fullmatch(text) is None:
        raise invalid("Idempotency-Key", "up to 255 printable characters of ASCII")
    return text


def _respond(value: Any, route: Route, ctx: Context) -> Response[Any]:
    headers: dict[str, str] = {}
    if ctx.is_pending:
        # Stored, and not yet in force: the switch is away and gets it when it is back.
        headers["Tandem-Switch"] = "pending"
    if isinstance(value, Response):
        value.headers.update(headers)
        return value
    if isinstance(value, Answer):
        return _repeatable(value)
    status = route.status
    if isinstance(value, Created | Later):
        headers["Location"] = value.location
        status = 202 if isinstance(value, Later) else status
        value = value.value
    if value is None:
        return Response(None, status_code=status, headers=headers)
    version = getattr(value, "row_version", None)
    if version is not None:
        headers["ETag"] = f'"{version}"'
    # A body with what nobody else should see does not belong in a shared cache.
    headers["Cache-Control"] = "no-store"
    content = msgspec.json.encode(value)
    return Response(content, status_code=status, headers=headers, media_type="application/json")


def _repeatable(answer: Answer) -> Response[Any]:
    """What was kept under a key goes out as it is, whether it was done now or long ago."""
    headers = {"Cache-Control": "no-store"}
    if answer.location:
        headers["Location"] = answer.location
    if answer.is_pending:
        headers["Tandem-Switch"] = "pending"
    return Response(answer.body, status_code=answer.status, headers=headers, media_type="application/json")
