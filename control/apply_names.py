"""Names of a file as the instance's ids, and its ids as names: what refers to what in `tandem apply`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from control import apply_dids
from control.apply_file import ApplyError, Elsewhere, Fields, Wanted
from control.apply_kinds import DIDS, KINDS, LOOKUPS, REFERENCE_LISTS, REFERENCES
from control.client import ApiClient
from rating.numbers import normalise_e164


class Names:
    """Reads lists once until told otherwise; names are looked up as they are needed."""

    def __init__(self, client: ApiClient, wanted: Iterable[Wanted]) -> None:
        self._client = client
        self._ids: dict[str, dict[str, int]] = {}
        self._lists: dict[str, list[Fields]] = {}
        self._paths = {kind.table: kind.path for kind in KINDS}
        self._wanted = {(each.kind.table, str(each.fields[each.kind.key[0]])) for each in wanted}
        """Of the file: table and name."""

    def rows(self, path: str) -> list[Fields]:
        if path not in self._lists:
            query = {"include": "inactive"} if path == "/clients" else None
            self._lists[path] = list(self._client.items(path, query))
        return self._lists[path]

    def forget_lists(self) -> None:
        """What they hold has changed."""
        self._lists.clear()

    def note(self, wanted: Wanted, row_id: int) -> None:
        """It is made by now, and others may refer to it."""
        if wanted.parent is None and wanted.kind is not DIDS:
            self._of(wanted.kind.table)[wanted.fields["name"]] = row_id

    def check(self, wanted: Wanted) -> None:
        """That whatever it refers to exists, or is to be made by the file.

        Raises:
            ApplyError: naming the first that does not.
        """
        fields = {**wanted.fields, **(wanted.revision or {})}
        for name, value in fields.items():
            if name in REFERENCES:
                self._check(wanted, name, REFERENCES[name][1], value)
            elif name in LOOKUPS:
                self._lookup_or_wanted(wanted, name, value)
            elif name in REFERENCE_LISTS:
                for each in _listed(wanted, name, value):
                    self._check(wanted, name, "rate_cards", each)
            elif name == "recipients":
                for each in _listed(wanted, name, value):
                    if not isinstance(each, dict) or len(each) != 1 or not each.keys() <= {"email", "phone", "webhook"}:
                        hint = 'use { email = "…" }, { phone = "…" } or { webhook = "its name" }'
                        raise ApplyError(f"{wanted.label}: recipients: {hint}")
                    if "webhook" in each:
                        self._check(wanted, name, "webhooks", each["webhook"])

    def current(self, name: str, row: Fields) -> Any:
        """What a field of the file is now, in the file's words."""
        if name in REFERENCES:
            field, table = REFERENCES[name]
            return self._name(table, row.get(field))
        if name in LOOKUPS:
            return row.get(LOOKUPS[name].shown)
        if name in REFERENCE_LISTS:
            return [self._name("rate_cards", each) for each in row.get(REFERENCE_LISTS[name]) or []]
        if name == "destinations":
            return apply_dids.destination_names(self.rows, row)
        if name == "recipients":
            return [
                {"webhook": self._name("webhooks", each["webhook_id"])} if "webhook_id" in each else each
                for each in row.get(name) or []
            ]
        return row.get(name)

    def resolve(self, wanted: Wanted, fields: Fields) -> Fields:
        """As the API takes them, now that what they name exists.

        Raises:
            ApplyError: it does not.
        """
        found: Fields = {}
        for name, value in fields.items():
            if name in REFERENCES:
                field, table = REFERENCES[name]
                found[field] = self._id(table, value, name)
            elif name in LOOKUPS:
                found[LOOKUPS[name].field] = self._lookup(wanted, name, value)
            elif name in REFERENCE_LISTS:
                found[REFERENCE_LISTS[name]] = [self._id("rate_cards", each, name) for each in value]
            elif name == "destinations":
                found[name] = self._destinations(wanted, value)
            elif name == "recipients":
                found[name] = [
                    {"webhook_id": self._id("webhooks", each["webhook"], name)} if "webhook" in each else each
                    for each in value
                ]
            else:
                found[name] = value.read() if isinstance(value, Elsewhere) else value
        return found

    def _destinations(self, wanted: Wanted, written: Any) -> list[Fields]:
        owner = wanted.fields.get("customer")
        customer_id = None if owner is None else self._id("customers", owner, "customer")
        try:
            return apply_dids.destination_ids(self.rows, customer_id, written)
        except apply_dids.UnknownDestination as error:
            raise ApplyError(f"{wanted.label}: destinations: {error}") from error

    def _of(self, table: str) -> dict[str, int]:
        if table not in self._ids:
            self._ids[table] = {row["name"]: row["id"] for row in self.rows(self._paths[table])}
        return self._ids[table]

    def _check(self, wanted: Wanted, field: str, table: str, name: Any) -> None:
        if not isinstance(name, str):
            raise ApplyError(f"{wanted.label}: {field}: a name is wanted")
        if (table, name) not in self._wanted and name not in self._of(table):
            raise ApplyError(f'{wanted.label}: {field}: there is no {_one(table)} "{name}"')

    def _id(self, table: str, name: str, field: str) -> int:
        try:
            return self._of(table)[name]
        except KeyError:
            raise ApplyError(f'{field}: there is no {_one(table)} "{name}"') from None

    def _name(self, table: str, wanted_id: int | None) -> str | None:
        return next((name for name, each in self._of(table).items() if each == wanted_id), None)

    def _lookup_or_wanted(self, wanted: Wanted, name: str, value: Any) -> None:
        if (LOOKUPS[name].table, _spoken(name, value)) not in self._wanted:
            self._lookup(wanted, name, value)

    def _lookup(self, wanted: Wanted, name: str, value: Any) -> int:
        lookup = LOOKUPS[name]
        rows = list(self._client.items(lookup.path, {lookup.key: _spoken(name, value)}))
        if len(rows) != 1:
            how_many = "are several" if rows else "is no"
            raise ApplyError(f'{wanted.label}: {name}: there {how_many} {_one(lookup.table)} "{value}"')
        return int(rows[0]["id"])


def _one(table: str) -> str:
    return table.rstrip("s").replace("_", " ").replace("did", "DID")


def _spoken(name: str, value: Any) -> str:
    return normalise_e164(str(value)) or str(value) if name == "did" else str(value)


def _listed(wanted: Wanted, name: str, value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise ApplyError(f"{wanted.label}: {name}: a list is wanted")
    return value
