"""The file of registered contacts: what it says after any end of the process."""

from __future__ import annotations

import asyncio
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from switch import registrations
from switch.flow import Flow
from switch.registrations import Registration, RegistrationFile

FLOW = Flow(0, ("203.0.113.7", 40_001))


def contact(name: str, expires_ms: int = 5_000, user_id: int = 1) -> Registration:
    return Registration(user_id, f"sip:{name}@10.0.0.1".encode(), expires_ms, FLOW, "udp")


def opened(path: Path) -> RegistrationFile:
    file = RegistrationFile(path)
    file.read(0)
    return file


def read(path: Path, now_ms: int = 1_000) -> list[Registration]:
    file = RegistrationFile(path)
    found = file.read(now_ms)
    file.close()
    return found


def test_the_last_word_about_a_contact_counts_and_what_is_over_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "r.log"
    assert read(path) == []
    file = opened(path)
    file.append([contact("a"), contact("b"), contact("c", 900)])
    file.append([contact("a", 0), contact("b", 7_000), contact("b", 5_000, user_id=2)])
    # Not closed: the process is killed.
    assert read(path) == [contact("b", 7_000), contact("b", 5_000, user_id=2)]
    assert path.stat().st_mode & 0o777 == 0o600


@given(cut=st.integers(0, 400), flipped=st.integers(0, 400))
def test_a_damaged_end_says_less_and_never_something_else(
    tmp_path_factory: pytest.TempPathFactory, cut: int, flipped: int
) -> None:
    path = tmp_path_factory.mktemp("r") / "r.log"
    file = opened(path)
    said = [contact(name) for name in "abcd"]
    file.append(said)
    file.close()
    data = bytearray(path.read_bytes())
    data[min(flipped, len(data) - 1)] ^= 1
    path.write_bytes(data[: len(data) - min(cut, len(data))])
    found = read(path)
    assert found == said[: len(found)]
    assert len(found) < 4


def test_it_is_written_anew_when_it_has_grown_and_loses_nothing_meanwhile(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registrations, "SIZE_MIN", 100)
    path = tmp_path / "r.log"
    file = opened(path)
    while not file.wants_writing:
        file.append([contact("a")])
    before = path.stat().st_size

    async def run() -> None:
        writing = asyncio.create_task(file.write_anew([contact("a")]))
        await asyncio.sleep(0)
        file.append([contact("late")])
        await writing

    asyncio.run(run())
    assert path.stat().st_size < before
    file.append([contact("later")])
    assert [each.uri for each in read(path)] == [contact(name).uri for name in ("a", "late", "later")]


def test_a_disk_that_takes_nothing_is_told_and_tried_again(tmp_path: Path) -> None:
    path = tmp_path / "gone" / "r.log"
    file = opened(path)
    assert file.failure
    file.append([contact("a")])
    assert file.wants_writing
    path.parent.mkdir()
    asyncio.run(file.write_anew([contact("a")]))
    assert not file.failure
    assert read(path) == [contact("a")]


def test_a_record_of_another_release_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "r.log"
    file = opened(path)
    file.append([contact("a")])
    file.append([msgspec.convert({"x": 1}, dict)])  # type: ignore[list-item]
    file.append([contact("b")])
    assert [each.uri for each in read(path)] == [contact("a").uri, contact("b").uri]
