"""Values of `tandem apply`: when two of them are the same, and what is shown of those that are secret."""

from __future__ import annotations

import hashlib
import ipaddress
from decimal import Decimal, InvalidOperation
from typing import Any

from control import apply_dids
from control.apply_file import Elsewhere
from control.apply_kinds import MONEY, SECRETS, SETS
from rating.numbers import normalise_e164


def is_same(name: str, wanted: Any, now: Any) -> bool:
    """Whether a field has what the file says, however either is written."""
    if name in MONEY and wanted is not None and now is not None:
        try:
            return Decimal(str(wanted)) == Decimal(str(now))
        except InvalidOperation:
            return False
    if name == "destinations":
        return bool(apply_dids.is_same_place(wanted, now))
    if name == "recipients":
        return bool(_recipients(wanted) == _recipients(now))
    if name in SETS and isinstance(wanted, list) and isinstance(now, list):
        return sorted(map(str, wanted)) == sorted(map(str, now))
    if name in ("phone", "did"):
        return bool(_digits(wanted) == _digits(now))
    if name == "email" and isinstance(wanted, str) and isinstance(now, str):
        return wanted.casefold() == now.casefold()
    if name == "ip_allow_list" and isinstance(wanted, list) and isinstance(now, list):
        return [_network(each) for each in wanted] == [_network(each) for each in now]
    return bool(wanted == now)


def hidden(name: str, old: Any, new: Any) -> tuple[Any, Any]:
    """A change as it may be printed."""
    if isinstance(new, Elsewhere):
        return (None if old is None or name in SECRETS else "(hidden)"), str(new)
    return (None, "(set)") if name in SECRETS else (old, new)


def shown_text(text: str | None) -> str | None:
    """A long text in a few words."""
    if text is None:
        return None
    return f"{len(text)} characters ({hashlib.sha256(text.encode()).hexdigest()[:12]})"


def _digits(value: Any) -> Any:
    return normalise_e164(value) or value if isinstance(value, str) else value


def _recipients(value: Any) -> Any:
    if not isinstance(value, list):
        return value
    return [{kind: _digits(each[kind]) if kind == "phone" else each[kind] for kind in each} for each in value]


def _network(value: Any) -> Any:
    try:
        network = ipaddress.ip_network(value)
    except ValueError:
        return value
    return network.network_address if network.prefixlen == network.max_prefixlen else network
