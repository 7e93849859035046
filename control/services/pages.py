"""Lists by pages: filters, search, order, and a cursor that says where the last page ended.

A page begins after the last row of the one before, by the order's own key and the id: rows that
come or go meanwhile neither repeat nor hide others, and page one million costs what page one does.
"""

from __future__ import annotations

import base64
import binascii
from typing import Annotated, Any, Final, Generic, TypeVar

import msgspec
from msgspec import Meta
from sqlalchemy import Boolean, Select, String, Table, and_, cast, literal, or_, select
from sqlalchemy.engine import RowMapping
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from control.services.errors import invalid
from control.services.fields import ROW_ID_MAX, name_key
from control.store.engine import Tx, to_json

PAGE_ROWS: Final = 50
PAGE_ROWS_MAX: Final = 500

T = TypeVar("T")

Search = Annotated[str, Meta(max_length=200, pattern=r"^(?![\s\S]*\x00)")]


class ListQuery(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Query parameters that every list takes; a noun's own filters come on top."""

    limit: Annotated[int, Meta(ge=1, le=PAGE_ROWS_MAX, description="Rows on a page.")] = PAGE_ROWS
    cursor: Annotated[str, Meta(max_length=500, description="`next_cursor` of the page before.")] = ""
    sort: Annotated[str, Meta(max_length=40, description="A field, with `-` before it for descending.")] = ""
    search: Search = ""


class Page(msgspec.Struct, Generic[T], frozen=True):
    items: list[T]
    next_cursor: str | None
    """None on the last page."""


_COMMON: Final = frozenset(ListQuery.__struct_fields__)


def filter_rows(table: Table, query: ListQuery, search: tuple[str, ...]) -> Select[Any]:
    """Rows that are not archived and match: each further field of the query is a column's value."""
    wanted = [table.c.archived_ms.is_(None)]
    for name in query.__struct_fields__:
        value = getattr(query, name)
        if name not in _COMMON and value is not None and name in table.c:
            wanted.append(table.c[name] == value)
    if not query.search or not search:
        return select(table).where(*wanted)
    # An index that holds all that is looked at is walked through in a fraction of the rows' own time.
    found = select(table.c.id).where(*wanted, or_(*(contains(table, name, query.search) for name in search)))
    return select(table).where(table.c.id.in_(found))


def contains(table: Table, column: str, text: str) -> Any:
    """Whether a column holds a text somewhere, whatever the case."""
    searched: Any = table.c[column]
    if column == "name_key":
        text = name_key(text)
    elif not isinstance(searched.type, String):
        # Lists are searched as the JSON that they are stored as.
        searched, text = cast(searched, String), to_json(text)[1:-1]
    escaped = text.replace("/", "//").replace("%", "/%").replace("_", "/_")
    pattern = literal(f"%{escaped}%")
    return _Holds(searched, pattern) if text.isascii() else _HoldsInAnyScript(searched, pattern, literal(_glob(text)))


def _glob(text: str) -> str:
    """A pattern of SQLite's GLOB for this text in any case: each letter as the set of its forms."""
    parts = []
    for letter in text:
        forms = {letter, letter.lower(), letter.upper(), letter.upper().lower()}
        one = sorted(form for form in forms if len(form) == 1)
        parts.append(f"[{''.join(one)}]" if len(one) > 1 or letter in "*?[" else letter)
    return f"*{''.join(parts)}*"


class _Holds(FunctionElement[bool]):
    """`LIKE` as SQLite has it, where it folds case by itself: `lower` of every row takes twice the time."""

    name = "holds"
    type = Boolean()
    inherit_cache = True


@compiles(_Holds)
def _compile_holds(element: _Holds, compiler: Any, word: str = "LIKE", **options: Any) -> str:
    searched, pattern = (compiler.process(part, **options) for part in element.clauses)
    return f"{searched} {word} {pattern} ESCAPE '/'"


@compiles(_Holds, "postgresql")
def _compile_holds_postgres(element: _Holds, compiler: Any, **options: Any) -> str:
    return _compile_holds(element, compiler, "ILIKE", **options)


class _HoldsInAnyScript(_Holds):
    """The same of a text with letters beyond ASCII, whose case SQLite does not fold; PostgreSQL does."""

    name = "holds_in_any_script"
    inherit_cache = True


@compiles(_HoldsInAnyScript)
def _compile_any_script(element: _HoldsInAnyScript, compiler: Any, **options: Any) -> str:
    searched, _, pattern = element.clauses
    return f"{compiler.process(searched, **options)} GLOB {compiler.process(pattern, **options)}"


@compiles(_HoldsInAnyScript, "postgresql")
def _compile_any_script_postgres(element: _HoldsInAnyScript, compiler: Any, **options: Any) -> str:
    searched, pattern, _ = element.clauses
    return f"{compiler.process(searched, **options)} ILIKE {compiler.process(pattern, **options)} ESCAPE '/'"


async def read_page(
    tx: Tx, table: Table, statement: Select[Any], query: ListQuery, sorts: tuple[str, ...]
) -> tuple[list[RowMapping], str | None]:
    """One page of a filtered statement, and the cursor of the next one."""
    wanted = query.sort or sorts[0]
    is_descending = wanted.startswith("-")
    field = wanted.removeprefix("-")
    if field not in sorts:
        raise invalid("sort", f"one of {', '.join(sorts)}, with - before it for descending")
    sorted_by = _SORT_COLUMNS.get(field, field)
    column = table.c[sorted_by if sorted_by in table.c else field]
    row_id = table.c.id
    if query.cursor:
        value, after = read_cursor(query.cursor, wanted, str if column.type.python_type is str else int)
        further = column < value if is_descending else column > value
        next_id = row_id < after if is_descending else row_id > after
        statement = statement.where(or_(further, and_(column == value, next_id)))
    order = (column.desc(), row_id.desc()) if is_descending else (column.asc(), row_id.asc())
    rows = list((await tx.execute(statement.order_by(*order).limit(query.limit + 1))).mappings())
    if len(rows) <= query.limit:
        return rows, None
    rows = rows[: query.limit]
    return rows, make_cursor(wanted, rows[-1][column.name], rows[-1]["id"])


_SORT_COLUMNS: Final = {"at": "at_ms", "name": "name_key", "created_at": "created_ms", "updated_at": "updated_ms"}


def make_cursor(order: str, value: object, row_id: int) -> str:
    return base64.urlsafe_b64encode(msgspec.msgpack.encode((order, value, row_id))).decode().rstrip("=")


def read_cursor(cursor: str, order: str, kind: type[str] | type[int]) -> tuple[str | int, int]:
    """The key and the id that a cursor holds; `Invalid` for one of another order, or of nobody's making."""
    try:
        packed = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
        was, value, row_id = msgspec.msgpack.decode(packed, type=tuple[str, kind, int])  # type: ignore[valid-type]
    except (msgspec.DecodeError, binascii.Error, ValueError) as error:
        raise invalid("cursor", "not a cursor of this list") from error
    if was != order:
        raise invalid("cursor", f"made for a list sorted by {was}")
    if abs(row_id) > ROW_ID_MAX or (isinstance(value, int) and abs(value) > ROW_ID_MAX):
        raise invalid("cursor", "not a cursor of this list")
    return value, row_id
