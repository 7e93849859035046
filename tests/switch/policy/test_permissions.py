"""Where a SIP user may call: the longest beginning that fits decides, and policy refuses by it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switch.policy.causes import Cause
from switch.policy.decide import decide
from switch.policy.live import Live
from switch.policy.permissions import Permissions
from switch.policy.verdicts import Plan, Reject
from switch.snapshot import SipUser
from tests.fakes.carrier import DEFAULT_RECORDS, carrier, invite, with_

Pairs = tuple[tuple[str, bool], ...]
NATIONAL: Pairs = (("", False), ("44", True), ("449", False), ("442079460000", True))


@pytest.mark.parametrize(
    ("number", "is_allowed"),
    [
        ("442071838750", True),
        ("15551230001", False),
        ("449001234567", False),
        ("442079460000", True),
        ("44", True),
        ("4", False),
    ],
)
def test_the_longest_beginning_decides(number: str, is_allowed: bool) -> None:
    assert Permissions(NATIONAL).allow(number) is is_allowed


def test_what_nothing_fits_may_be_called() -> None:
    assert Permissions((("44", False),)).allow("15551230001")


digits = st.text("0123", max_size=4)


@given(pairs=st.dictionaries(digits, st.booleans(), max_size=12), number=st.text("0123", max_size=6))
def test_it_is_what_looking_at_every_beginning_finds(pairs: dict[str, bool], number: str) -> None:
    fitting = [prefix for prefix in pairs if number.startswith(prefix)]
    expected = pairs[max(fitting, key=len)] if fitting else True
    assert Permissions(tuple(pairs.items())).allow(number) is expected


@pytest.mark.parametrize(
    ("pairs", "is_refused"), [(NATIONAL, False), ((), False), ((("", False),), True), ((("4420", False),), True)]
)
def test_policy_refuses_what_a_user_may_not_call(tmp_path: Path, pairs: Pairs, is_refused: bool) -> None:
    tables = carrier(tmp_path, with_(DEFAULT_RECORDS, SipUser, 1, call_permissions=pairs))
    verdict = decide(tables, Live(), invite("+44 20 7946 0001", source_ip="203.0.113.9", user=tables.users[1]))
    if not is_refused:
        assert isinstance(verdict, Plan)
        return
    assert isinstance(verdict, Reject)
    assert (verdict.cause, verdict.cause.value, verdict.user_id) == (
        Cause.DESTINATION_BLOCKED,
        "destination_blocked",
        1,
    )
