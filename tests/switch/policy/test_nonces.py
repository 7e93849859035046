"""Nonces without memory: ours or not, how old, and each count once."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from switch.policy import nonces as nonces_module
from switch.policy.nonces import Nonces

SECRET = b"0123456789abcdef"


def test_a_nonce_tells_its_age_and_nobody_gets_it_twice() -> None:
    nonces = Nonces(SECRET, 300)
    made = [nonces.issue(1000.0) for _ in range(1000)]
    assert len(set(made)) == 1000
    assert nonces.age_ms(made[0], 1000.0) == 0
    assert nonces.age_ms(made[0], 1299.5) == 299_500
    assert len(nonces) == 0, "challenges keep nothing"


def test_it_is_fresh_for_its_lifetime() -> None:
    nonces = Nonces(SECRET, 300)
    assert nonces.is_fresh(0, 1000.0)
    assert nonces.is_fresh(300_000, 1300.0)
    assert not nonces.is_fresh(300_001, 1300.001)
    assert not nonces.is_fresh(-1, 1000.0), "made in a future that never was"


@given(st.binary(max_size=64))
def test_what_we_did_not_make_is_not_ours(nonce: bytes) -> None:
    assert Nonces(SECRET, 300).age_ms(nonce, 1000.0) is None


@given(st.integers(0, 31), st.integers(1, 255))
def test_a_changed_byte_makes_it_not_ours(place: int, change: int) -> None:
    nonces = Nonces(SECRET, 300)
    nonce = bytearray(nonces.issue(1000.0))
    nonce[place] ^= change
    assert nonces.age_ms(bytes(nonce), 1000.0) is None


def test_another_secret_makes_it_not_ours() -> None:
    assert Nonces(b"another secret!!", 300).age_ms(Nonces(SECRET, 300).issue(1.0), 1.0) is None


@given(st.lists(st.integers(0, 20)))
def test_each_count_is_taken_once_and_only_rising(counts: list[int]) -> None:
    nonces = Nonces(SECRET, 300)
    nonce = nonces.issue(1000.0)
    last = 0
    for nc in counts:
        assert nonces.count(nonce, nc, 1000.0) is (nc > last)
        last = max(last, nc)


def test_outlived_nonces_leave_the_table() -> None:
    nonces = Nonces(SECRET, 300)
    for second in range(100):
        assert nonces.count(nonces.issue(float(second)), 1, float(second))
    assert len(nonces) == 100
    assert nonces.count(nonces.issue(350.0), 1, 350.0)
    assert len(nonces) == 51


def test_a_full_table_never_lets_a_dropped_nonce_be_used_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nonces_module, "COUNTED_MAX", 10)
    if len(_filled(Nonces(SECRET, 300))[0]) != 10:
        pytest.skip("compiled: the limit is built in")
    nonces, used = _filled(Nonces(SECRET, 300))
    for nonce in used:
        age_ms = nonces.age_ms(nonce, 20.0)
        assert age_ms is not None
        assert not nonces.is_fresh(age_ms, 20.0) or not nonces.count(nonce, 1, 20.0)


def _filled(nonces: Nonces) -> tuple[Nonces, list[bytes]]:
    used = [nonces.issue(float(second)) for second in range(20)]
    for nonce in used:
        assert nonces.count(nonce, 1, 20.0)
    return nonces, used
