"""E-mail addresses as fields: their form, and what makes two of them one."""

from __future__ import annotations

import re
from typing import Final

from control.services.errors import invalid
from control.services.fields import name_key

_EMAIL: Final = re.compile(r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@(?:(?!-)[A-Za-z0-9-]{1,63}\.)+[A-Za-z]{2,63}")


def check_email(path: str, text: str) -> None:
    """The dot-atom form of RFC 5321 §4.1.2; nobody receives mail at the others."""
    if len(text) > 254 or not _EMAIL.fullmatch(text) or ".." in text or text.startswith("."):
        raise invalid(path, "not an e-mail address")


def email_key(text: str) -> str:
    """No provider tells addresses apart by case, whatever RFC 5321 §2.4 would let them."""
    return name_key(text)
