"""Session timers as a switch takes part in them: read, offered, and put into answers (RFC 4028 §8).

A session timer is an agreement of the two user agents: one of them refreshes the session by re-INVITE
or UPDATE, and a session that was not refreshed in time is over. We pass their headers on, offer a
timer where the sender of a request knows them and asked for none, and hold both to what was agreed.

Headers are edited in the parsed message, which is then forwarded like any other: a message that needs
no edit leaves as it came.

Deviation: RFC 4028 §8.3 has a proxy forget an expired session without a BYE. A switch that bills has
to stop the clock, and says so to both sides (§10 is for the user agents, who do the same).
"""

from __future__ import annotations

from typing import Final

from switch.call.liveness import Liveness
from switch.wire.headers import MIN_SE, NAMES, REQUIRE, SESSION_EXPIRES, SUPPORTED
from switch.wire.message import Message, Request, Response

INTERVAL_MIN_S: Final = 90
"""No session timer is shorter, and Min-SE says as much where it is missing (RFC 4028 §4, §5)."""
INTERVAL_MAX_S: Final = 86_400
"""Longest that a callee may make of what we offer; beyond it we offer none."""
DIGITS_MAX: Final = 10
"""delta-seconds go up to 2**32 - 1 (RFC 3261 §25.1)."""

SAID_MAX: Final = 512
_SAID: Final[dict[bytes, bool]] = {}
"""Lines of option tags that were read before, and whether ours is among them."""

_TIMER: Final = b"timer"
_UAC: Final = b"uac"
_UAS: Final = b"uas"


class SessionAsk:
    """What one INVITE, re-INVITE or UPDATE asks of the session timer, as it leaves us."""

    def __init__(self, interval_s: int, *, is_supported: bool, is_ours: bool, is_second: bool = False) -> None:
        self.interval_s: int = interval_s
        """Its Session-Expires; 0: it has none that can be read."""
        self.is_supported: bool = is_supported
        """Whether its sender knows session timers."""
        self.is_ours: bool = is_ours
        """The Session-Expires was put in here."""
        self.is_second: bool = is_second
        """… for the second time, since a callee found the first too short."""


NOT_ASKED: Final = SessionAsk(0, is_supported=False, is_ours=False)


class SessionTerms:
    """What a 2xx has agreed upon, as it leaves us."""

    def __init__(self, interval_s: int, *, is_uac: bool) -> None:
        self.interval_s: int = interval_s
        """0: the session has no timer from here on."""
        self.is_uac: bool = is_uac
        """Who sent the request refreshes, not who answered it."""


NO_TERMS: Final = SessionTerms(0, is_uac=False)


# Reading.


def session_expires(message: Message) -> int:
    """Seconds of Session-Expires; 0 where it is missing or cannot be read."""
    value = message.first(SESSION_EXPIRES)
    return 0 if value is None else _seconds(value)


def min_se(message: Message) -> int:
    """Seconds of Min-SE; 0 where it is missing or cannot be read."""
    value = message.first(MIN_SE)
    return 0 if value is None else _seconds(value)


def refresher(message: Message) -> bytes:
    """`uac`, `uas`, or nothing where Session-Expires does not say."""
    value = message.first(SESSION_EXPIRES)
    if value is None:
        return b""
    for piece in value.lower().split(b";")[1:]:
        name, _, said = piece.partition(b"=")
        if name.strip() == b"refresher":
            said = said.strip()
            return said if said == _UAC or said == _UAS else b""
    return b""


def knows_timers(message: Message) -> bool:
    """Whether its sender says `Supported: timer` (RFC 4028 §7.1)."""
    if not message.has(SUPPORTED):
        return False
    ids = message.ids
    lines = message.lines
    for index in range(len(ids)):  # noqa: SIM110 -- compiled, a generator costs ten times as much
        if ids[index] == SUPPORTED and _says_timer(lines[index]):
            return True
    return False


def is_too_short(request: Request, values: Liveness) -> bool:
    """Whether a request for a timer shorter than we allow is to be refused with 422.

    Only its sender's own knowledge of timers lets it make something of a 422 (RFC 4028 §8.1).
    """
    if not request.has(SESSION_EXPIRES):
        return False
    seconds = session_expires(request)
    return 0 < seconds < values.session_min_s and knows_timers(request)


def min_se_line(values: Liveness) -> bytes:
    """What a 422 of ours has to say (RFC 4028 §6)."""
    return b"Min-SE: %d" % values.session_min_s


def ends_after_s(interval_s: int) -> float:
    """How long after a refresh a session is over that was not refreshed again.

    Slightly before the interval's end, so that the BYE arrives within it (RFC 4028 §10).
    """
    return interval_s - min(32.0, interval_s / 3.0)


# Taking part.


