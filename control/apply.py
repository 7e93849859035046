"""`tandem apply`: a TOML file of what shall exist, compared with what does, and the steps between.

Names are keys, and refer to one another by name. Only what the file says is compared and changed:
a field that it leaves out keeps its value, and nothing is deleted. So a second run does nothing.
Payments have keys of their own, under which each is made once, and are never changed.
"""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Callable, Iterator
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any, Final

import msgspec

from control import apply_dids
from control.client import ApiClient
from rating.numbers import normalise_e164

Fields = dict[str, Any]

MONEY: Final = frozenset(
    {"debit_limit", "minimum_payment", "daily_spend_limit", "capped_rate", "vendor_capped_rate", "max_cost"}
    | {"tax_percent", "total", "cost", "retail", "setup_cost", "setup_retail"}
)
"""Decimal strings: `100` and `100.00` are the same."""
GROUPS: Final = frozenset({"timers"})
"""Tables whose fields are changed one by one, as the fields of the thing itself are."""
SECRETS: Final = frozenset({"password"})
"""Written when a thing is created; the API never shows them, so they cannot be compared."""
REFERENCES: Final = {
    "client": ("client_id", "clients"),
    "provider": ("provider_id", "providers"),
    "provider_card": ("provider_card_id", "rate_cards"),
    "customer": ("customer_id", "customers"),
    "customer_card": ("customer_card_id", "rate_cards"),
    "rate_card": ("rate_card_id", "rate_cards"),
}
REFERENCE_LISTS: Final = {
    "vendor_cards": "vendor_card_ids",
    "lock_cards": "lock_cards",
    "exclude_cards": "exclude_cards",
}


class ApplyError(Exception):
    """The file cannot be applied; the text names the place in it."""


class Kind(msgspec.Struct, frozen=True):
    """One table of the file: where the API keeps its like, and what tells one from another."""

    table: str
    noun: str
    path: str
    """Of the list, below the parent's own path where there is one."""
    key: tuple[str, ...] = ("name",)
    """Fields that identify one; an endpoint has no name, so its address does."""
    defaults: dict[str, Any] = {}
    """What key fields are where the file leaves them out."""
    is_list: bool = False
    """Written as `[[…]]`: no name stands in the heading."""
    children: tuple[Kind, ...] = ()


ENDPOINTS: Final = Kind(
    table="endpoints",
    noun="endpoint",
    path="endpoints",
    key=("direction", "host", "tech_prefix", "transport", "port"),
    defaults={"direction": "egress", "tech_prefix": "", "transport": None, "port": None},
    is_list=True,
)
SIP_USERS: Final = Kind(table="sip_users", noun="sip user", path="sip-users", key=("username",))
NUMBER_BLOCKS: Final = Kind(
    table="internal_number_blocks",
    noun="internal number block",
    path="internal-number-blocks",
    key=("start",),
    is_list=True,
)
INGRESS_ROUTES: Final = Kind(table="ingress_routes", noun="ingress route", path="ingress-routes")
CLI_RULES: Final = Kind(
    table="cli_rules",
    noun="CLI rule",
    path="cli-rules",
    key=("action", "match", "pai_match", "dialled_match", "to"),
    defaults={"match": "", "pai_match": "", "dialled_match": "", "to": ""},
    is_list=True,
)
"""In the order of the file where they are made; later ones go behind those that are there."""
PAYMENTS: Final = Kind(table="payments", noun="payment", path="payments", key=("key",), is_list=True)
"""Made under their key as `Idempotency-Key`."""
GATEWAYS: Final = Kind(
    table="gateways",
    noun="gateway",
    path="gateways",
    key=("host", "port", "transport"),
    defaults={"port": None, "transport": "udp"},
    is_list=True,
)
DIDS: Final = Kind(table="dids", noun="DID", path="/dids", key=("number",))
KINDS: Final = (
    Kind(table="clients", noun="client", path="/clients"),
    Kind(table="providers", noun="provider", path="/providers", children=(GATEWAYS,)),
    Kind(table="rate_cards", noun="rate card", path="/rate-cards"),
    Kind(
        table="customers",
        noun="customer",
        path="/customers",
        children=(ENDPOINTS, NUMBER_BLOCKS, SIP_USERS, INGRESS_ROUTES, CLI_RULES, PAYMENTS),
    ),
    DIDS,
)
"""In the order in which they can be made: what is referred to comes first."""


class Wanted(msgspec.Struct):
    """One thing that the file describes."""

    kind: Kind
    label: str
    """How it is shown: `customer Acme Voice`."""
    fields: Fields
    """As written, key fields included, references still by name."""
    deck: Path | None = None
    parent: Wanted | None = None
    id: int | None = None
    """Of the one that exists; set when it is made."""


class Step(msgspec.Struct):
    """One difference: a thing to make, fields to change, or a deck to load."""

    action: str
    """`create`, `change` or `load`."""
    wanted: Wanted
    changes: dict[str, tuple[Any, Any]]
    """Of each field: what it is (None where the thing does not exist) and what it shall be."""

    def as_json(self) -> dict[str, Any]:
        shown = {name: {"from": old, "to": new} for name, (old, new) in self.changes.items()}
        return {"action": self.action, "what": self.wanted.label, "changes": shown}


