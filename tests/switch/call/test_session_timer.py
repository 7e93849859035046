"""Session timers read, offered and answered for, message by message (RFC 4028)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switch.call.forwarding import forward_request, forward_response
from switch.call.liveness import Liveness
from switch.call.session_timer import (
    INTERVAL_MIN_S,
    NOT_ASKED,
    SessionAsk,
    agree,
    ask,
    ask_again,
    ends_after_s,
    is_too_short,
    knows_timers,
    min_se,
    session_expires,
)
from switch.wire.message import Request, Response, parse_message
from tests.fakes.wire import LINES, message


def request(*extra: bytes, method: bytes = b"INVITE") -> Request:
    lines = [line.replace(b"1 INVITE", b"1 " + method) for line in LINES]
    found = parse_message(message(method + b" sip:15551230001@198.51.100.1 SIP/2.0", [*extra, *lines], b"hello"))
    assert isinstance(found, Request)
    return found


def response(*extra: bytes, status: int = 200) -> Response:
    found = parse_message(message(b"SIP/2.0 %d OK" % status, [*extra, *LINES], b"hello"))
    assert isinstance(found, Response)
    return found


def forwarded(invite: Request) -> Request:
    """As the callee reads it."""
    via_value = invite.via.with_source("192.0.2.10", 5060)
    data = forward_request(invite, invite.uri, b"Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKours", via_value)
    found = parse_message(data)
    assert isinstance(found, Request)
    return found


def values(expires_s: int = 1_800, min_s: int = 90, *, to_all: bool = False) -> Liveness:
    found = Liveness()
    found.session_expires_s, found.session_min_s, found.is_offered_to_all = expires_s, min_s, to_all
    return found


# Requests.


def test_an_invite_of_a_caller_without_timers_leaves_as_it_came() -> None:
    invite = request(b"Supported: 100rel")
    before = list(invite.lines)
    asked = ask(invite, values())
    assert invite.lines == before
    assert (asked.interval_s, asked.is_supported, asked.is_ours) == (0, False, False)


def test_a_timer_that_the_caller_asks_for_leaves_as_it_came() -> None:
    invite = request(b"Supported: timer", b"x: 600;refresher=uas", b"Min-SE: 120")
    before = list(invite.lines)
    asked = ask(invite, values())
    assert invite.lines == before
    assert (asked.interval_s, asked.is_supported, asked.is_ours) == (600, True, False)


@pytest.mark.parametrize("line", [b"Supported: timer", b"k: 100rel, Timer", b"Supported: replaces,timer ,path"])
def test_a_caller_that_knows_timers_is_offered_one(line: bytes) -> None:
    invite = request(line)
    asked = ask(invite, values())
    assert (asked.interval_s, asked.is_supported, asked.is_ours) == (1_800, True, True)
    assert session_expires(forwarded(invite)) == 1_800


def test_no_timer_is_offered_where_the_setting_is_zero() -> None:
    invite = request(b"Supported: timer")
    asked = ask(invite, values(0))
    assert (asked.interval_s, asked.is_supported) == (0, True)
    assert session_expires(forwarded(invite)) == 0


def test_what_is_offered_is_not_below_what_the_caller_can_live_with() -> None:
    invite = request(b"Supported: timer", b"Min-SE: 3600")
    assert ask(invite, values()).interval_s == 3_600


def test_all_callees_are_offered_a_timer_where_settings_say_so() -> None:
    invite = request()
    asked = ask(invite, values(to_all=True))
    assert (asked.interval_s, asked.is_supported, asked.is_ours) == (1_800, False, True)


def test_a_refresh_that_does_not_mention_the_running_timer_goes_on_with_it() -> None:
    update = request(method=b"UPDATE")
    assert ask(update, values(), 600).interval_s == 600
    assert session_expires(forwarded(update)) == 600


def test_too_short_a_timer_is_refused_to_those_who_know_what_a_422_is() -> None:
    assert is_too_short(request(b"Supported: timer", b"Session-Expires: 60"), values())
    assert is_too_short(request(b"Supported: timer", b"Session-Expires: 119;refresher=uac"), values(min_s=120))
    assert not is_too_short(request(b"Supported: timer", b"Session-Expires: 90"), values())
    assert not is_too_short(request(b"Session-Expires: 60"), values())
    assert not is_too_short(request(b"Supported: timer"), values())


def test_too_short_a_timer_of_a_caller_that_knows_none_is_made_longer() -> None:
    invite = request(b"Session-Expires: 60;refresher=uas", b"Min-SE: 30")
    asked = ask(invite, values(min_s=120))
    sent = forwarded(invite)
    assert asked.interval_s == session_expires(sent) == min_se(sent) == 120
    assert sent.first(45) == b"120;refresher=uas"
    assert sent.via.branch == b"z9hG4bKours"
    assert sent.all(0)[1:] == [request().via.with_source("192.0.2.10", 5060)]


def test_a_min_se_is_never_lowered() -> None:
    invite = request(b"Session-Expires: 60", b"Min-SE: 300")
    ask(invite, values())
    sent = forwarded(invite)
    assert session_expires(sent) == min_se(sent) == 300


# The callee finds what we offered too short.


def test_an_offer_that_is_too_short_is_made_again_as_long_as_the_callee_wants_it() -> None:
    invite = request(b"Supported: timer")
    again = ask_again(invite, ask(invite, values()), response(b"Min-SE: 7200", status=422))
    assert (again.interval_s, again.is_supported, again.is_ours) == (7_200, True, True)
    sent = forwarded(invite)
    assert sent.all(45) == [b"7200"]


@pytest.mark.parametrize("lines", [(), (b"Min-SE: 90",), (b"Min-SE: 1800",), (b"Min-SE: 99999999",), (b"Min-SE: x",)])
def test_an_offer_that_nothing_can_be_made_of_is_dropped(lines: tuple[bytes, ...]) -> None:
    invite = request(b"Supported: timer")
    before = list(invite.lines)
    again = ask_again(invite, ask(invite, values()), response(*lines, status=422))
    assert (again.interval_s, again.is_ours) == (0, False)
    assert invite.lines == before


def test_a_callee_that_goes_on_asking_for_more_is_offered_nothing_the_third_time() -> None:
    invite = request(b"Supported: timer")
    second = ask_again(invite, ask(invite, values()), response(b"Min-SE: 3600", status=422))
    third = ask_again(invite, second, response(b"Min-SE: 3601", status=422))
    assert (third.interval_s, third.is_ours) == (0, False)
    assert session_expires(forwarded(invite)) == 0


# Answers.


def test_an_answer_with_a_timer_goes_on_as_it_came() -> None:
    answer = response(b"Session-Expires: 600;refresher=uas", b"Require: timer")
    before = list(answer.lines)
    terms = agree(answer, SessionAsk(1_800, is_supported=True, is_ours=True))
    assert answer.lines == before
    assert (terms.interval_s, terms.is_uac) == (600, False)


def test_a_caller_that_knows_timers_is_told_to_refresh_where_the_callee_knows_none() -> None:
    answer = response()
    terms = agree(answer, SessionAsk(1_800, is_supported=True, is_ours=True))
    assert (terms.interval_s, terms.is_uac) == (1_800, True)
    assert forward_response(answer).count(b"\r\nSession-Expires: 1800;refresher=uac\r\nRequire: timer\r\n") == 1


def test_require_keeps_what_it_had() -> None:
    answer = response(b"Require: 100rel")
    agree(answer, SessionAsk(1_800, is_supported=True, is_ours=False))
    assert answer.all(32) == [b"100rel", b"timer"]
    answer = response(b"Require: 100rel, Timer")
    agree(answer, SessionAsk(1_800, is_supported=True, is_ours=False))
    assert answer.all(32) == [b"100rel", b"Timer"]


@pytest.mark.parametrize("asked", [NOT_ASKED, SessionAsk(1_800, is_supported=False, is_ours=True)])
def test_an_answer_between_two_that_know_no_timers_goes_on_as_it_came(asked: SessionAsk) -> None:
    answer = response()
    before = list(answer.lines)
    assert agree(answer, asked).interval_s == 0
    assert answer.lines == before


def test_an_answer_that_does_not_say_who_refreshes_means_who_can() -> None:
    for is_supported in (True, False):
        asked = SessionAsk(1_800, is_supported=is_supported, is_ours=False)
        assert agree(response(b"Session-Expires: 600;refresher=nobody"), asked).is_uac is is_supported


def test_no_answer_makes_a_session_shorter_than_the_rfc_has_it() -> None:
    terms = agree(response(b"Session-Expires: 1;refresher=uac"), NOT_ASKED)
    assert terms.interval_s == INTERVAL_MIN_S


def test_a_session_ends_a_little_before_its_interval_does() -> None:
    assert ends_after_s(1_800) == 1_768.0
    assert ends_after_s(90) == 60.0


# What peers may send.


@given(st.binary(max_size=60).filter(lambda value: b"\r" not in value and b"\n" not in value))
def test_headers_of_any_content_are_read_without_a_fault(value: bytes) -> None:
    invite = request(b"Session-Expires: " + value, b"Supported: " + value, b"Min-SE: " + value)
    is_too_short(invite, values())
    asked = ask(invite, values())
    answer = response(b"Session-Expires: " + value, b"Require: " + value, b"Min-SE: " + value)
    assert agree(answer, asked).interval_s >= 0
    forwarded(invite)


@given(
    st.lists(
        st.sampled_from([b"Supported: timer", b"Supported: path", b"x: 60", b"Session-Expires: 600", b"Min-SE: 300"])
    ),
    st.integers(0, 1_000),
)
def test_what_leaves_asks_for_what_is_remembered(extra: list[bytes], running_s: int) -> None:
    if sum(line[:1] in b"xS" and b"u" not in line for line in extra) > 1:
        return  # two Session-Expires: whose first line counts here need not be the callee's
    invite = request(*extra)
    asked = ask(invite, values(), running_s)
    sent = forwarded(invite)
    assert session_expires(sent) == asked.interval_s
    assert knows_timers(sent) == asked.is_supported
    if asked.is_ours:
        assert asked.interval_s >= max(min_se(sent), 90)
