"""CDRs as Parquet: a column a field, typed, written a row group at a time and sent as it is written.

Amounts are exact decimals, times are moments of the zone that was asked for, and what is a list in JSON
(attempts, explanation) is its JSON.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import msgspec

if TYPE_CHECKING:
    import pyarrow as pa

MEDIA_TYPE: Final = "application/vnd.apache.parquet"
GROUP_ROWS: Final = 10_000
"""Rows of a row group: some ten megabytes in memory, whatever the whole comes to."""
AMOUNTS: Final = frozenset({"rate", "net", "tax", "gross", "cost", "margin"})
_DIGITS, _SCALE = 28, 9
_encode: Final = msgspec.json.Encoder()


class _Sent:
    """A file to the writer; what was written is taken from it and sent."""

    closed = False

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._size = 0

    def write(self, data: Any) -> int:
        part = bytes(data)
        self._parts.append(part)
        self._size += len(part)
        return len(part)

    def tell(self) -> int:
        return self._size

    def flush(self) -> None:
        pass

    def close(self) -> None:
        pass

    def take(self) -> bytes:
        parts, self._parts = self._parts, []
        return b"".join(parts)


async def parquet(rows: AsyncIterator[Sequence[msgspec.Struct]], kind: type[msgspec.Struct]) -> AsyncIterator[bytes]:
    """A whole file of these rows, whose struct is `kind`; times keep the zone that they have."""
    import pyarrow.parquet as pq  # it takes 0.2 s to import, and few ask for it

    sent = _Sent()
    writer: Any = None
    waiting: list[msgspec.Struct] = []

    def write(group: list[msgspec.Struct]) -> bytes:
        nonlocal writer
        schema = _schema(kind, group)
        if writer is None:
            writer = pq.ParquetWriter(sent, schema, compression="zstd")
        writer.write_table(_table(group, writer.schema))
        return sent.take()

    async for some in rows:
        waiting += some
        if len(waiting) >= GROUP_ROWS:
            yield await asyncio.to_thread(write, waiting)
            waiting = []
    if waiting or writer is None:
        yield await asyncio.to_thread(write, waiting)
    await asyncio.to_thread(writer.close)
    yield sent.take()


def _schema(kind: type[msgspec.Struct], rows: Sequence[msgspec.Struct]) -> pa.Schema:
    import pyarrow as pa

    zone = next((str(value.tzinfo) for row in rows[:1] for value in _values(row) if isinstance(value, datetime)), "UTC")
    columns = []
    for field in msgspec.inspect.type_info(kind).fields:  # type: ignore[attr-defined]
        types = field.type.types if isinstance(field.type, msgspec.inspect.UnionType) else (field.type,)
        names = {type(each) for each in types}
        if field.name in AMOUNTS:
            column = pa.decimal128(_DIGITS, _SCALE)
        elif msgspec.inspect.DateTimeType in names:
            column = pa.timestamp("ms", tz=zone)
        elif msgspec.inspect.BoolType in names:
            column = pa.bool_()
        elif msgspec.inspect.IntType in names:
            column = pa.int64()
        else:
            column = pa.string()
        columns.append(pa.field(field.encode_name, column))
    return pa.schema(columns)


def _values(row: msgspec.Struct) -> list[Any]:
    return [getattr(row, name) for name in row.__struct_fields__]


def _table(rows: Sequence[msgspec.Struct], schema: pa.Schema) -> pa.Table:
    import pyarrow as pa

    columns = [[_cell(field.name, getattr(row, field.name)) for row in rows] for field in schema]
    return pa.table([pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)], schema)


def _cell(name: str, value: Any) -> Any:
    if value is None:
        return None
    if name in AMOUNTS:
        return Decimal(value).quantize(Decimal(1).scaleb(-_SCALE))
    if isinstance(value, bool | int | str | datetime):
        return value
    return _encode.encode(value).decode()
