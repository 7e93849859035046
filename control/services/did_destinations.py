"""Where a number rings as one cell of a file: words with blanks between them.

`endpoint:12` is an endpoint by its id, or by its host where the customer has one such that receives calls;
`sip_user:alice@tandem` a SIP user, whose realm may be left out where the customer has one of the name;
`sip:desk@pbx.example.com` a URI; `number:15551230001`, or the digits alone, an external number.
"""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import select
from sqlalchemy.engine import RowMapping

from control.services.did_fields import Destination
from control.services.errors import invalid
from control.store import tables
from control.store.engine import Tx
from rating.money import is_digits

PATH: Final = "destinations"


def destinations_text(destinations: tuple[Destination, ...], users: dict[int, str]) -> str:
    """The cell; `users` has the names of SIP users by id."""
    return " ".join(_text(each, users) for each in destinations)


async def user_names(tx: Tx, ids: set[int]) -> dict[int, str]:
    """`alice@tandem` of each SIP user."""
    c = tables.sip_users.c
    query = select(c.id, c.username, c.realm).where(c.id.in_(sorted(ids)))
    return {row.id: f"{row.username}@{row.realm}" for row in await tx.execute(query)}


class Places:
    """Endpoints and SIP users of customers, read once each."""

    def __init__(self, tx: Tx) -> None:
        self._tx = tx
        self._endpoints: dict[int, list[RowMapping]] = {}
        self._users: dict[int, list[RowMapping]] = {}

    async def read(self, text: str, customer_id: int | None) -> list[dict[str, Any]]:
        """A cell as the API's `destinations`.

        Raises:
            Invalid: a word that is none, or that names nothing of the customer's.
        """
        return [await self._destination(word, customer_id) for word in text.split()]

    async def _destination(self, word: str, customer_id: int | None) -> dict[str, Any]:
        kind, colon, rest = word.partition(":")
        kind = kind.lower()
        if kind in ("sip", "sips"):
            return {"kind": "uri", "value": word}
        if kind == "number" or not colon:
            return {"kind": "number", "value": rest if colon else word}
        if kind not in ("endpoint", "sip_user") or not rest:
            raise invalid(PATH, f"{word}: neither endpoint:…, sip_user:…, sip:… nor a number")
        if customer_id is None:
            raise invalid(PATH, "a number that nobody has rings nowhere: needs a customer")
        if kind == "endpoint" and is_digits(rest):
            return {"kind": "endpoint", "id": int(rest)}
        found = await (self._endpoint(rest, customer_id) if kind == "endpoint" else self._user(rest, customer_id))
        if len(found) != 1:
            raise invalid(PATH, f"{word}: the customer has {'several' if found else 'none'} of this name")
        return {"kind": kind, "id": found[0]["id"]}

    async def _endpoint(self, host: str, customer_id: int) -> list[RowMapping]:
        if customer_id not in self._endpoints:
            self._endpoints[customer_id] = await self._rows(tables.endpoints, customer_id)
        rows = self._endpoints[customer_id]
        return [row for row in rows if row["host"] == host.lower() and row["direction"] == "ingress"]

    async def _user(self, name: str, customer_id: int) -> list[RowMapping]:
        if customer_id not in self._users:
            self._users[customer_id] = await self._rows(tables.sip_users, customer_id)
        username, _, realm = name.partition("@")
        same = [row for row in self._users[customer_id] if row["username"].lower() == username.lower()]
        return [row for row in same if realm in ("", row["realm"])]

    async def _rows(self, table: Any, customer_id: int) -> list[RowMapping]:
        query = select(table).where(table.c.customer_id == customer_id, table.c.archived_ms.is_(None))
        return list((await self._tx.execute(query)).mappings())


def _text(each: Destination, users: dict[int, str]) -> str:
    if each.kind == "sip_user" and each.id is not None:
        return f"sip_user:{users.get(each.id, each.id)}"
    if each.kind == "endpoint":
        return f"endpoint:{each.id}"
    return each.value if each.kind == "uri" else f"number:{each.value}"
