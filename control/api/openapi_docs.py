"""What fields mean, for the OpenAPI document: the words that stand below them in the source.

A struct's field is followed by a string that says its unit and its rules. They are read from the modules'
own source, once each, so that the document says what the code says and nobody writes it twice.
"""

from __future__ import annotations

import ast
import inspect
import sys
from functools import cache
from itertools import pairwise
from typing import Any, Final

import msgspec

COMMON: Final[dict[str, str]] = {
    "action": "What was done, as the audit or the rule names it.",
    "actor_name": "Who did it.",
    "after": "Only what came after this: the header `Tandem-Next-Cursor` of the download before.",
    "answered": "Calls that were answered, or that were not.",
    "auto_decrement": "Charged by themselves at each period, or not.",
    "billing_ref": "With this reference.",
    "call_id": "With this Call-ID.",
    "client_id": "Of this client.",
    "currency": "In this currency (ISO 4217).",
    "cursor": "`next_cursor` of the page before.",
    "customer_card_id": "Priced to the customer by this card.",
    "customer_id": "Of this customer.",
    "did_id": "Of this DID.",
    "direction": "Of this direction.",
    "email": "With this e-mail address.",
    "enabled": "Those that are enabled, or that are not.",
    "kind": "Of this kind.",
    "code": "With this final SIP status.",
    "file_name": "Kept with the file.",
    "from": "From this time on …",
    "to": "… and before this one.",
    "route_id": "Of this ingress route.",
    "step": "Length of the periods that are summed up.",
    "key": "With this `Idempotency-Key`.",
    "limit": "Rows on a page.",
    "noun": "Of rows of this kind.",
    "noun_id": "Of this row; with `noun`.",
    "number": "With this number in it.",
    "office_id": "Of this office.",
    "package_id": "Of this package.",
    "product_id": "Of this product.",
    "prefix": "With this prefix.",
    "provider_card_id": "Bought by this card.",
    "provider_id": "Of this provider.",
    "rate_card_id": "That sell by this rate card.",
    "realm": "In this realm.",
    "role": "With this role.",
    "room": "With this room's name.",
    "search": "Part of a text, whatever the case; the summary names where it is looked for.",
    "site_id": "Of this site.",
    "source": "From this address.",
    "state": "In this state.",
    "status": "In this status.",
    "tech_prefix": "With this tech prefix.",
    "time_zone": "IANA name, such as Europe/London.",
    "transport": "Over this transport.",
    "type": "Of this type.",
    "username": "With this user name.",
    "cause": "That ended for this cause.",
    "row_version": "Of the row as it was read; the change is refused with 409 where it is another by now.",
}
"""Filters and fields whose name says it nearly."""


def field_docs(kind: type[msgspec.Struct]) -> dict[str, str]:
    """Of each field that has one, by the name that clients use."""
    found: dict[str, str] = {}
    for base in reversed(kind.__mro__):
        if issubclass(base, msgspec.Struct) and base is not msgspec.Struct:
            found.update(_of_module(base.__module__).get(base.__qualname__.split("[")[0], {}))
    names = dict(zip(kind.__struct_fields__, kind.__struct_encode_fields__, strict=True))
    return {names[name]: text for name, text in found.items() if name in names}


def describe(components: dict[str, Any], kinds: list[Any]) -> None:
    """Give every property of every struct that these types lead to its words, where it has none yet."""
    for kind in _structs(kinds):
        schema = components.get(kind.__name__)
        if schema is None:
            continue
        docs = field_docs(kind)
        for name, field in schema.get("properties", {}).items():
            text = docs.get(name, "")
            # Beside a reference, OpenAPI 3.1 takes a description of the place that refers.
            if text and "description" not in field:
                field["description"] = text


@cache
def _of_module(name: str) -> dict[str, dict[str, str]]:
    try:
        tree = ast.parse(inspect.getsource(sys.modules[name]))
    except (OSError, KeyError, SyntaxError):
        return {}  # an installation without sources
    return {node.name: _of_class(node) for node in tree.body if isinstance(node, ast.ClassDef)}


def _of_class(node: ast.ClassDef) -> dict[str, str]:
    found: dict[str, str] = {}
    for field, words in pairwise(node.body):
        if not (isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name)):
            continue
        if isinstance(words, ast.Expr) and isinstance(words.value, ast.Constant):
            text = words.value.value
            if isinstance(text, str):
                found[field.target.id] = inspect.cleandoc(text).replace("\n", " ")
    return found


def _structs(kinds: list[Any]) -> list[type[msgspec.Struct]]:
    found: dict[type[msgspec.Struct], None] = {}
    waiting: list[Any] = list(msgspec.inspect.multi_type_info(kinds))
    while waiting:
        info = waiting.pop()
        if isinstance(info, msgspec.inspect.StructType):
            if info.cls in found:
                continue
            found[info.cls] = None
            waiting.extend(field.type for field in info.fields)
        elif isinstance(info, msgspec.inspect.Metadata):
            waiting.append(info.type)
        else:
            for name in ("types", "item_types"):
                waiting.extend(getattr(info, name, ()))
            for name in ("item_type", "key_type", "value_type"):
                if getattr(info, name, None) is not None:
                    waiting.append(getattr(info, name))
    return list(found)
