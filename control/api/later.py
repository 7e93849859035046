"""Routes that take `at`: done now without it, and with it checked now and done then."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from control.api.routing import API, Call, Later, Route
from control.services.context import Role
from control.services.operations import MANY, Operation, register
from control.services.problems import decode
from control.services.scheduled_changes import AtQuery, ScheduledChange, schedule


async def _no_check(_call: Call) -> None:
    return None


def schedulable(
    route: Route, operation: Operation, *, row: str = "", check: Callable[[Call], Awaitable[Any]] = _no_check
) -> Route:
    """The route, whose handler does now what `operation` does later.

    Args:
        row: the path's parameter that says which row; none: the body says which rows.
        check: what the handler looks at before it calls the service.
    """
    registered = register(operation)
    role = route.role
    assert role in ("admin", "operator", "billing", "read-only"), "whoever may ask for it must be asked again then"

    async def handler(call: Call) -> Any:
        if call.query.at is None:
            return await route.handler(call)
        await check(call)
        return await _keep(call, registered, call.path[row] if row else MANY, role)

    return msgspec.structs.replace(route, handler=handler, query=AtQuery, later=ScheduledChange)


async def _keep(call: Call, operation: Operation, row_id: int, role: Role) -> Later:
    sent: dict[str, Any] = {}
    if isinstance(call.body, dict):
        sent = call.body
    elif call.body is not None:
        # As it was sent, not as it was understood: without the fields that were left out.
        sent = decode(await call.request.body(), dict[str, Any])
    made = await schedule(call.ctx, operation, row_id, sent, call.version, call.query.at, role)
    return Later(made, f"{API}/scheduled-changes/{made.id}")
