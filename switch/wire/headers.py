"""Header names and the small integers that stand for them (RFC 3261 §7.3, §20).

Ids are ordered: a header that a proxy edits, strips or reads on each message is at most
`TOUCHED_MAX`, everything above leaves as it came.
"""

from __future__ import annotations

from typing import Final

from switch.wire.errors import ParseError
from switch.wire.scan import is_token

VIA: Final = 0
FROM: Final = 1
TO: Final = 2
CALL_ID: Final = 3
CSEQ: Final = 4
MAX_FORWARDS: Final = 5
ROUTE: Final = 6
RECORD_ROUTE: Final = 7
CONTACT: Final = 8
CONTENT_LENGTH: Final = 9
PROXY_AUTHORIZATION: Final = 10
AUTHORIZATION: Final = 11
PROXY_REQUIRE: Final = 12

# Screened: what of them passes from one side of a call to the other is a matter of configuration.
P_ASSERTED_IDENTITY: Final = 13
P_PREFERRED_IDENTITY: Final = 14
REMOTE_PARTY_ID: Final = 15
P_CHARGE_INFO: Final = 16
P_CHARGING_VECTOR: Final = 17
P_CHARGING_FUNCTION_ADDRESSES: Final = 18
P_ACCESS_NETWORK_INFO: Final = 19
P_SERVED_USER: Final = 20
PRIVACY: Final = 21
X_HEADER: Final = 22
"""Any header that we do not know and whose name begins with `X-`."""

SCREENED_MIN: Final = P_ASSERTED_IDENTITY
"""From here to `X_HEADER`, all."""

TOUCHED_MAX: Final = 31

REQUIRE: Final = 32
SUPPORTED: Final = 33
CONTENT_TYPE: Final = 34
EXPIRES: Final = 35
RETRY_AFTER: Final = 36
WARNING: Final = 37
REASON: Final = 38
USER_AGENT: Final = 39
SERVER: Final = 40
ALLOW: Final = 41
UNSUPPORTED: Final = 42
PROXY_AUTHENTICATE: Final = 43
WWW_AUTHENTICATE: Final = 44
SESSION_EXPIRES: Final = 45
MIN_SE: Final = 46
DIVERSION: Final = 48
HISTORY_INFO: Final = 49
RACK: Final = 50
RSEQ: Final = 51
REFER_TO: Final = 52
EVENT: Final = 53
CONTENT_ENCODING: Final = 54
ACCEPT: Final = 55
DATE: Final = 56
SUBJECT: Final = 57
TIMESTAMP: Final = 58
ORGANIZATION: Final = 59
ACCEPT_CONTACT: Final = 60
ALLOW_EVENTS: Final = 61
REFERRED_BY: Final = 62
REJECT_CONTACT: Final = 63
REQUEST_DISPOSITION: Final = 64
IDENTITY: Final = 65
REPLACES: Final = 66
CONTENT_DISPOSITION: Final = 67
ALERT_INFO: Final = 68
CALL_INFO: Final = 69
PATH: Final = 70
SERVICE_ROUTE: Final = 71
MIN_EXPIRES: Final = 72
IN_REPLY_TO: Final = 73
ACCEPT_LANGUAGE: Final = 74
ACCEPT_ENCODING: Final = 75
USER_TO_USER: Final = 76
P_EARLY_MEDIA: Final = 77
GEOLOCATION: Final = 78
MIME_VERSION: Final = 79
AUTHENTICATION_INFO: Final = 80
SUBSCRIPTION_STATE: Final = 81
SESSION_ID: Final = 82
MAX_BREADTH: Final = 83

OTHER: Final = 255

