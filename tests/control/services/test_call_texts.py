"""What is shown of a message: all of it, but for what proves a password, and nothing that acts."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control.services.call_texts import has_session, name_of, readable, transport_of

HEAD = b"INVITE sip:1@192.0.2.1 SIP/2.0\r\nVia: SIP/2.0/TCP 192.0.2.9;branch=z9hG4bK1\r\n"
REST = b"From: <sip:a@b>;tag=1\r\nTo: <sip:1@b>\r\nCall-ID: c\r\nCSeq: 1 INVITE\r\nMax-Forwards: 70\r\n\r\n"
PROOF = "6629fae49393a05397450978507c4ef1"


def with_header(line: bytes) -> str:
    return readable(HEAD + line + b"\r\n" + REST)


@pytest.mark.parametrize(
    "line",
    [
        f'Authorization: Digest username="bob", realm="t", nonce="n", uri="sip:1", response="{PROOF}"',
        f'PROXY-AUTHORIZATION \t: digest nc=00000001,cnonce="{PROOF}",response={PROOF},username="bob"',
        f'Proxy-Authorization: Digest\r\n username="bob",\r\n\tresponse="{PROOF}"',
        f'Authorization: Digest username="bob", response = "{PROOF}", x="{PROOF}"',
        f'Authorization: Digest username="bob", auts="{PROOF}", unknown={PROOF}',
        f"Authorization: Basic {PROOF}",
        f"Authorization: Bearer {PROOF}",
        f'Authorization: Digest username="bob" response="{PROOF}',
        f'Authentication-Info: rspauth="{PROOF}", cnonce="{PROOF}", nc=00000001',
        f"Contact: <sips:bob:{PROOF}@192.0.2.9>",
        f"Contact: <sip:bob@192.0.2.9>,\r\n <SIP:bob:{PROOF}@192.0.2.9;x=y>",
    ],
)
def test_what_proves_a_password_is_masked_in_every_form_of_its_header(line: str) -> None:
    shown = with_header(line.encode())
    assert PROOF not in shown
    assert "***" in shown


def test_the_rest_of_a_digest_answer_stays_to_be_read() -> None:
    shown = with_header(
        b'Authorization: Digest username="bob", realm="t", nonce="n", response="x", nc=00000001, qop=auth'
    )
    assert 'Digest username="bob", realm="t", nonce="n", response=***, nc=00000001, qop=auth' in shown


def test_a_quote_inside_a_user_name_shows_no_more_than_before() -> None:
    shown = with_header(f'Authorization: Digest username="a\\", nonce=\\"{PROOF}", response="{PROOF}"'.encode())
    assert f'response="{PROOF}' not in shown


def test_media_keys_are_masked_and_the_rest_of_the_session_is_not() -> None:
    keys = "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:SECRETKEY|2^20\r\na=ice-pwd:SECRET2\r\n"
    sdp = f"v=0\r\nc=IN IP4 192.0.2.9\r\n{keys}m=audio 1 RTP/AVP 0\r\n"
    shown = readable(HEAD + REST + sdp.encode())
    assert "SECRET" not in shown
    assert "a=crypto:1 AES_CM_128_HMAC_SHA1_80 inline:***" in shown
    assert "m=audio 1 RTP/AVP 0" in shown


def test_control_characters_and_turns_of_writing_are_shown_as_their_codes() -> None:
    shown = with_header("User-Agent: a\x00b\x1b[31mc\u202ed\x07\x9b".encode())
    assert r"a\x00b\x1b[31mc\x202ed\x07\x9b" in shown
    assert r"\xff\xfe" in with_header(b"User-Agent: \xff\xfe")


def test_names_are_the_method_or_the_status_with_its_phrase() -> None:
    assert name_of(HEAD + REST) == "INVITE"
    assert name_of(b"SIP/2.0 486 Busy Here\r\n" + HEAD.partition(b"\r\n")[2] + REST) == "486 Busy Here (INVITE)"
    assert name_of(b"garbage\x00") == "? garbage\\x00"
    assert transport_of(HEAD + REST) == "tcp"
    assert transport_of(b"x") == ""
    assert has_session(HEAD + REST + b"v=0\r\n")
    assert not has_session(HEAD + REST)


@given(st.binary(max_size=400))
def test_any_bytes_can_be_shown(data: bytes) -> None:
    for text in (readable(data), name_of(data), transport_of(data)):
        assert "\x00" not in text
        assert "\x1b" not in text


@pytest.mark.parametrize(
    "line", [b'"' * 8_000, b"a=" * 4_000, b'a="' * 2_000, b"sip:a:" * 1_300, b"sip:" + b"a" * 8_000]
)
def test_long_lines_made_to_be_slow_are_not(line: bytes) -> None:
    began = time.process_time()
    with_header(b"Authorization: Digest " + line)
    with_header(b"Contact: " + line)
    assert time.process_time() - began < 0.5
