"""Fields that the instance knows, by its own OpenAPI document: a misspelt one refuses a file of `tandem apply`."""

from __future__ import annotations

from typing import Any

from control.apply_file import ApplyError, Fields, Wanted
from control.apply_kinds import LOOKUPS, PAYMENTS, REFERENCE_LISTS, REFERENCES, Kind
from control.client import API, ApiClient


class Schema:
    def __init__(self, client: ApiClient) -> None:
        self._document: Fields = client.get("/openapi.json")
        self._bodies: dict[str, Fields] = {}

    def check(self, wanted: Wanted) -> None:
        """That every field is one of the kind's.

        Raises:
            ApplyError: naming the first that is not.
        """
        known = self._body(wanted).get("properties", {})
        for name in wanted.fields:
            if _sent_as(name) not in known and (wanted.kind, name) != (PAYMENTS, "key"):
                raise ApplyError(f"{wanted.label}: {name} is not known here; use {', '.join(map(_written_as, known))}")

    def check_whole(self, wanted: Wanted) -> None:
        """That nothing is missing of what it takes to make it."""
        given = {_sent_as(name) for name, value in wanted.fields.items() if value is not None}
        for name in self._body(wanted).get("required", ()):
            if name not in given:
                raise ApplyError(f"{wanted.label}: {_written_as(name)} is missing")

    def _body(self, wanted: Wanted) -> Fields:
        """The schema of what the API takes to make one."""
        path = _path(wanted.kind, None if wanted.parent is None else wanted.parent.kind)
        if path not in self._bodies:
            self._bodies[path] = self._read(path)
        return self._bodies[path]

    def _read(self, path: str) -> Fields:
        for name, methods in self._document["paths"].items():
            if _pattern(name) == path and "post" in methods:
                schema: Fields = methods["post"]["requestBody"]["content"]["application/json"]["schema"]
                reference = schema.get("$ref")
                if reference is not None:
                    schema = self._document["components"]["schemas"][reference.rpartition("/")[2]]
                return schema
        raise ApplyError(f"this instance knows no {path.rpartition('/')[2]}")


def _path(kind: Kind, parent: Kind | None) -> str:
    return f"{API}{kind.path}" if parent is None else f"{API}{parent.path}/*/{kind.path}"


def _pattern(path: str) -> str:
    return "/".join("*" if part.startswith("{") else part for part in path.split("/"))


def _sent_as(name: str) -> str:
    if name in REFERENCES:
        return REFERENCES[name][0]
    return LOOKUPS[name].field if name in LOOKUPS else REFERENCE_LISTS.get(name, name)


_WRITTEN: dict[str, Any] = {
    **{field: name for name, (field, _) in REFERENCES.items()},
    **{lookup.field: name for name, lookup in LOOKUPS.items()},
    **{field: name for name, field in REFERENCE_LISTS.items()},
}


def _written_as(field: str) -> str:
    return str(_WRITTEN.get(field, field))