NAMES: Final[dict[int, bytes]] = {
    VIA: b"Via",
    FROM: b"From",
    TO: b"To",
    CALL_ID: b"Call-ID",
    CSEQ: b"CSeq",
    MAX_FORWARDS: b"Max-Forwards",
    ROUTE: b"Route",
    RECORD_ROUTE: b"Record-Route",
    CONTACT: b"Contact",
    CONTENT_LENGTH: b"Content-Length",
    PROXY_AUTHORIZATION: b"Proxy-Authorization",
    AUTHORIZATION: b"Authorization",
    P_ASSERTED_IDENTITY: b"P-Asserted-Identity",
    P_PREFERRED_IDENTITY: b"P-Preferred-Identity",
    P_CHARGING_VECTOR: b"P-Charging-Vector",
    P_CHARGING_FUNCTION_ADDRESSES: b"P-Charging-Function-Addresses",
    P_ACCESS_NETWORK_INFO: b"P-Access-Network-Info",
    P_SERVED_USER: b"P-Served-User",
    PROXY_REQUIRE: b"Proxy-Require",
    REMOTE_PARTY_ID: b"Remote-Party-ID",
    P_CHARGE_INFO: b"P-Charge-Info",
    REQUIRE: b"Require",
    SUPPORTED: b"Supported",
    CONTENT_TYPE: b"Content-Type",
    EXPIRES: b"Expires",
    RETRY_AFTER: b"Retry-After",
    WARNING: b"Warning",
    REASON: b"Reason",
    USER_AGENT: b"User-Agent",
    SERVER: b"Server",
    ALLOW: b"Allow",
    UNSUPPORTED: b"Unsupported",
    PROXY_AUTHENTICATE: b"Proxy-Authenticate",
    WWW_AUTHENTICATE: b"WWW-Authenticate",
    SESSION_EXPIRES: b"Session-Expires",
    MIN_SE: b"Min-SE",
    PRIVACY: b"Privacy",
    DIVERSION: b"Diversion",
    HISTORY_INFO: b"History-Info",
    RACK: b"RAck",
    RSEQ: b"RSeq",
    REFER_TO: b"Refer-To",
    EVENT: b"Event",
    CONTENT_ENCODING: b"Content-Encoding",
    ACCEPT: b"Accept",
    DATE: b"Date",
    SUBJECT: b"Subject",
    TIMESTAMP: b"Timestamp",
    ORGANIZATION: b"Organization",
    ACCEPT_CONTACT: b"Accept-Contact",
    ALLOW_EVENTS: b"Allow-Events",
    REFERRED_BY: b"Referred-By",
    REJECT_CONTACT: b"Reject-Contact",
    REQUEST_DISPOSITION: b"Request-Disposition",
    IDENTITY: b"Identity",
    REPLACES: b"Replaces",
    CONTENT_DISPOSITION: b"Content-Disposition",
    ALERT_INFO: b"Alert-Info",
    CALL_INFO: b"Call-Info",
    PATH: b"Path",
    SERVICE_ROUTE: b"Service-Route",
    MIN_EXPIRES: b"Min-Expires",
    IN_REPLY_TO: b"In-Reply-To",
    ACCEPT_LANGUAGE: b"Accept-Language",
    ACCEPT_ENCODING: b"Accept-Encoding",
    USER_TO_USER: b"User-to-User",
    P_EARLY_MEDIA: b"P-Early-Media",
    GEOLOCATION: b"Geolocation",
    MIME_VERSION: b"MIME-Version",
    AUTHENTICATION_INFO: b"Authentication-Info",
    SUBSCRIPTION_STATE: b"Subscription-State",
    SESSION_ID: b"Session-ID",
    MAX_BREADTH: b"Max-Breadth",
}
"""The spelling that we write ourselves."""

# The compact forms that IANA has registered (RFC 3261 §7.3.3 and later RFCs).
COMPACT: Final[dict[bytes, int]] = {
    b"a": ACCEPT_CONTACT,
    b"b": REFERRED_BY,
    b"c": CONTENT_TYPE,
    b"d": REQUEST_DISPOSITION,
    b"e": CONTENT_ENCODING,
    b"f": FROM,
    b"i": CALL_ID,
    b"j": REJECT_CONTACT,
    b"k": SUPPORTED,
    b"l": CONTENT_LENGTH,
    b"m": CONTACT,
    b"n": IDENTITY,
    b"o": EVENT,
    b"r": REFER_TO,
    b"s": SUBJECT,
    b"t": TO,
    b"u": ALLOW_EVENTS,
    b"v": VIA,
    b"x": SESSION_EXPIRES,
}


def _lower_names() -> dict[bytes, int]:
    known = {name.lower(): hid for hid, name in NAMES.items()}
    known.update(COMPACT)
    return known


def _spellings() -> dict[bytes, int]:
    known = _lower_names()
    known.update({name: hid for hid, name in NAMES.items()})
    known.update({name.title(): hid for hid, name in NAMES.items()})
    known.update({name.upper(): hid for hid, name in NAMES.items()})
    return known


_LOWER: Final[dict[bytes, int]] = _lower_names()

SPELLINGS: Final[dict[bytes, int]] = _spellings()
"""Names as nearly every peer writes them; a miss goes to `slow_header_id`."""


def slow_header_id(name: bytes) -> int:
    """The id of a name in any case, with blanks before its colon; OTHER or X_HEADER for one that we do not know.

    Raises:
        ParseError: the name is no token. A control byte must never make a header unknown here
            and known to the next hop, or the other way about.
    Source: RFC 3261 §7.3.1, §25.1 (HCOLON).
    """
    bare = name.rstrip(b" \t")
    if not is_token(bare):
        raise ParseError("bad header name")
    lower = bare.lower()
    return _LOWER.get(lower, X_HEADER if lower.startswith(b"x-") else OTHER)


def header_id(name: bytes) -> int:
    """The id of a header name as it stood before its colon.

    Raises:
        ParseError: the name is no token.
    """
    hid = SPELLINGS.get(name, -1)
    return hid if hid >= 0 else slow_header_id(name)