def ask(request: Request, values: Liveness, running_s: int = 0) -> SessionAsk:
    """Make an INVITE, re-INVITE or UPDATE ready to leave, and say what it then asks for.

    Args:
        running_s: the interval that the session has, 0 if none. It is offered again with requests that do
            not mention it: a refresh without Session-Expires would end the timer (RFC 4028 §8.2).
    Source: RFC 4028 §8.1.
    """
    if request.has(SESSION_EXPIRES):
        is_supported = knows_timers(request)
        interval_s = session_expires(request)
        if 0 < interval_s < values.session_min_s and not is_supported:
            interval_s = _lengthen(request, values)
        return SessionAsk(interval_s, is_supported=is_supported, is_ours=False)
    is_supported = knows_timers(request)
    wanted_s = running_s
    if not wanted_s and (is_supported or values.is_offered_to_all):
        wanted_s = values.session_expires_s
    if wanted_s <= 0:
        return SessionAsk(0, is_supported=True, is_ours=False) if is_supported else NOT_ASKED
    wanted_s = max(wanted_s, values.session_min_s, min_se(request))
    _add(request, SESSION_EXPIRES, b"%d" % wanted_s)
    return SessionAsk(wanted_s, is_supported=is_supported, is_ours=True)


def ask_again(request: Request, asked: SessionAsk, refusal: Response) -> SessionAsk:
    """What an INVITE asks for after the callee found the timer that we had offered too short (422).

    Once its Min-SE, if that can be lived with, else nothing. Source: RFC 4028 §6, §7.3 (a proxy that
    offered the timer stands in for the UAC, who never asked).
    """
    assert asked.is_ours, "a caller makes of its own timer what it wants"
    wanted_s = min_se(refusal)
    _drop(request, SESSION_EXPIRES)
    if asked.is_second or not asked.interval_s < wanted_s <= INTERVAL_MAX_S:
        return SessionAsk(0, is_supported=asked.is_supported, is_ours=False)
    _add(request, SESSION_EXPIRES, b"%d" % wanted_s)
    return SessionAsk(wanted_s, is_supported=asked.is_supported, is_ours=True, is_second=True)


def agree(response: Response, asked: SessionAsk) -> SessionTerms:
    """Make the 2xx to a request ready to go on to its sender, and say what has been agreed upon.

    A callee that knows no timers leaves them out. If the sender of the request does know them, it is
    told to refresh, by the one switch on the path that can (RFC 4028 §8.2).
    """
    if response.has(SESSION_EXPIRES):
        interval_s = session_expires(response)
        if interval_s <= 0:
            return NO_TERMS
        who = refresher(response)
        is_uac = asked.is_supported if not who else who == _UAC
        return SessionTerms(max(interval_s, INTERVAL_MIN_S), is_uac=is_uac)
    if not asked.interval_s or not asked.is_supported:
        return NO_TERMS
    _add(response, SESSION_EXPIRES, b"%d;refresher=uac" % asked.interval_s)
    if not response.has(REQUIRE) or not _requires_timer(response):
        _add(response, REQUIRE, _TIMER)
    return SessionTerms(max(asked.interval_s, INTERVAL_MIN_S), is_uac=True)


# Helpers.


def _lengthen(request: Request, values: Liveness) -> int:
    """Raise the timer that somebody else put into the request of a sender who knows none."""
    floor_s = max(values.session_min_s, min_se(request))
    params = (request.first(SESSION_EXPIRES) or b"").partition(b";")[2]
    _drop(request, MIN_SE)
    _drop(request, SESSION_EXPIRES)
    _add(request, MIN_SE, b"%d" % floor_s)
    _add(request, SESSION_EXPIRES, b"%d;%b" % (floor_s, params) if params else b"%d" % floor_s)
    return floor_s


def _seconds(value: bytes) -> int:
    digits = value.partition(b";")[0].strip()
    return int(digits) if digits.isdigit() and len(digits) <= DIGITS_MAX else 0


def _has_timer(value: bytes) -> bool:
    """Whether a comma list of option tags, which are tokens, has ours."""
    return _TIMER in [tag.strip() for tag in value.lower().split(b",")]


def _says_timer(line: bytes) -> bool:
    """Whether a header line lists our option tag; devices send the same line with every call."""
    known = _SAID.get(line)
    if known is None:
        known = _has_timer(line.partition(b":")[2])
        if len(_SAID) >= SAID_MAX:
            _SAID.clear()
        _SAID[line] = known
    return known


def _requires_timer(response: Response) -> bool:
    return _has_timer(b",".join(response.each(REQUIRE)))


def _add(message: Message, header: int, value: bytes) -> None:
    message.lines.append(NAMES[header] + b": " + value)
    message.note(header)


def _drop(message: Message, header: int) -> None:
    """Take every line of a header out; what counts in lines keeps step."""
    if not message.has(header):
        return
    message.note_dropped(header)
    ids = message.ids
    for index in range(len(ids) - 1, -1, -1):
        if ids[index] == header:
            del message.lines[index]
            del ids[index]
            if index < len(message.read):
                del message.read[index]
            if index < message.via_index:
                message.via_index -= 1
