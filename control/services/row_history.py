"""What a row of configuration was at some time in the past, read from the audit trail."""

from __future__ import annotations

from typing import Any

import msgspec
from sqlalchemy import select

from control.store import tables
from control.store.engine import Tx


class Versions:
    """All that one row has been, as the API showed it; `at` puts them in the order of likelihood."""

    def __init__(self, versions: list[tuple[int, dict[str, Any]]]) -> None:
        self._versions = versions

    def at(self, at_ms: int) -> list[dict[str, Any]]:
        """The version of that time, then those nearest to it.

        The switch has a change a moment after the audit trail does, and a call keeps what it began
        with: close to a change it may be either.
        """
        in_force = 0
        for place, (since_ms, _) in enumerate(self._versions):
            if since_ms <= at_ms:
                in_force = place
        near = sorted(range(len(self._versions)), key=lambda place: (abs(place - in_force), place))
        return [self._versions[place][1] for place in near]


async def read_versions(tx: Tx, noun: str, noun_id: int, field: str) -> Versions:
    """Every version of a row by its audit rows, of those that show the whole row.

    Args:
        field: one that the whole row has, and what other actions write about it has not.
    """
    audit = tables.audit
    query = (
        select(audit.c.at_ms, audit.c.before, audit.c.after)
        .where(audit.c.noun == noun, audit.c.noun_id == str(noun_id), audit.c.after.is_not(None))
        .order_by(audit.c.id)
    )
    found: list[tuple[int, dict[str, Any]]] = []
    for at_ms, before, after in await tx.execute(query):
        row = msgspec.json.decode(after)
        if not isinstance(row, dict) or field not in row:
            continue
        if not found and before is not None:
            found.append((0, msgspec.json.decode(before)))
        found.append((at_ms, row))
    return Versions(found)