def read_file(path: Path) -> list[Wanted]:
    """What a file asks for, in the order in which it can be made.

    Raises:
        ApplyError: not readable, not TOML, or not of the shape that `config/example/example.toml` shows.
    """
    try:
        content = tomllib.loads(path.read_text())
    except OSError as error:
        raise ApplyError(f"{path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ApplyError(f"{path}: {error}") from error
    unknown = sorted(set(content) - {kind.table for kind in KINDS})
    if unknown:
        raise ApplyError(f"{path}: {unknown[0]}: not known here; use {', '.join(kind.table for kind in KINDS)}")
    found: list[Wanted] = []
    try:
        for kind in KINDS:
            found += _wanted(kind, content.get(kind.table, {}), None, path.parent, kind.table)
    except ApplyError as error:
        raise ApplyError(f"{path}: {error}") from error
    # A sell card names the buy cards that its calls may leave through.
    found.sort(key=lambda each: each.kind.table == "rate_cards" and "vendor_cards" in each.fields)
    order = [kind.table for kind in KINDS]
    found.sort(key=lambda each: order.index((each.parent or each).kind.table))
    return found


def _wanted(kind: Kind, written: Any, parent: Wanted | None, folder: Path, place: str) -> Iterator[Wanted]:
    named: list[tuple[str, str, Any]]
    if kind.is_list:
        if not isinstance(written, list):
            raise ApplyError(f"{place}: write [[{place}]] for each")
        named = [(f"{place}[{index}]", "", item) for index, item in enumerate(written)]
    else:
        if not isinstance(written, dict):
            raise ApplyError(f'{place}: write [{place}."its name"] for each')
        named = [(f'{place}."{name}"', name, item) for name, item in written.items()]
    for here, name, item in named:
        if not isinstance(item, dict):
            raise ApplyError(f"{here}: a table is wanted")
        fields = dict(kind.defaults) | {kind.key[0]: name} if not kind.is_list else dict(kind.defaults)
        children = {child.table: item.pop(child.table, {} if not child.is_list else []) for child in kind.children}
        deck = item.pop("deck", None) if kind.table == "rate_cards" else None
        fields.update(item)
        if kind is DIDS:
            fields["number"] = normalise_e164(name)
            if fields["number"] is None:
                raise ApplyError(f"{here}: no E.164 number")
        missing = [field for field in kind.key if field not in fields]
        if missing:
            raise ApplyError(f"{here}: {missing[0]} is missing")
        own = name or " ".join(str(fields[field]) for field in kind.key if fields[field] not in ("", None))
        label = f"{kind.noun} {own}" + (f" of {parent.label}" if parent is not None else "")
        this = Wanted(kind=kind, label=label, fields=fields, parent=parent)
        if deck is not None:
            this.deck = (folder / str(deck)).resolve()
            if not this.deck.is_file():
                raise ApplyError(f"{here}.deck: there is no file {this.deck}")
        yield this
        for child in kind.children:
            yield from _wanted(child, children[child.table], this, folder, f"{here}.{child.table}")


class Plan:
    """Compares a file with a running instance, and brings it about."""

    def __init__(self, client: ApiClient, wanted: list[Wanted], *, with_secrets: bool = False) -> None:
        self._client = client
        self._wanted = wanted
        self._with_secrets = with_secrets
        self._ids: dict[str, dict[str, int]] = {kind.table: {} for kind in KINDS}
        self._lists: dict[str, list[Fields]] = {}

    def steps(self) -> list[Step]:
        """Everything that differs; empty when there is nothing to do."""
        for kind in KINDS:
            # Nothing refers to a DID, and there may be very many.
            if kind is not DIDS:
                self._ids[kind.table] = {row["name"]: row["id"] for row in self._list(kind.path)}
        found: list[Step] = []
        for wanted in self._wanted:
            found += self._compare(wanted)
        return found

    def run(self, step: Step, progress: Callable[[int, int], None] | None = None) -> None:
        """Do one step; steps are done in their order.

        Raises:
            ApiError: the instance refused it.
        """
        wanted = step.wanted
        if step.action == "load":
            assert wanted.deck is not None
            path = f"/rate-cards/{wanted.id}/revisions"
            self._client.upload(path, wanted.deck, {"file_name": wanted.deck.name, "activate": True}, progress)
            return
        if wanted.kind is not DIDS:
            self._lists.clear()
        body = {name: value for name, (_, value) in self._resolve(wanted, step.changes).items()}
        if step.action == "create":
            key = str(body.pop("key")) if wanted.kind is PAYMENTS else ""
            answer = self._client.post(self._path(wanted), body, key=key)
            wanted.id = answer["id"]
            if wanted.parent is None and wanted.kind is not DIDS:
                self._ids[wanted.kind.table][wanted.fields["name"]] = answer["id"]
        elif wanted.kind is DIDS:
            apply_dids.change(self._client, self._row_path(wanted), body)
        else:
            self._client.patch(self._row_path(wanted), body)

    def _compare(self, wanted: Wanted) -> Iterator[Step]:
        row = self._find(wanted)
        if row is None:
            given = {name: value for name, value in wanted.fields.items() if value is not None}
            yield Step("create", wanted, {name: (None, value) for name, value in given.items()})
        else:
            wanted.id = row["id"]
            changes = dict(self._differences(wanted.fields, row))
            if wanted.kind is PAYMENTS:
                # What became of it since is its own life: completed, cancelled, taken back.
                changes.pop("status", None)
                for name, (now, new) in changes.items():
                    raise ApplyError(f"{wanted.label}: {name} is {now}, not {new}; a payment is never changed")
            if changes:
                yield Step("change", wanted, changes)
        if wanted.deck is not None:
            digest = hashlib.sha256(wanted.deck.read_bytes()).hexdigest()
            active = self._active_digest(wanted)
            if digest != active:
                yield Step("load", wanted, {"deck": (active[:12] or None, f"{wanted.deck.name} ({digest[:12]})")})

    def _differences(self, fields: Fields, row: Fields) -> Iterator[tuple[str, tuple[Any, Any]]]:
        for name, value in fields.items():
            if name in SECRETS:
                if self._with_secrets:
                    yield name, (None, value)
                continue
            field, now = name, row.get(name)
            expected = value
            if name in REFERENCES:
                field, table = REFERENCES[name]
                now = _name_of(row.get(field), self._ids[table])
            elif name in REFERENCE_LISTS:
                field = REFERENCE_LISTS[name]
                now = [_name_of(each, self._ids["rate_cards"]) for each in row.get(field) or []]
            elif name == "destinations":
                now = apply_dids.destination_names(self._list, row)
                if apply_dids.is_same_place(value, now):
                    continue
            elif name in GROUPS and isinstance(value, dict) and isinstance(now, dict):
                now = {part: now.get(part) for part in value}
            if not _is_same(name, expected, now):
                yield name, (now, expected)

    def _resolve(self, wanted: Wanted, changes: dict[str, tuple[Any, Any]]) -> dict[str, tuple[Any, Any]]:
        """References by name as ids, now that what they name exists."""
        found: dict[str, tuple[Any, Any]] = {}
        for name, (old, new) in changes.items():
            if name in REFERENCES:
                field, table = REFERENCES[name]
                found[field] = (old, self._id(table, new, name))
            elif name == "destinations":
                found[name] = (old, self._destinations(wanted, new))
            elif name in REFERENCE_LISTS:
                found[REFERENCE_LISTS[name]] = (old, [self._id("rate_cards", each, name) for each in new])
            else:
                found[name] = (old, new)
        return found

    def _destinations(self, wanted: Wanted, written: Any) -> list[Fields]:
        owner = wanted.fields.get("customer")
        customer_id = None if owner is None else self._id("customers", owner, "customer")
        try:
            return apply_dids.destination_ids(self._list, customer_id, written)
        except apply_dids.UnknownDestination as error:
            raise ApplyError(f"{wanted.label}: destinations: {error}") from error

    def _id(self, table: str, name: str, field: str) -> int:
        try:
            return self._ids[table][name]
        except KeyError:
            raise ApplyError(f'{field}: there is no {table.rstrip("s").replace("_", " ")} "{name}"') from None

    def _find(self, wanted: Wanted) -> Fields | None:
        if wanted.parent is not None and wanted.parent.id is None:
            return None
        key = [wanted.fields[field] for field in wanted.kind.key]
        if wanted.kind is PAYMENTS:
            # There may be very many; the list is asked for the one.
            return next(self._client.items(self._path(wanted), {"key": key[0]}), None)
        if wanted.kind is DIDS:
            return next(self._client.items(wanted.kind.path, {"number": key[0]}), None)
        for row in self._list(self._path(wanted)):
            if [row.get(field) for field in wanted.kind.key] == key:
                return row
        return None

    def _active_digest(self, wanted: Wanted) -> str:
        if wanted.id is None:
            return ""
        for revision in self._client.items(f"/rate-cards/{wanted.id}/revisions"):
            if revision.get("is_active"):
                return str(revision.get("sha256", ""))
        return ""

    def _list(self, path: str) -> list[Fields]:
        if path not in self._lists:
            query = {"include": "inactive"} if path == "/clients" else None
            self._lists[path] = list(self._client.items(path, query))
        return self._lists[path]

    @staticmethod
    def _path(wanted: Wanted) -> str:
        if wanted.parent is None:
            return wanted.kind.path
        return f"{wanted.parent.kind.path}/{wanted.parent.id}/{wanted.kind.path}"

    def _row_path(self, wanted: Wanted) -> str:
        return f"{self._path(wanted)}/{wanted.id}"


def _name_of(wanted_id: int | None, names: dict[str, int]) -> str | None:
    return next((name for name, each in names.items() if each == wanted_id), None)


def _is_same(name: str, wanted: Any, now: Any) -> bool:
    if name in MONEY and wanted is not None and now is not None:
        try:
            return Decimal(str(wanted)) == Decimal(str(now))
        except InvalidOperation:
            return False
    return bool(wanted == now)
