"""DIDs of `tandem apply`: they ring by name in the file, and change hands by the steps of their life.

A destination is `{ endpoint = "198.51.100.9" }` (its host), `{ sip_user = "alice" }`, `{ uri = "sip:…" }` or
`{ number = "15551230001" }`. A number that is there and free is allocated to the customer that the file
says, and assigned where it rings somewhere; one that another customer has is refused by the API.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from control.client import ApiClient
from rating.numbers import normalise_e164

Fields = dict[str, Any]
Rows = Callable[[str], list[Fields]]
"""All rows of a list of the API, by its path."""

OWNED: Final = {"endpoint": ("endpoints", "host"), "sip_user": ("sip-users", "username")}
"""Of each kind that is a row of the customer's: its list, and the field that the file calls it by."""


class UnknownDestination(Exception):
    """The file's destination is none, or names nothing of the customer's."""


def destination_ids(rows: Rows, customer_id: int | None, written: Any) -> list[Fields]:
    """Destinations of the file as the API takes them.

    Raises:
        UnknownDestination: with the reason.
    """
    if not isinstance(written, list) or not all(isinstance(each, dict) and len(each) == 1 for each in written):
        raise UnknownDestination('a list of { endpoint = "…" }, { sip_user = "…" }, { uri = "…" } or { number = "…" }')
    found: list[Fields] = []
    for each in written:
        ((kind, value),) = each.items()
        if kind in ("uri", "number"):
            found.append({"kind": kind, "value": value})
        elif kind not in OWNED:
            raise UnknownDestination(f"{kind}: use endpoint, sip_user, uri or number")
        else:
            found.append({"kind": kind, "id": _id(rows, customer_id, kind, value)})
    return found


def destination_names(rows: Rows, row: Fields) -> list[Fields]:
    """A DID's destinations as the file writes them."""
    found: list[Fields] = []
    for each in row["destinations"]:
        kind, value = each["kind"], each["value"]
        if kind in OWNED:
            path, name = OWNED[kind]
            owned = rows(f"/customers/{row['customer_id']}/{path}")
            value = next((one[name] for one in owned if one["id"] == each["id"]), each["id"])
        found.append({kind: value})
    return found


def is_same_place(written: Any, now: list[Fields]) -> bool:
    """Whether the file's destinations are those that there are; a number may be written in any form."""
    if not isinstance(written, list):
        return False
    digits = [
        {"number": normalise_e164(str(each["number"]))} if isinstance(each, dict) and "number" in each else each
        for each in written
    ]
    return digits == now


def change(client: ApiClient, path: str, body: Fields) -> None:
    """Bring a DID to what the file says.

    Raises:
        ApiError: the instance refused it.
    """
    fields = dict(body)
    customer_id = fields.pop("customer_id", None)
    if customer_id is not None:
        client.post(f"{path}/allocate", {"customer_id": customer_id})
    if fields:
        client.patch(path, fields)
    if customer_id is not None and client.get(path)["destinations"]:
        client.post(f"{path}/assign", {})


def _id(rows: Rows, customer_id: int | None, kind: str, value: Any) -> int:
    path, name = OWNED[kind]
    if customer_id is None:
        raise UnknownDestination("a number that nobody has rings nowhere: customer is missing")
    owned = [row for row in rows(f"/customers/{customer_id}/{path}") if row[name] == value]
    if kind == "endpoint":
        owned = [row for row in owned if row["direction"] == "ingress"]
    if len(owned) != 1:
        raise UnknownDestination(f"the customer has {'several' if owned else 'no'} {kind} {value}")
    return int(owned[0]["id"])
