from hypothesis import given
from hypothesis import strategies as st

from switch.wire.build import response_to
from switch.wire.limits import DEFAULT_LIMITS
from switch.wire.message import Request, Response, parse_message, salvage
from switch.wire.terse import terse
from tests.fakes.wire import INVITE, LINES


def answer(data: bytes) -> Response:
    parsed = parse_message(data)
    assert isinstance(parsed, Response)
    return parsed


def request(data: bytes) -> Request:
    parsed = parse_message(data)
    assert isinstance(parsed, Request)
    return parsed


def test_it_reads_the_same_but_for_phrase_and_length() -> None:
    whole = response_to(
        request(INVITE), 481, b"Call/Transaction Does Not Exist", to_tag=b"t", extra=[b"Retry-After: 3"]
    )
    short = terse(whole)
    assert len(short) < len(whole) - len("Call/Transaction Does Not Exist") - len("Content-Length: 0")
    was, now = answer(whole), answer(short)
    assert (now.status, now.reason, now.body) == (481, b"", b"")
    assert (now.call_id, now.cseq, now.cseq_method) == (was.call_id, was.cseq, was.cseq_method)
    assert (now.from_tag, now.to_tag, now.via.raw) == (was.from_tag, was.to_tag, was.via.raw)
    assert b"Retry-After: 3" in now.lines


def test_a_folded_line_stays_folded() -> None:
    folded = INVITE.replace(LINES[0], LINES[0] + b"\r\n ;x=y:z")
    short = terse(response_to(request(folded), 400, b"Bad Request"))
    assert b"\r\n ;x=y:z\r\n" in short
    assert answer(short).via.branch == request(INVITE).via.branch


@given(st.sampled_from(LINES), st.binary(max_size=30), st.integers(0, 60))
def test_no_answer_grows_and_none_ends_early(line: bytes, junk: bytes, at: int) -> None:
    asked = salvage(INVITE.replace(line, line[:at] + junk + line[at:]), DEFAULT_LIMITS)
    if asked is None:
        return
    whole = response_to(asked, 400, b"Bad Request", to_tag=b"t9")
    short = terse(whole)
    assert len(short) < len(whole)
    assert short.endswith(b"\r\n\r\n")
    assert short.count(b"\r\n\r\n") == 1
