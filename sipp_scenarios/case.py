"""The words that cases are written in: who calls, who answers, what must be seen afterwards."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import msgspec

from sipp_scenarios.places import Place
from sipp_scenarios.sipp import Message
from switch.records import Cdr
from switch.snapshot import Record


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """The customer's side: one SIPp that dials."""

    scenario: str = "uac_call"
    dialled: str = "442071000001"
    cli: str = "15551230000"
    calls: int = 1
    calls_per_s: int = 10
    pause_ms: int = 1_200
    """How long a plain call talks."""
    transport: Literal["udp", "tcp", "tls"] = "udp"
    from_stranger: bool = False
    """From an address that no endpoint has."""
    finals: tuple[int, ...] = (200,)
    """Final statuses to INVITEs that it must have seen, as a sorted set."""
    options: tuple[str, ...] = ()
    is_patient: bool = False
    """Unexpected messages are left alone: of scenarios that race or repeat themselves."""


class Vendor(msgspec.Struct, frozen=True, kw_only=True):
    """The vendor's side. Without a scenario it is a trap: nothing may reach it."""

    scenario: str = ""
    is_deaf: bool = False
    """Hears INVITEs and answers nothing; must have heard at least one."""
    is_absent: bool = False
    """Nobody listens there at all."""
    has_wrong_certificate: bool = False
    """TLS: its certificate names another; nothing may come through to it."""
    calls: int = 1
    pause_ms: int = 200
    """How long it rings, or talks before it hangs up."""
    transport: Literal["udp", "tcp", "tls"] = "udp"
    options: tuple[str, ...] = ()
    is_patient: bool = False


class Try(msgspec.Struct, frozen=True):
    """One attempt of a CDR: which vendor of the case, and how it went."""

    vendor: int
    status: int
    cause: str


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """What one CDR, or `times` of them, must say. Prices follow from the price lists by themselves."""

    cause: str = "normal"
    status: int = 200
    release: Literal["caller", "callee", "switch"] = "caller"
    talk_ms: tuple[int, int] | None = None
    """Window of the answered duration; None: not answered, and nothing charged."""
    tries: tuple[Try, ...] = ()
    number: str = "442071000001"
    """The E.164 number that is priced."""
    customer: int = 0
    """Which of the case's customers."""
    times: int = 1


class Played(msgspec.Struct, kw_only=True):
    """A case after it ran: all that its checks look at."""

    place: Place
    callers: list[list[Message]]
    vendors: list[list[Message]]
    cdrs: list[Cdr]


class Case(msgspec.Struct, frozen=True, kw_only=True):
    name: str
    what: str
    """One sentence: what is done and what must come of it."""
    callers: tuple[Caller, ...] = (Caller(),)
    vendors: tuple[Vendor, ...] = (Vendor(scenario="uas_answers"),)
    outcomes: tuple[Outcome, ...] = ()
    """Empty: no CDR at all, unless `check` says otherwise."""
    records: Callable[[Place, list[Record]], list[Record]] | None = None
    """Changes the case's records."""
    check: Callable[[Played], list[str]] | None = None
    """Looks for what the table cannot say; returns what is wrong."""
    has_own_count: bool = False
    """`check` counts the CDRs itself."""
    needs_default_timers: bool = False
    in_turn: bool = False
    """The callers call one after the other, not at once."""
    is_ipv6: bool = False
    timeout_s: float = 25.0
