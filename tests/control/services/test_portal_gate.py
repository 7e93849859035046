"""Counts of wrong tries, and secrets that must be read again."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from control.services import portal_gate
from control.services.errors import Throttled
from control.services.portal_gate import WINDOW_MS, PortalGate, Throttle, address_key
from tests.fakes.control import Clock


def test_so_many_wrong_tries_close_the_door_until_the_first_is_forgotten() -> None:
    clock = Clock()
    throttle = Throttle(3, clock)
    closes = []
    for _ in range(3):
        throttle.check("a")
        closes.append(throttle.note("a"))
        clock.ms += 1_000
    assert closes == [False, False, True]
    with pytest.raises(Throttled) as caught:
        throttle.check("a")
    assert caught.value.retry_after_s == WINDOW_MS // 1000 - 3
    throttle.check("b")
    clock.ms += WINDOW_MS - 3_000 - 1
    with pytest.raises(Throttled):
        throttle.check("a")
    clock.ms += 1
    throttle.check("a")


def test_a_try_that_was_right_is_given_back() -> None:
    throttle = Throttle(1, Clock())
    throttle.note("a")
    throttle.give_back("a")
    throttle.give_back("never seen")
    throttle.check("a")


def test_a_flood_of_addresses_costs_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(portal_gate, "COUNTED_MAX", 10)
    throttle = Throttle(1, Clock())
    for n in range(100):
        throttle.note(str(n))
    throttle.check("89")
    with pytest.raises(Throttled):
        throttle.check("90")


def test_addresses_of_one_ipv6_network_are_one() -> None:
    assert address_key("2001:db8::1") == address_key("2001:db8::ffff") != address_key("2001:db8:0:1::1")
    assert address_key("::ffff:192.0.2.1") == address_key("192.0.2.1") == "192.0.2.1"
    assert address_key("") == ""


def test_a_sealed_secret_is_read_with_the_installations_key_alone(tmp_path: Path) -> None:
    async def run() -> None:
        gate = PortalGate(tmp_path / "a", Clock())
        sealed = await gate.seal("word")
        assert "word" not in sealed
        assert await PortalGate(tmp_path / "a", Clock()).unseal(sealed) == "word"
        assert await PortalGate(tmp_path / "b", Clock()).unseal(sealed) is None
        assert (tmp_path / "a" / "seal.key").stat().st_mode & 0o777 == 0o600

    asyncio.run(run())


def test_no_password_opens_where_none_is_set(tmp_path: Path) -> None:
    async def run() -> None:
        gate = PortalGate(tmp_path, Clock())
        hashed = await gate.hash_password("correct horse")
        assert await gate.is_password(hashed, "correct horse")
        assert not await gate.is_password(hashed, "Correct horse")
        assert not await gate.is_password("", "nobody has this password")
        assert not await gate.is_password("no hash", "no hash")

    asyncio.run(run())
