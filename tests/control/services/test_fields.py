"""Fields that many nouns share: names, times, cursors, and complaints that name their field."""

from __future__ import annotations

import contextlib
import unicodedata
from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from control.services.customers import CustomerNew
from control.services.errors import Invalid
from control.services.fields import day_or_moment_ms, moment_ms, ms_moment, name_key
from control.services.hosts import address_or_name, network_text
from control.services.pages import make_cursor, read_cursor
from control.services.problems import decode


@given(st.text())
def test_a_name_and_its_key_have_the_same_key_in_any_case_and_form(name: str) -> None:
    key = name_key(name)
    assert name_key(key) == key
    for form in ("NFC", "NFD", "NFKC", "NFKD"):
        assert name_key(unicodedata.normalize(form, name)) == key
    assert name_key(f"  {name}\t") == key


@given(st.integers(0, 7_289_654_399_999))
def test_times_go_to_milliseconds_and_back(ms: int) -> None:
    assert moment_ms("at", ms_moment(ms)) == ms
    text = ms_moment(ms).isoformat()
    if len(text) != 10:
        assert day_or_moment_ms("at", text, is_end=False) == ms


def test_a_day_is_its_start_or_its_end() -> None:
    start = moment_ms("at", datetime(2026, 11, 22, tzinfo=UTC))
    assert day_or_moment_ms("at", "2026-11-22", is_end=False) == start
    assert day_or_moment_ms("at", "2026-11-22", is_end=True) == start + 86_400_000


@given(st.text(max_size=30), st.text(max_size=30) | st.integers(-(2**63) + 1, 2**63 - 1), st.integers(0, 2**63 - 1))
def test_a_cursor_says_what_was_put_in_and_fits_its_own_order_alone(order: str, value: str | int, row_id: int) -> None:
    cursor = make_cursor(order, value, row_id)
    assert read_cursor(cursor, order, type(value)) == (value, row_id)
    with pytest.raises(Invalid):
        read_cursor(cursor, order + "x", type(value))


@given(st.text(max_size=60))
def test_no_text_as_a_cursor_is_more_than_refused(text: str) -> None:
    with contextlib.suppress(Invalid):
        read_cursor(text, "name", str)


@given(st.text(max_size=40) | st.ip_addresses().map(str) | st.ip_addresses().map(lambda ip: f"{ip}/24"))
def test_a_host_is_refused_or_has_one_spelling(text: str) -> None:
    for spell in (network_text, address_or_name):
        with contextlib.suppress(Invalid):
            host = spell("host", text)
            assert spell("host", host) == host
            assert host == host.lower()
            assert not any(character.isspace() for character in host)


@pytest.mark.parametrize(
    ("body", "path"),
    [
        (b'{"name": 1}', "name"),
        (b'{"name": "x", "timers": {"pdd_ms": "a"}}', "timers.pdd_ms"),
        (b'{"name": "x", "tags": ["a", 1]}', "tags[1]"),
        (b'{"name": "x", "timers": {"nope": 1}}', "timers.nope"),
        (b'{"name": "x", "nope": 1}', "nope"),
        (b"{}", "name"),
        (b"[]", ""),
        (b"{", ""),
        (b"\xff", ""),
        (b'{"name": "\\ud800"}', ""),
        (b"", ""),
    ],
)
def test_a_complaint_names_the_path_of_its_field(body: bytes, path: str) -> None:
    with pytest.raises(Invalid) as caught:
        decode(body, CustomerNew)
    (error,) = caught.value.errors
    assert error.path == path
    assert error.reason
    assert msgspec.json.encode(error)
