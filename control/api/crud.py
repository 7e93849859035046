"""The five routes that every noun has, flat and below its owner."""

from __future__ import annotations

from typing import Any

import msgspec

from control.api.later import schedulable
from control.api.routing import API, Call, Created, Route
from control.services.context import Role
from control.services.errors import NotFound, invalid
from control.services.nouns import Noun
from control.services.operations import archive_of, update_of
from control.services.pages import ListQuery, Page
from control.services.problems import convert


class Owner(msgspec.Struct, frozen=True):
    """The noun under whose path another one's rows stand."""

    noun: Noun[Any, Any]
    path: str
    column: str
    """Of the owned row, and the path parameter's name."""


def noun_routes(
    noun: Noun[Any, Any], path: str, query: type[ListQuery], *, owner: Owner | None = None, role: Role = "operator"
) -> list[Route]:
    """List, create, read, change and archive under `path`; below each owner's path too where there is one."""
    routes = _routes(noun, path, query, None, role)
    if owner is not None:
        routes += _routes(noun, path, query, owner, role)
    return routes


def _routes(noun: Noun[Any, Any], path: str, query: type[ListQuery], owner: Owner | None, role: Role) -> list[Route]:
    at = path if owner is None else f"{owner.path}/{{{owner.column}:int}}{path}"
    without = () if owner is None else (owner.column,)
    reads: Role = role if role == "admin" else "read-only"
    whose = "" if owner is None else f" of a {owner.noun.title}"

    async def list_rows(call: Call) -> Any:
        found = await noun.page(call.ctx, await _owned_query(call, owner))
        return Page(items=await noun.answers(call.ctx, found.items), next_cursor=found.next_cursor)

    async def create_row(call: Call) -> Created:
        new = call.body if owner is None else await _owned_new(call, noun, owner)
        made = await noun.create(call.ctx, new)
        return Created(await _answer(call, noun, made), f"{API}{path}/{made.id}")

    async def read_row(call: Call) -> Any:
        return await _answer(call, noun, await _owned_row(call, noun, owner))

    async def check_owner(call: Call) -> None:
        if owner is not None:
            await _owned_row(call, noun, owner)

    async def change_row(call: Call) -> Any:
        await check_owner(call)
        changed = await noun.update(call.ctx, call.path["row_id"], call.body, call.version)
        return await _answer(call, noun, changed)

    async def archive_row(call: Call) -> None:
        await check_owner(call)
        await noun.archive(call.ctx, call.path["row_id"], call.version)

    page: Any = Page[noun.answer]  # type: ignore[name-defined]
    one, row = noun.title, f"{at}/{{row_id:int}}"
    return [
        Route(
            method="GET",
            path=at,
            handler=list_rows,
            summary=f"List every {one}{whose}. `search` looks into {', '.join(noun.search)}; "
            f"`sort` takes {', '.join(noun.sorts)}.",
            role=reads,
            query=query,
            sorts=noun.sorts,
            reply=page,
        ),
        Route(
            method="POST",
            path=at,
            handler=create_row,
            summary=f"Create a {one}{whose}.",
            role=role,
            body=noun.new if owner is None else dict[str, Any],
            shown=noun.new,
            reply=noun.answer,
            status=201,
            without=without,
        ),
        Route(
            method="GET", path=row, handler=read_row, summary=f"Read one {one}{whose}.", role=reads, reply=noun.answer
        ),
        schedulable(
            Route(
                method="PATCH",
                path=row,
                handler=change_row,
                summary=f"Change the fields sent of a {one}{whose}, and no other. Lists and tables are replaced. "
                "With `If-Match` (or `row_version` in the body) only if nobody changed it meanwhile.",
                role=role,
                patches=noun.new,
                reply=noun.answer,
            ),
            update_of(noun),
            row="row_id",
            check=check_owner,
        ),
        schedulable(
            Route(
                method="DELETE",
                path=row,
                handler=archive_row,
                summary=f"Archive a {one}{whose}: out of lists and calls, kept for its CDRs. 409 while it is in use.",
                role=role,
                status=204,
            ),
            archive_of(noun),
            row="row_id",
            check=check_owner,
        ),
    ]


async def _answer(call: Call, noun: Noun[Any, Any], row: Any) -> Any:
    (shown,) = await noun.answers(call.ctx, [row])
    return shown


async def _owned_query(call: Call, owner: Owner | None) -> ListQuery:
    query: ListQuery = call.query
    if owner is None:
        return query
    owner_id = call.path[owner.column]
    await owner.noun.get(call.ctx, owner_id)
    if getattr(query, owner.column) not in (None, owner_id):
        raise invalid(owner.column, "the path says another")
    return msgspec.structs.replace(query, **{owner.column: owner_id})


async def _owned_new(call: Call, noun: Noun[Any, Any], owner: Owner) -> Any:
    owner_id = call.path[owner.column]
    await owner.noun.get(call.ctx, owner_id)
    if call.body.get(owner.column, owner_id) != owner_id:
        raise invalid(owner.column, "the path says another")
    return convert({**call.body, owner.column: owner_id}, noun.new)


async def _owned_row(call: Call, noun: Noun[Any, Any], owner: Owner | None) -> Any:
    row = await noun.get(call.ctx, call.path["row_id"])
    if owner is not None and getattr(row, owner.column) != call.path[owner.column]:
        raise NotFound(noun.name, call.path["row_id"])
    return row
