"""`tandem apply`: a TOML file of what shall exist, compared with what does, and the steps between.

Names are keys, and refer to one another by name. Only what the file says is compared and changed:
a field that it leaves out keeps its value, and nothing is deleted. So a second run does nothing.
Payments have keys of their own, under which each is made once, and are never changed.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from typing import Any, Final

import msgspec

from control import apply_dids
from control.apply_file import ApplyError, Elsewhere, Fields, Wanted
from control.apply_kinds import CONTRACTS, DIDS, GROUPS, ONCE, PAYMENTS, SECRETS, WEBHOOKS
from control.apply_names import Names
from control.apply_schema import Schema
from control.apply_values import hidden, is_same, shown_text
from control.client import ApiClient

SECRET_MODE: Final = 0o600


class Step(msgspec.Struct):
    """One difference: a thing to make, fields to change, a deck to load, or a contract to revise."""

    action: str
    """`create`, `change`, `load` or `revise`."""
    wanted: Wanted
    changes: dict[str, tuple[Any, Any]]
    """Of each field: what it is (None where the thing does not exist) and what it shall be."""

    def shown(self) -> dict[str, tuple[Any, Any]]:
        """The changes as anybody may see them: what is secret, or stands elsewhere, is not in them."""
        return {name: hidden(name, old, new) for name, (old, new) in self.changes.items()}

    def as_json(self) -> dict[str, Any]:
        shown = {name: {"from": old, "to": new} for name, (old, new) in self.shown().items()}
        return {"action": self.action, "what": self.wanted.label, "changes": shown}


class Plan:
    """Compares a file with a running instance, and brings it about."""

    def __init__(self, client: ApiClient, wanted: list[Wanted], *, with_secrets: bool = False) -> None:
        self._client = client
        self._wanted = wanted
        self._with_secrets = with_secrets
        self._names = Names(client, wanted)
        self._notes: list[str] = []

    def steps(self) -> list[Step]:
        """Everything that differs; empty when there is nothing to do.

        Raises:
            ApplyError: the file asks for what cannot be; then nothing is done of it.
        """
        schema = Schema(self._client)
        for wanted in self._wanted:
            schema.check(wanted)
            self._names.check(wanted)
        found: list[Step] = []
        for wanted in self._wanted:
            found += self._compare(wanted)
        for step in found:
            if step.action == "create":
                schema.check_whole(step.wanted)
            _check_elsewhere(step)
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
        if step.action == "revise":
            assert wanted.revision is not None
            self._client.post(f"/contracts/{wanted.id}/revisions", self._names.resolve(wanted, wanted.revision))
            return
        if wanted.kind is not DIDS:
            self._names.forget_lists()
        body = self._names.resolve(wanted, {name: new for name, (_, new) in step.changes.items()})
        if step.action == "create":
            key = str(body.pop("key")) if wanted.kind is PAYMENTS else ""
            answer = self._client.post(self._path(wanted), body, key=key)
            wanted.id = answer["id"]
            self._names.note(wanted, answer["id"])
            if wanted.kind is WEBHOOKS:
                self._keep_secret(wanted, answer["secret"])
        elif wanted.kind is DIDS:
            apply_dids.change(self._client, self._row_path(wanted), body)
        else:
            self._client.patch(self._row_path(wanted), body)

    def take_notes(self) -> list[str]:
        """What whoever runs it should know of the steps done since this was asked last."""
        notes, self._notes = self._notes, []
        return notes

    def _compare(self, wanted: Wanted) -> Iterator[Step]:
        row = self._find(wanted)
        if row is None:
            self._check_paid_once(wanted)
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
            for name in wanted.kind.fixed:
                if name in changes:
                    now, new = changes[name]
                    raise ApplyError(f"{wanted.label}: {name} is {now}, not {new}; {wanted.kind.advice}")
            if changes:
                yield Step("change", wanted, changes)
        if wanted.deck is not None:
            digest = hashlib.sha256(wanted.deck.read_bytes()).hexdigest()
            active = self._active_digest(wanted)
            if digest != active:
                yield Step("load", wanted, {"deck": (active[:12] or None, f"{wanted.deck.name} ({digest[:12]})")})
        if wanted.kind is CONTRACTS and wanted.revision is not None:
            yield from self._revised(wanted, wanted.revision)

    def _revised(self, wanted: Wanted, revision: Fields) -> Iterator[Step]:
        """Where the contract's last revision says something else, another one."""
        path = f"/contracts/{wanted.id}/revisions"
        last: Fields = {} if wanted.id is None else next(iter(self._client.get(path, {"limit": 1})["items"]), {})
        changes: dict[str, tuple[Any, Any]] = {}
        for name, value in revision.items():
            now = self._names.current(name, last)
            if now != value:
                changes[name] = (shown_text(now), shown_text(value)) if name == "text" else (now, value)
        if changes:
            yield Step("revise", wanted, changes)

    def _differences(self, fields: Fields, row: Fields) -> Iterator[tuple[str, tuple[Any, Any]]]:
        for name, value in fields.items():
            if name in SECRETS or name in ONCE:
                if self._with_secrets:
                    yield name, (None, value)
                continue
            now = self._names.current(name, row)
            if name in GROUPS and isinstance(value, dict) and isinstance(now, dict):
                now = {part: now.get(part) for part in value}
            if not is_same(name, value.read() if isinstance(value, Elsewhere) else value, now):
                yield name, (now, value)

    def _find(self, wanted: Wanted) -> Fields | None:
        if wanted.parent is not None and wanted.parent.id is None:
            return None
        kind = wanted.kind
        if kind.found_by:
            return next(self._client.items(self._path(wanted), {kind.found_by: wanted.fields[kind.key[0]]}), None)
        for row in self._names.rows(self._path(wanted)):
            if any(row.get(name) != value for name, value in kind.only.items()):
                continue
            if all(is_same(name, wanted.fields[name], self._names.current(name, row)) for name in kind.key):
                return row
        return None

    def _check_paid_once(self, wanted: Wanted) -> None:
        """That the same is not bought twice because its first day is another one by now."""
        kind = wanted.kind
        if not kind.paid_for or wanted.parent is None or wanted.parent.id is None:
            return
        what, first, last = kind.paid_for
        named = [each.fields for each in self._wanted if each.kind is kind and each.parent is wanted.parent]
        for row in self._names.rows(self._path(wanted)):
            if not is_same(what, wanted.fields[what], self._names.current(what, row)):
                continue
            if row[last] is not None and row[last] < str(wanted.fields[first]):
                continue
            if not any(
                all(is_same(name, each[name], self._names.current(name, row)) for name in kind.key) for each in named
            ):
                raise ApplyError(
                    f"{wanted.label}: one from {row[first]} runs, which the file does not have; "
                    f"write that {first}, or end that one first"
                )

    def _active_digest(self, wanted: Wanted) -> str:
        if wanted.id is None:
            return ""
        for revision in self._client.items(f"/rate-cards/{wanted.id}/revisions"):
            if revision.get("is_active"):
                return str(revision.get("sha256", ""))
        return ""

    def _keep_secret(self, wanted: Wanted, secret: str) -> None:
        if wanted.secret_file is None:
            rotate = f"POST /api/v1/webhooks/{wanted.id}/rotate-secret"
            self._notes.append(f"{wanted.label}: its secret was not kept (no secret_file); {rotate} makes another")
            return
        try:
            descriptor = os.open(wanted.secret_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, SECRET_MODE)
            with os.fdopen(descriptor, "w") as file:
                file.write(secret + "\n")
        except OSError as error:
            raise ApplyError(f"{wanted.label}: {wanted.secret_file}: {error.strerror}") from error
        self._notes.append(f"{wanted.label}: its secret is in {wanted.secret_file}")

    @staticmethod
    def _path(wanted: Wanted) -> str:
        if wanted.parent is None:
            return wanted.kind.path
        return f"{wanted.parent.kind.path}/{wanted.parent.id}/{wanted.kind.path}"

    def _row_path(self, wanted: Wanted) -> str:
        return f"{self._path(wanted)}/{wanted.id}"


def _check_elsewhere(step: Step) -> None:
    """That what the file only points to is there, before anything is done."""
    for _, new in step.changes.values():
        if isinstance(new, Elsewhere):
            new.read()
    target = step.wanted.secret_file
    if step.action == "create" and target is not None:
        if target.exists():
            raise ApplyError(f"{step.wanted.label}: secret_file: {target} exists already")
        if not os.access(target.parent, os.W_OK):
            raise ApplyError(f"{step.wanted.label}: secret_file: {target.parent} cannot be written")
