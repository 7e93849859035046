"""Every reason why a call can be refused or ended, and the status that its caller is sent."""

from __future__ import annotations

from enum import StrEnum
from typing import Final


class Cause(StrEnum):
    """Why a call was refused or how it ended; the value stands in CDRs and in the Reason header."""

    # Refusals, in the order of admission.
    SOURCE_UNKNOWN = "source_unknown"
    CREDENTIALS_MISSING = "credentials_missing"
    CREDENTIALS_WRONG = "credentials_wrong"
    CREDENTIALS_THROTTLED = "credentials_throttled"
    CUSTOMER_INACTIVE = "customer_inactive"
    CUSTOMER_PENDING = "customer_pending"
    CUSTOMER_PENALTY = "customer_penalty"
    CLIENT_SUSPENDED = "client_suspended"
    CLIENT_NOT_ACTIVE = "client_not_active"
    CPS_EXCEEDED = "cps_exceeded"
    CHANNELS_EXCEEDED = "channels_exceeded"
    CODECS_REFUSED = "codecs_refused"
    BANDWIDTH_EXCEEDED = "bandwidth_exceeded"
    NUMBER_INVALID = "number_invalid"
    NO_INGRESS_ROUTE = "no_ingress_route"
    NO_SELL_RATE = "no_sell_rate"
    DESTINATION_BLOCKED = "destination_blocked"
    CLI_REFUSED = "cli_refused"
    BALANCE_INSUFFICIENT = "balance_insufficient"
    DAILY_SPEND_REACHED = "daily_spend_reached"
    NUMBER_UNASSIGNED = "number_unassigned"
    NO_DESTINATION = "no_destination"
    NO_VENDOR = "no_vendor"
    NO_MARGIN = "no_margin"
    VENDORS_EXHAUSTED = "vendors_exhausted"
    OVERLOAD = "overload"
    DRAINING = "draining"
    STORE_FAILED = "store_failed"
    # How calls that were let in come to an end.
    NORMAL = "normal"
    CANCELLED = "cancelled"
    BUSY = "busy"
    NO_ANSWER = "no_answer"
    REJECTED = "rejected"
    FAILED = "failed"
    MAX_DURATION = "max_duration"
    KILLED = "killed"
    NO_ACK = "no_ack"
    CREDIT_EXHAUSTED = "credit_exhausted"
    LOST_IN_RESTART = "lost_in_restart"
    SESSION_EXPIRED = "session_expired"
    KEEPALIVE_FAILED = "keepalive_failed"


STATUS: Final[dict[Cause, tuple[int, str]]] = {
    Cause.SOURCE_UNKNOWN: (403, "Forbidden"),
    Cause.CREDENTIALS_MISSING: (407, "Proxy Authentication Required"),
    Cause.CREDENTIALS_WRONG: (407, "Proxy Authentication Required"),
    Cause.CREDENTIALS_THROTTLED: (403, "Forbidden"),
    Cause.CUSTOMER_INACTIVE: (403, "Account Inactive"),
    Cause.CUSTOMER_PENDING: (403, "Account Not Approved"),
    Cause.CUSTOMER_PENALTY: (403, "Account Blocked"),
    Cause.CLIENT_SUSPENDED: (403, "Account Suspended"),
    Cause.CLIENT_NOT_ACTIVE: (403, "Account Not Active"),
    Cause.CPS_EXCEEDED: (503, "Call Rate Exceeded"),
    Cause.CHANNELS_EXCEEDED: (503, "Channel Limit Reached"),
    Cause.CODECS_REFUSED: (488, "Not Acceptable Here"),
    Cause.BANDWIDTH_EXCEEDED: (503, "Bandwidth Limit Reached"),
    Cause.NUMBER_INVALID: (484, "Address Incomplete"),
    Cause.NO_INGRESS_ROUTE: (404, "No Route"),
    Cause.NO_SELL_RATE: (404, "No Rate"),
    Cause.DESTINATION_BLOCKED: (403, "Destination Blocked"),
    Cause.CLI_REFUSED: (403, "Caller Number Refused"),
    Cause.BALANCE_INSUFFICIENT: (402, "Payment Required"),
    Cause.DAILY_SPEND_REACHED: (402, "Spend Limit Reached"),
    Cause.NUMBER_UNASSIGNED: (404, "Not Found"),
    Cause.NO_DESTINATION: (480, "Temporarily Unavailable"),
    Cause.NO_VENDOR: (503, "No Route Available"),
    Cause.NO_MARGIN: (503, "No Route Available"),
    Cause.VENDORS_EXHAUSTED: (503, "Service Unavailable"),
    Cause.OVERLOAD: (503, "Overload"),
    Cause.DRAINING: (503, "Service Unavailable"),
    Cause.STORE_FAILED: (503, "Service Unavailable"),
    Cause.LOST_IN_RESTART: (503, "Service Unavailable"),
    Cause.KILLED: (480, "Temporarily Unavailable"),
}
"""SPEC's table of refusals. The phrases tell nothing about vendors."""

RETRY_AFTER_S: Final[dict[Cause, int]] = {
    Cause.CPS_EXCEEDED: 1,
    Cause.OVERLOAD: 1,
    Cause.DRAINING: 30,
    Cause.STORE_FAILED: 10,
}
