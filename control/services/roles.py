"""Who may do what: the table of roles and their permissions, read by every route.

A route names the least role that it is for; that role stands for one permission, and every role that
has the permission is let in. So a new role is a line here, and no route changes.
"""

from __future__ import annotations

from typing import Final, Literal

from control.services.context import Role

Permission = Literal["read", "money", "configure", "administer"]
"""`money`: payments, adjustments, packages, invoices, recalculations, credit. `configure`: everything that
calls go by, and calls themselves. `administer`: keys and the audit trail."""

PERMISSIONS: Final[dict[Role, frozenset[Permission]]] = {
    "read-only": frozenset({"read"}),
    "billing": frozenset({"read", "money"}),
    "operator": frozenset({"read", "money", "configure"}),
    "admin": frozenset({"read", "money", "configure", "administer"}),
}

STANDS_FOR: Final[dict[Role, Permission]] = {
    "read-only": "read",
    "billing": "money",
    "operator": "configure",
    "admin": "administer",
}
"""What a route asks for by the role that it names."""


def may(role: Role, least: Role) -> bool:
    """Whether a key of `role` is let in where `least` is named."""
    return STANDS_FOR[least] in PERMISSIONS[role]


def roles_for(least: Role) -> list[Role]:
    """Every role that is let in, the one with the fewest permissions first."""
    return [role for role in PERMISSIONS if may(role, least)]
