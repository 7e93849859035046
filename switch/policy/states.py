"""Who may call out, and who is rung, by the state of customer and client: two statuses, both have to allow it."""

from __future__ import annotations

from switch.policy.causes import Cause
from switch.snapshot import Client, Customer


def state_cause(customer: Customer, client: Client | None, now_ms: int) -> Cause | None:
    """Why this customer's outbound calls are refused; None: they are not.

    A client that the customer names but that is not there refuses as one that is not active does:
    nobody is served whose contract cannot be read.
    """
    status = customer.status
    if status == "active":
        pass
    elif status == "pending_approval":
        return Cause.CUSTOMER_PENDING
    elif status == "inactive":
        return Cause.CUSTOMER_INACTIVE
    elif customer.penalty_until_ms is None or now_ms < customer.penalty_until_ms:
        return Cause.CUSTOMER_PENALTY
    if customer.client_id is None:
        return None
    if client is None:
        return Cause.CLIENT_NOT_ACTIVE
    state = client_state(client, now_ms)
    if state == "active":
        return None
    return Cause.CLIENT_SUSPENDED if state == "suspended" else Cause.CLIENT_NOT_ACTIVE


def inbound_cause(customer: Customer, client: Client | None, now_ms: int) -> Cause | None:
    """Why calls to this customer's numbers are refused; None: they ring.

    A penalty and a suspension are about calls out: whoever is called keeps being reached.
    """
    if customer.status == "pending_approval":
        return Cause.CUSTOMER_PENDING
    if customer.status == "inactive":
        return Cause.CUSTOMER_INACTIVE
    if customer.client_id is None:
        return None
    if client is None or client_state(client, now_ms) not in ("active", "suspended"):
        return Cause.CLIENT_NOT_ACTIVE
    return None


def client_state(client: Client, now_ms: int) -> str:
    """A client's status at a time: dates turn it without waiting for the control plane."""
    status: str = client.status
    if status == "scheduled" and client.starts_at_ms is not None and now_ms >= client.starts_at_ms:
        status = "active"
    if status in ("active", "suspended") and client.ends_at_ms is not None and now_ms >= client.ends_at_ms:
        return "inactive"
    return status
