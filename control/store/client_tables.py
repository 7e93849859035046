"""Tables of the building that clients rent in: its sites, its offices, and who sits where from when to when.

Days are texts as `2027-02-01`: they sort as they follow each other, and no time zone moves them.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Column, ForeignKey, Index, Integer, String, Table, Text

from control.store.columns import row_id, stamps, text_column, unique_alive
from control.store.tables import METADATA

ENDLESS: Final = "9999-12-31"
"""`until` of what has no end: after every day that a client may name."""


def of_client(*, index: bool = True) -> Column[int]:
    return Column("client_id", BigInteger, ForeignKey("clients.id"), nullable=False, index=index)


sites: Final = Table(
    "sites",
    METADATA,
    row_id(),
    Column("name", Text, nullable=False),
    Column("name_key", Text, nullable=False),
    text_column("address"),
    text_column("time_zone", default="UTC"),
    text_column("notes"),
    *stamps(),
)
unique_alive("uq_sites_name", sites, "name_key")

offices: Final = Table(
    "offices",
    METADATA,
    row_id(),
    Column("site_id", BigInteger, ForeignKey("sites.id"), nullable=False, index=True),
    Column("room", Text, nullable=False),
    Column("room_key", Text, nullable=False),
    Column("capacity", Integer, nullable=False),
    text_column("notes"),
    *stamps(),
)
unique_alive("uq_offices_room", offices, "site_id", "room_key")

occupancies: Final = Table(
    "occupancies",
    METADATA,
    row_id(),
    of_client(),
    Column("office_id", BigInteger, ForeignKey("offices.id"), nullable=False),
    Column("start_date", String(10), nullable=False),
    # NULL: as the client's own end date says.
    Column("end_date", String(10)),
    # The day that the office is free again, whichever of the two it comes from.
    Column("until", String(10), nullable=False),
    text_column("notes"),
    *stamps(),
)
Index("ix_occupancies_office", occupancies.c.office_id, occupancies.c.start_date)
