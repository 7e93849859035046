"""Which statuses may call out, and when dates turn them."""

from __future__ import annotations

from typing import Any

import pytest

from switch.policy.causes import Cause
from switch.policy.states import client_state, state_cause
from switch.snapshot import Client, Customer


@pytest.mark.parametrize(
    ("status", "starts", "ends", "state_before", "state_between", "state_after"),
    [
        ("new", 10, 20, "new", "new", "new"),
        ("scheduled", 10, 20, "scheduled", "active", "inactive"),
        ("scheduled", None, None, "scheduled", "scheduled", "scheduled"),
        ("active", None, None, "active", "active", "active"),
        ("active", None, 20, "active", "active", "inactive"),
        ("suspended", None, 20, "suspended", "suspended", "inactive"),
        ("inactive", 10, 20, "inactive", "inactive", "inactive"),
    ],
)
def test_a_client_turns_by_its_dates(
    status: Any, starts: int | None, ends: int | None, state_before: str, state_between: str, state_after: str
) -> None:
    client = Client(id=1, name="c", status=status, starts_at_ms=starts, ends_at_ms=ends)
    assert client_state(client, 9) == state_before
    assert client_state(client, 10) == client_state(client, 19) == state_between
    assert client_state(client, 20) == state_after


@pytest.mark.parametrize(
    ("status", "cause"),
    [
        ("active", None),
        ("inactive", Cause.CUSTOMER_INACTIVE),
        ("pending_approval", Cause.CUSTOMER_PENDING),
        ("penalty", Cause.CUSTOMER_PENALTY),
    ],
)
def test_only_an_active_customer_calls(status: Any, cause: Cause | None) -> None:
    assert state_cause(Customer(id=1, name="c", status=status), None, 0) is cause


def test_a_penalty_ends_by_itself() -> None:
    customer = Customer(id=1, name="c", status="penalty", penalty_until_ms=100)
    assert state_cause(customer, None, 99) is Cause.CUSTOMER_PENALTY
    assert state_cause(customer, None, 100) is None


@pytest.mark.parametrize(
    ("status", "cause"),
    [
        ("active", None),
        ("suspended", Cause.CLIENT_SUSPENDED),
        ("new", Cause.CLIENT_NOT_ACTIVE),
        ("scheduled", Cause.CLIENT_NOT_ACTIVE),
        ("inactive", Cause.CLIENT_NOT_ACTIVE),
    ],
)
def test_the_client_has_to_allow_it_too(status: Any, cause: Cause | None) -> None:
    customer = Customer(id=1, name="c", status="active", client_id=5)
    assert state_cause(customer, Client(id=5, name="x", status=status), 0) is cause


def test_a_client_that_is_not_there_allows_nothing() -> None:
    assert state_cause(Customer(id=1, name="c", status="active", client_id=5), None, 0) is Cause.CLIENT_NOT_ACTIVE
