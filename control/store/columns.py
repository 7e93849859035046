"""Columns that many tables have, and the indexes of rows that are not archived."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import JSON, BigInteger, Boolean, Column, Float, Index, Integer, Table, Text, text

# SQLite numbers rows by itself only where the key's type is spelt INTEGER; it is 64 bits wide there too.
BigId: Final = BigInteger().with_variant(Integer, "sqlite")


def row_id() -> Column[int]:
    return Column("id", BigId, primary_key=True)


def stamps() -> list[Column[Any]]:
    return [
        Column("row_version", Integer, nullable=False, server_default="1"),
        Column("created_ms", BigInteger, nullable=False),
        Column("updated_ms", BigInteger, nullable=False),
        Column("archived_ms", BigInteger),
    ]


def limits() -> list[Column[Any]]:
    return [Column("channels", Integer), Column("flow_speed_cps", Float)]


def timers() -> list[Column[Any]]:
    return [Column("first_reply_ms", Integer), Column("pdd_ms", Integer), Column("ring_ms", Integer)]


def text_column(name: str, *, default: str = "") -> Column[str]:
    return Column(name, Text, nullable=False, server_default=default)


def flag(name: str, *, default: bool) -> Column[bool]:
    return Column(name, Boolean, nullable=False, server_default=text("true" if default else "false"))


def json_list(name: str) -> Column[Any]:
    return Column(name, JSON, nullable=False, server_default="[]")


def number(name: str, default: int = 0) -> Column[int]:
    return Column(name, BigInteger, nullable=False, server_default=str(default))


def unique_alive(name: str, table: Table, *columns: str) -> Index:
    """Unique among rows that are not archived, so that a name can be used again."""
    alive = table.c.archived_ms.is_(None)
    return Index(name, *(table.c[c] for c in columns), unique=True, sqlite_where=alive, postgresql_where=alive)


def searched(table: Table, *columns: str) -> None:
    """All that a search looks at, so that it need not look at the rows: there may be very many."""
    alive = table.c.archived_ms.is_(None)
    # SQLite takes an index for enough only where the condition's own column is in it too.
    parts = [table.c[c] for c in (*columns, "archived_ms")]
    Index(f"ix_{table.name}_searched", *parts, sqlite_where=alive, postgresql_where=alive)
